"""TLS to providers, held to a certificate authority of the test's own: its names, its time, and who signed it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from gateway_core.config import UpstreamConfig
from gateway_core.errors import Unavailable
from gateway_core.ports import Upstream, UpstreamRequest
from gateway_core.testing.authority import Authority
from gateway_core.testing.server import PATIENCE
from gateway_core.types import Deadlines
from gateway_core.upstream.httpx_upstream import HttpxUpstream
from gateway_core.upstream.native import NativeUpstream
from gateway_core.upstream.tls import client_context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "ours")


def by_http2(config: UpstreamConfig) -> Upstream:
    """That offers HTTP/2 to servers that do not speak it."""
    return HttpxUpstream(msgspec.structs.replace(config, http2=True))


@pytest.fixture(params=[NativeUpstream, HttpxUpstream, by_http2], ids=["native", "httpx2", "http2"])
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
        await asyncio.wait_for(hung_up.wait(), PATIENCE)


def test_the_system_says_whom_to_trust(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.file.parent / "none"))
    context = client_context()
    assert [dict(pair[0] for pair in ca["subject"])["commonName"] for ca in context.get_ca_certs()] == ["ours"]  # type: ignore[misc]  # typeshed: a union of shapes
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
