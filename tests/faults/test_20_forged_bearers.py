"""Fault 20: forged bearers are 401, and nothing that they name is ever fetched."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from gateway_core import jwt
from gateway_core.eddsa import Key
from gateway_core.testing.key_server import KeyServer, key_server
from gateway_core.testing.server import PATIENCE, ServedGateway, serving

CONFIG = """
[bearers]
allow_private_addresses = true

[providers.demo]
plugin = "provider-demo"

[models.demo]
routes = [{ provider = "demo", model = "demo" }]
price = "free"
"""

KEY = jwt.new_key()
OTHER = jwt.new_key()
ISSUER = jwt.instance_id(KEY)
KID = KEY.thumbprint()


@pytest.fixture(scope="module")
def issuer() -> Iterator[KeyServer]:
    with key_server() as server:
        server.body = json.dumps({"keys": [jwt.public_jwk(KEY)]}).encode()
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, issuer: KeyServer) -> Iterator[ServedGateway]:
    with serving(tmp_path_factory.mktemp("forged") / "home", config=CONFIG) as served:
        served.spl("account", "create", "acme")
        served.spl("instance", "register", "office", "--account", "acme", "--jwks-url", f"{issuer.url}/jwks.json")
        yield served


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(gateway: ServedGateway, **changes: Any) -> dict[str, Any]:
    """Good claims with these changes; one that is a function is of the moment."""
    now = int(time.time())
    changes = {name: value(now) if callable(value) else value for name, value in changes.items()}
    good = {
        "iss": ISSUER,
        "sub": ISSUER,
        "aud": gateway.url,
        "scope": "inference",
        "iat": now,
        "exp": now + 600,
        "jti": "jti_1",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def header(**changes: Any) -> dict[str, Any]:
    good = {"alg": "EdDSA", "typ": "inference+jwt", "kid": KID}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(head: Any, body: Any, key: Key = KEY) -> str:
    """A token with a good signature of a key over whatever it says."""
    text = f"{part(head)}.{part(body)}"
    private = key.private_key
    assert private is not None
    return f"{text}.{part(private.sign(text.encode()))}"  # type: ignore[union-attr]  # an Ed25519 key signs


def call(gateway: ServedGateway, bearer: str) -> httpx2.Response:
    return httpx2.post(
        f"{gateway.base_url}/chat/completions",
        json={"model": "demo", "messages": [{"role": "user", "content": "Hello"}]},
        headers={"authorization": f"Bearer {bearer}"},
        timeout=PATIENCE,
    )


def test_the_good_one_is_good(gateway: ServedGateway) -> None:
    for head in (header(), header(kid=None)):
        assert call(gateway, signed(head, claims(gateway))).status_code == 200
    assert call(gateway, signed(header(), claims(gateway, aud=f"{gateway.url}/"))).status_code == 200
    assert call(gateway, signed(header(), claims(gateway, iat=None, jti=None))).status_code == 200


def none_algorithm(gateway: ServedGateway, issuer: KeyServer) -> str:
    return f"{part(header(alg='none'))}.{part(claims(gateway))}."


def none_algorithm_with_a_signature(gateway: ServedGateway, issuer: KeyServer) -> str:
    return signed(header(alg="none"), claims(gateway))


def hmac_with_the_public_key(gateway: ServedGateway, issuer: KeyServer) -> str:
    text = f"{part(header(alg='HS256'))}.{part(claims(gateway))}"
    return f"{text}.{part(hmac.digest(KEY.as_pem(private=False), text.encode(), hashlib.sha256))}"


def hmac_with_the_raw_public_key(gateway: ServedGateway, issuer: KeyServer) -> str:
    text = f"{part(header(alg='HS256'))}.{part(claims(gateway))}"
    raw = base64.urlsafe_b64decode(jwt.public_jwk(KEY)["x"] + "=")
    return f"{text}.{part(hmac.digest(raw, text.encode(), hashlib.sha256))}"


def another_key(gateway: ServedGateway, issuer: KeyServer) -> str:
    return signed(header(), claims(gateway), OTHER)


def a_foreign_kid(gateway: ServedGateway, issuer: KeyServer) -> str:
    return signed(header(kid=OTHER.thumbprint()), claims(gateway), OTHER)


def a_kid_that_is_a_path(gateway: ServedGateway, issuer: KeyServer) -> str:
    return signed(header(kid="../../../../etc/passwd"), claims(gateway), OTHER)


def a_kid_that_is_a_url(gateway: ServedGateway, issuer: KeyServer) -> str:
    return signed(header(kid=f"{issuer.url}/evil"), claims(gateway), OTHER)


def a_kid_that_is_no_text(gateway: ServedGateway, issuer: KeyServer) -> str:
    return signed(header(kid=[KID]), claims(gateway))


def a_key_of_its_own(gateway: ServedGateway, issuer: KeyServer) -> str:
    return signed(header(jwk=jwt.public_jwk(OTHER)), claims(gateway), OTHER)


def a_key_set_elsewhere(gateway: ServedGateway, issuer: KeyServer) -> str:
    return signed(header(jku=f"{issuer.url}/evil"), claims(gateway), OTHER)


def a_certificate_elsewhere(gateway: ServedGateway, issuer: KeyServer) -> str:
    return signed(header(x5u=f"{issuer.url}/evil"), claims(gateway))


def a_critical_extension(gateway: ServedGateway, issuer: KeyServer) -> str:
    return signed(header(crit=["exp"]), claims(gateway))


def an_altered_claim(gateway: ServedGateway, issuer: KeyServer) -> str:
    head, _, signature = signed(header(), claims(gateway)).split(".")
    return f"{head}.{part(claims(gateway, jti='jti_2'))}.{signature}"


FALSE_SIGNATURES: tuple[Callable[[ServedGateway, KeyServer], str], ...] = (
    none_algorithm,
    none_algorithm_with_a_signature,
    hmac_with_the_public_key,
    hmac_with_the_raw_public_key,
    another_key,
    a_foreign_kid,
    a_kid_that_is_a_path,
    a_kid_that_is_a_url,
    a_kid_that_is_no_text,
    a_key_of_its_own,
    a_key_set_elsewhere,
    a_certificate_elsewhere,
    a_critical_extension,
    an_altered_claim,
)


def refused(gateway: ServedGateway, issuer: KeyServer, bearer: str, code: str) -> None:
    answer = call(gateway, bearer)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, code), answer.text
    assert {path for _, path, _ in issuer.asked} <= {"/jwks.json"}
    assert bearer not in gateway.output()


@pytest.mark.parametrize("forged", FALSE_SIGNATURES, ids=lambda forged: forged.__name__)
def test_a_false_signature_of_a_known_issuer_is_told_as_one(
    forged: Callable[[ServedGateway, KeyServer], str], gateway: ServedGateway, issuer: KeyServer
) -> None:
    refused(gateway, issuer, forged(gateway, issuer), "invalid_jwt_signature")
    # However many come with a kid that nobody knows, the issuer is asked again at most once in 30 seconds.
    served_for = time.time() - (gateway.home / "server.json").stat().st_mtime
    assert len(issuer.asked) <= 2 + served_for // 30


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": "2030-01-01"},
        {"exp": lambda now: str(now + 600)},
        {"exp": lambda now: now + 600.5},
        {"exp": True},
        {"exp": -1},
        {"exp": 1e308},
        {"exp": 10**30},
        {"exp": lambda now: now - 61},
        {"exp": lambda now: now + 3600 + 600, "iat": None},
        {"exp": lambda now: now + 3599, "iat": lambda now: now - 30},
        {"iat": lambda now: now + 300},
        {"iat": "now"},
        {"nbf": lambda now: now + 300},
        {"aud": None},
        {"aud": "https://another.example"},
        {"aud": ["https://another.example"]},
        {"aud": []},
        {"aud": ""},
        {"sub": None},
        {"sub": jwt.instance_id(OTHER)},
        {"iss": None},
        {"iss": 5},
        {"iss": jwt.instance_id(OTHER), "sub": jwt.instance_id(OTHER)},
        {"iss": "https://issuer.example"},
        {"iss": f"{ISSUER}/../x"},
        {"scope": None},
        {"scope": ""},
        {"scope": ["inference"]},
        {"scope": "owner"},
        {"scope": "operator"},
        {"scope": "inference owner"},
        {"scope": "records:write"},
        {"jti": 5},
        {"jti": ""},
        {"jti": "a b"},
        {"jti": "x" * 129},
    ],
    ids="-".join,
)
def test_a_claim_that_will_not_do_is_an_invalid_bearer(
    changes: dict[str, Any], gateway: ServedGateway, issuer: KeyServer
) -> None:
    refused(gateway, issuer, signed(header(), claims(gateway, **changes)), "invalid_bearer")


@pytest.mark.parametrize("typ", [None, "", "JWT", "records+jwt", "at+jwt", "Inference+JWT"], ids=str)
def test_what_was_signed_for_one_purpose_is_good_for_no_other(
    typ: Any, gateway: ServedGateway, issuer: KeyServer
) -> None:
    refused(gateway, issuer, signed(header(typ=typ), claims(gateway)), "invalid_bearer")


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "scope", "exp", "jti"])
def test_a_claim_that_is_there_twice_is_an_invalid_bearer(name: str, gateway: ServedGateway, issuer: KeyServer) -> None:
    good = claims(gateway)
    once = json.dumps(good)
    twice = f'{once[:-1]}, "{name}": {json.dumps(good[name])}}}'
    refused(gateway, issuer, signed(header(), twice.encode()), "invalid_bearer")
    escaped = f'{once[:-1]}, "\\u{ord(name[0]):04x}{name[1:]}": {json.dumps(good[name])}}}'
    refused(gateway, issuer, signed(header(), escaped.encode()), "invalid_bearer")


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b'{"alg": "EdDSA", "alg": "none", "typ": "inference+jwt"}', None),
        (b"[]", None),
        (b"{", None),
        (None, b"[]"),
        (None, b""),
        (None, b"\xff\xfe"),
        (None, b'{"exp": NaN}'),
        (None, b'{"iss": ' + b"[" * 2000 + b"]" * 2000 + b"}"),
    ],
    ids=str,
)
def test_what_is_no_object_is_an_invalid_bearer(
    head: bytes | None, body: bytes | None, gateway: ServedGateway, issuer: KeyServer
) -> None:
    bearer = signed(header() if head is None else head, claims(gateway) if body is None else body)
    refused(gateway, issuer, bearer, "invalid_bearer")


def test_a_revoked_jti_is_an_invalid_bearer_and_no_other_is(gateway: ServedGateway, issuer: KeyServer) -> None:
    revoked, other = (signed(header(), claims(gateway, jti=jti)) for jti in ("jti_revoked", "jti_other"))
    assert call(gateway, revoked).status_code == 200
    gateway.spl("token", "revoke", ISSUER, "jti_revoked")
    refused(gateway, issuer, revoked, "invalid_bearer")
    refused(gateway, issuer, signed(header(), claims(gateway, jti="jti_revoked")), "invalid_bearer")
    assert call(gateway, other).status_code == 200


def test_the_account_is_the_registration_s_whatever_a_claim_says(gateway: ServedGateway) -> None:
    bearer = signed(header(), claims(gateway, account="local", account_id="local", jti="jti_account"))
    answer = call(gateway, bearer)
    assert answer.status_code == 200
    listed = json.loads(gateway.spl("thread", "records", "th_audit_api_usage", "--account", "acme"))
    assert answer.headers["x-request-id"] in {row["body"]["request_id"] for row in listed}
