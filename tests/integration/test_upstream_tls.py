"""TLS to providers, held to a certificate authority of the test's own: its names, its time, and who signed it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway_core.config import UpstreamConfig
from gateway_core.errors import Unavailable
from gateway_core.ports import Upstream, UpstreamRequest
from gateway_core.types import Deadlines
from gateway_core.upstream.httpx_upstream import HttpxUpstream
from gateway_core.upstream.native import NativeUpstream
from gateway_core.upstream.tls import client_context


class Authority:
    """A certificate authority, as files in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        own = (
            self._builder(self._name, self._key, days=365)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def server(self, *names: str, days: int = 30) -> ssl.SSLContext:
        """A server's context, with a certificate for these names that is over after some days."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
        known = [
            x509.IPAddress(ip_address(name)) if name[0].isdigit() or ":" in name else x509.DNSName(name)
            for name in names
        ]
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        signed = (
            self._builder(subject, key, days=days)
            .add_extension(x509.SubjectAlternativeName(known), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        file = self._folder / f"server-{x509.random_serial_number()}.pem"
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
        )


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "ours")


@pytest.fixture(params=[NativeUpstream, HttpxUpstream], ids=["native", "httpx2"])
async def upstream(
    request: pytest.FixtureRequest, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Upstream]:
    """A client whose system trusts only our authority: that is said where a system says it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.file.parent / "none"))
    upstream: Upstream = request.param(UpstreamConfig())
    yield upstream
    await upstream.close()


class Served:
    """How many connections the servers of a test took."""

    def __init__(self) -> None:
        self.connections = 0


Serve = Callable[..., Awaitable[str]]


@pytest.fixture
def served() -> Served:
    return Served()


@pytest.fixture
async def serve(served: Served) -> AsyncIterator[Serve]:
    servers: list[asyncio.Server] = []
    writers: list[asyncio.StreamWriter] = []

    async def start(context: ssl.SSLContext, *, name: str, close: bool = False) -> str:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            served.connections += 1
            writers.append(writer)
            try:
                while True:
                    await reader.readuntil(b"\r\n\r\n")
                    await reader.readexactly(2)
                    if close:
                        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
                        return
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        return f"https://{name}:{server.sockets[0].getsockname()[1]}/v1"

    yield start
    for writer in writers:
        writer.close()
    for server in servers:
        server.close()


async def ask(upstream: Upstream, url: str) -> bytes:
    request = UpstreamRequest(url=url, headers={}, body=b"{}", deadlines=Deadlines(connect=5))
    response = await upstream.send(request)
    try:
        return await response.read()
    finally:
        await response.close()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_a_certificate_of_the_systems_authority_for_that_name_is_good(
    upstream: Upstream, authority: Authority, serve: Serve, served: Served, name: str
) -> None:
    url = await serve(authority.server("localhost", "127.0.0.1"), name=name)
    assert [await ask(upstream, url) for _ in range(3)] == [b"hello"] * 3
    assert served.connections == 1


async def test_a_body_may_end_with_the_connection(
    authority: Authority, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where TLS itself says that it is the end. httpx2 takes such an answer for one that broke off."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    upstream = NativeUpstream(UpstreamConfig())
    url = await serve(authority.server("localhost"), name="localhost", close=True)
    assert [await ask(upstream, url) for _ in range(2)] == [b"hello"] * 2
    await upstream.close()


async def refused(upstream: Upstream, url: str) -> str:
    with pytest.raises(Unavailable) as met:
        await ask(upstream, url)
    assert "localhost" not in met.value.detail
    return met.value.detail


async def test_a_certificate_for_another_name_is_refused(
    upstream: Upstream, authority: Authority, serve: Serve
) -> None:
    url = await serve(authority.server("api.example.com", "10.0.0.1"), name="localhost")
    assert await refused(upstream, url) == "could not be connected to (SSLCertVerificationError)"
    assert "SSLCertVerificationError" in await refused(upstream, url.replace("localhost", "127.0.0.1"))


async def test_a_certificate_of_another_authority_is_refused(upstream: Upstream, serve: Serve, tmp_path: Path) -> None:
    url = await serve(Authority(tmp_path, "theirs").server("localhost"), name="localhost")
    assert "SSLCertVerificationError" in await refused(upstream, url)


async def test_a_certificate_that_is_over_is_refused(upstream: Upstream, authority: Authority, serve: Serve) -> None:
    url = await serve(authority.server("localhost", days=-1), name="localhost")
    assert "SSLCertVerificationError" in await refused(upstream, url)


async def test_an_old_protocol_is_refused(upstream: Upstream, authority: Authority, serve: Serve) -> None:
    context = authority.server("localhost")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert "could not be connected to" in await refused(upstream, await serve(context, name="localhost"))


async def test_a_server_without_tls_is_refused(upstream: Upstream) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 No\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert "could not be connected to" in await refused(upstream, url)


async def test_a_handshake_that_never_ends_is_held_to_the_deadline(upstream: Upstream) -> None:
    hung_up = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        hung_up.set()
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        request = UpstreamRequest(url=url, headers={}, body=b"{}", deadlines=Deadlines(connect=0.2))
        with pytest.raises(Unavailable, match="could not be connected to in time"):
            await upstream.send(request)
        await asyncio.wait_for(hung_up.wait(), 5)


def test_the_system_says_whom_to_trust(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.file.parent / "none"))
    context = client_context()
    assert [dict(pair[0] for pair in ca["subject"])["commonName"] for ca in context.get_ca_certs()] == ["ours"]  # type: ignore[misc]  # typeshed: a union of shapes
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
