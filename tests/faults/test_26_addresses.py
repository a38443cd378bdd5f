"""Fault 26: JWKS and push URLs never lead into our own network, by name, by number or by redirect."""

import json
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gateway_core import jwt
from gateway_core.errors import OutsideError
from gateway_core.testing.inside_addresses import INSIDE
from gateway_core.testing.key_server import KeyServer, key_server
from gateway_core.testing.server import ServedGateway, serving
from gateway_core.upstream import outside
from gateway_core.upstream.outside import GuardedOutside

NEVER = [
    "169.254.169.254",
    "[fe80::1]",
    "[::ffff:169.254.169.254]",
    "0.0.0.1",
    "[::]",
    "224.0.0.1",
    "[ff02::1]",
    "[fd00:ec2::254]",
]
"""Refused even where private addresses are allowed."""


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server() as served:
        served.body = json.dumps({"keys": [jwt.public_jwk(jwt.new_key())]}).encode()
        yield served


@pytest.mark.parametrize("host", INSIDE)
async def test_no_address_of_ours_is_asked(host: str) -> None:
    guarded = GuardedOutside(allow_private=False)
    for scheme in ("https", "http"):
        with pytest.raises(OutsideError, match=r"not public|not an https|cannot be resolved|not an http or https"):
            await guarded.ask("GET", f"{scheme}://{host}/latest/meta-data", {})
    await guarded.close()


@pytest.mark.parametrize("host", NEVER)
async def test_metadata_is_never_asked(host: str) -> None:
    guarded = GuardedOutside(allow_private=True)
    with pytest.raises(OutsideError, match="not public"):
        await guarded.ask("GET", f"http://{host}/latest/meta-data", {})
    await guarded.close()


