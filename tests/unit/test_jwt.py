"""JWTs: what is read, what is verified, and what keys may look like."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from gateway_core import jwt
from gateway_core.errors import InvalidBearer, InvalidJwtSignature
from gateway_core.testing.samples import STARTED_AT

NOW = STARTED_AT // 1000
AUDIENCE = "https://gateway.example"
KEY = jwt.new_key()
KEYS = {KEY.thumbprint(): KEY}


def token(**changes: Any) -> str:
    given: dict[str, Any] = {
        "issuer": jwt.instance_id(KEY),
        "purpose": "inference",
        "audience": AUDIENCE,
        "scope": "inference",
        "jti": "jti_1",
        "now_ms": STARTED_AT,
        "seconds": 600,
    }
    return jwt.sign(KEY, **{**given, **changes})


def verified(bearer: str, now_ms: int = STARTED_AT) -> jwt.Claims:
    unverified = jwt.read(bearer)
    jwt.verify_signature(unverified, KEYS)
    return jwt.check_claims(unverified, (AUDIENCE,), now_ms)


def test_what_was_signed_is_what_is_read() -> None:
    claims = verified(token())
    assert claims == jwt.Claims(
        jwt.instance_id(KEY), "inference", frozenset({"inference"}), "jti_1", (NOW + 600 + jwt.SKEW) * 1000
    )
    assert verified(token(purpose="records", scope="records:read records:write")).scopes == {
        "records:read",
        "records:write",
    }


@pytest.mark.parametrize(
    ("seconds", "good"), [(-61, False), (-60, True), (0, True), (659, True), (660, False), (7200, False)]
)
def test_a_token_begins_and_ends_with_a_minute_s_grace(seconds: int, good: bool) -> None:
    bearer, at = token(), STARTED_AT + seconds * 1000
    if good:
        assert verified(bearer, at).jti == "jti_1"
    else:
        with pytest.raises(InvalidBearer):
            verified(bearer, at)


def test_none_lives_longer_than_an_hour() -> None:
    assert verified(token(seconds=100_000)).expires_at == (NOW + 3600 + jwt.SKEW) * 1000


@given(st.text(max_size=200) | st.from_regex(r"eyJ[A-Za-z0-9_\-]{0,40}\.[A-Za-z0-9_\-]{0,80}\.[A-Za-z0-9_\-]{0,90}"))
def test_nonsense_is_an_invalid_bearer_and_nothing_else(text: str) -> None:
    if jwt.looks_like_jwt(text):
        with pytest.raises(InvalidBearer):
            jwt.read(text)


@given(st.integers(min_value=0), st.integers(min_value=0, max_value=7))
def test_no_bit_can_be_changed(place: int, bit: int) -> None:
    parts = token().split(".")
    raw = [bytearray(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts]
    part = raw[place % 3]
    part[(place // 3) % len(part)] ^= 1 << bit
    changed = ".".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in raw)
    with pytest.raises((InvalidBearer, InvalidJwtSignature)):
        verified(changed)


def test_a_signature_is_written_in_one_way_only() -> None:
    bearer = token()
    head, _, signature = bearer.rpartition(".")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(signature[-1])
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for other in (signature[:-1] + alphabet[last ^ 1], signature + "=", signature + "A"):
        with pytest.raises((InvalidBearer, InvalidJwtSignature)):
            verified(f"{head}.{other}")


# ---------------------------------------------------------------- keys


def test_a_public_key_is_taken_as_pem_jwk_and_set_and_is_the_same() -> None:
    jwk = jwt.public_jwk(KEY)
    pem = KEY.as_pem(private=False).decode()
    other = {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}
    forms = [pem, json.dumps(jwk), json.dumps({"keys": [other, jwk], "issuer": jwt.instance_id(KEY)})]
    texts = {jwt.key_set_text(jwt.read_key_set(form)) for form in forms}
    assert len(texts) == 1
    assert "d" not in json.loads(texts.pop())["keys"][0]
    assert [jwt.issuer_of(form) for form in forms] == [None, None, jwt.instance_id(KEY)]


def _pem(private: Any) -> str:
    return str(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must be a public key"),
        ("nonsense", "must be a public key"),
        ("[]", "must be a public key"),
        ('{"kty": "OKP", "kty": "OKP"}', "must be a public key"),
        ("{}", "no Ed25519 key"),
        ('{"keys": {}}', "list of keys"),
        ('{"keys": []}', "no Ed25519 key"),
        (json.dumps({"keys": [{}] * 17}), "more than 16"),
        ('{"kty": "oct", "k": "AAAA"}', "no Ed25519 key"),
        ('{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}', "is none"),
        ('{"kty": "OKP", "crv": "Ed25519", "x": 5}', "is none"),
        ('{"kty": "OKP", "crv": "Ed25519"}', "is none"),
        (json.dumps({"keys": [jwt.public_jwk(KEY)] * 2}), "`kid` of its own"),
        (json.dumps({**jwt.public_jwk(KEY), "kid": "a\nb"}), "`kid` of its own"),
        (json.dumps(KEY.as_dict(private=True)), "private key"),
        (KEY.as_pem(private=True).decode(), "private key"),
        (_pem(generate_private_key(SECP256R1())), "Ed25519 public key"),
        (_pem(Ed448PrivateKey.generate()), "Ed25519 public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "Ed25519 public key"),
        ("[" * 100_000, "must be a public key"),
    ],
)
def test_what_is_no_public_key_is_refused_by_what_it_is(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        jwt.read_key_set(text)


@pytest.mark.parametrize("pem", ["", "x", _pem(generate_private_key(SECP256R1())), KEY.as_pem(private=False).decode()])
def test_what_is_no_private_key_is_refused(pem: str) -> None:
    with pytest.raises(ValueError, match="unencrypted Ed25519 key"):
        jwt.read_private_key(pem)