@pytest.mark.parametrize(
    "answers",
    [["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["93.184.216.34", "::1"], ["::ffff:10.0.0.1"], ["fe80::1%eth0"]],
    ids=str,
)
async def test_a_public_name_that_leads_to_us_is_not_asked(
    answers: list[str], server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that says what an attacker wants: the one thing here that cannot be had for real."""
    found: list[Any] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in answers]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: found)
    guarded = GuardedOutside(allow_private=False)
    with pytest.raises(OutsideError, match="not public"):
        await guarded.ask("GET", "https://rebound.example/jwks.json", {})
    await guarded.close()
    assert server.asked == []


async def test_the_connection_goes_to_the_address_that_was_judged(
    server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that means something else when it is looked up again changes nothing: it is not looked up again."""
    port = int(server.url.rpartition(":")[2])
    asked: list[str] = []
    real = socket.getaddrinfo

    def once(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "office.example":
            asked.append(host)
            return real("127.0.0.1", *arguments, **options)
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", once)
    guarded = GuardedOutside(allow_private=True)
    answer = await guarded.ask("GET", f"http://office.example:{port}/jwks.json", {})
    await guarded.close()
    assert answer.status == 200
    assert asked == ["office.example"]


async def test_the_certificate_must_be_the_name_s(
    server: KeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the connection goes to an address: by its name it is asked for, and nobody else's will do."""
    trusted = _with_certificate(server, "office.example", tmp_path)
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *rest, **options: real("127.0.0.1", *rest, **options))
    guarded = GuardedOutside(allow_private=True)
    guarded._certificates = trusted
    port = server.url.rpartition(":")[2]
    assert (await guarded.ask("GET", f"https://office.example:{port}/jwks.json", {})).status == 200
    for other in ("other.example", "127.0.0.1"):
        with pytest.raises(OutsideError, match="could not be asked"):
            await guarded.ask("POST", f"https://{other}:{port}/push", {"authorization": "Bearer x"})
    untrusting = GuardedOutside(allow_private=True)
    with pytest.raises(OutsideError, match="could not be asked"):
        await untrusting.ask("POST", f"https://office.example:{port}/push", {"authorization": "Bearer x"})
    await guarded.close()
    await untrusting.close()
    assert [path for _, path, _ in server.asked] == ["/jwks.json"]


def _with_certificate(server: KeyServer, name: str, folder: Path) -> ssl.SSLContext:
    """Serves by TLS from now on, with a certificate for a name; gives what trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    server.secure(folder / "certificate.pem", folder / "key.pem")
    return ssl.create_default_context(cafile=str(folder / "certificate.pem"))


async def test_a_redirect_is_not_followed_and_takes_no_bearer_along(server: KeyServer) -> None:
    guarded = GuardedOutside(allow_private=True)
    server.headers = {"location": f"{server.url}/elsewhere"}
    for server.status in (301, 302, 303, 307, 308):
        with pytest.raises(OutsideError, match="redirect"):
            await guarded.ask("POST", f"{server.url}/push", {"authorization": "Bearer x"}, b"{}")
    await guarded.close()
    assert {path for _, path, _ in server.asked} == {"/push"}


async def test_an_answer_is_bounded_in_size_and_time(server: KeyServer, refusing_port: int) -> None:
    guarded, hasty = GuardedOutside(allow_private=True), GuardedOutside(allow_private=True, seconds=0.2)
    server.body = b"x" * 65_537
    with pytest.raises(OutsideError, match="more than 65536 bytes"):
        await guarded.ask("GET", server.url, {})
    server.headers = {"content-encoding": "gzip"}
    with pytest.raises(OutsideError, match="compressed"):
        await guarded.ask("GET", server.url, {})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(OutsideError, match=r"did not answer within 0\.2 s"):
            await hasty.ask("GET", url, {})
    with pytest.raises(OutsideError, match="could not be asked"):
        await guarded.ask("GET", f"http://127.0.0.1:{refusing_port}", {})
    await guarded.close()
    await hasty.close()


@pytest.mark.parametrize("url", ["ftp://x", "file:///etc/passwd", "https://", "https://u:p@x", "https://x/\n", "x"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(OutsideError):
        GuardedOutside(allow_private=True).check(url)


async def test_a_connection_is_kept_for_its_own_name_alone(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two names may share an address: a connection that was verified for one must not carry the other's bearer."""
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *rest, **options: real("127.0.0.1", *rest, **options))
    guarded = GuardedOutside(allow_private=True)
    port = server.url.rpartition(":")[2]
    for host in ("one.example", "two.example", "one.example", "two.example"):
        await guarded.ask("POST", f"http://{host}:{port}/push", {}, b"{}")
    assert len(server.connections) == 2
    monkeypatch.setattr(outside, "_HOSTS_KEPT", 1)
    await guarded.ask("POST", f"http://three.example:{port}/push", {}, b"{}")
    assert len(guarded._lines) == 1
    await guarded.close()


def test_registrations_of_a_gateway_that_allows_none_are_refused_and_ask_nobody(
    tmp_path: Path, server: KeyServer
) -> None:
    key = json.dumps(jwt.public_jwk(jwt.new_key()))
    bodies: list[dict[str, str]] = [
        {"jwks_url": f"{server.url}/jwks.json"},
        {"jwks_url": "https://localhost/jwks.json"},
        {"jwks_url": "http://169.254.169.254/latest"},
        {"key": key, "push_url": server.url},
        {"key": key, "push_url": "https://10.0.0.1"},
        {"key": key, "push_url": "http://office.example"},
    ]
    with serving(tmp_path / "home") as gateway:
        answers = [_register(gateway, body) for body in bodies]
        told = [(answer.status_code, answer.json()["error"]["code"]) for answer in answers]
        assert told == [(400, "invalid_request")] * len(bodies)
        assert gateway.spl("instance", "list", "-o", "json").strip() == "[]"
    assert server.asked == []


def _register(gateway: ServedGateway, body: dict[str, str]) -> httpx2.Response:
    headers = {"authorization": f"Bearer {gateway.operator_key}"}
    given = {"name": "office", "account": "local", **body}
    return httpx2.post(f"{gateway.url}/v1/admin/instances", json=given, headers=headers)
