"""Which client asks: the native one, or httpx2, which also goes through a proxy."""

import asyncio
from pathlib import Path

import pytest

from gateway_core.config import UpstreamConfig
from gateway_core.config_file import load
from gateway_core.errors import ConfigError, Unavailable
from gateway_core.ports import UpstreamRequest
from gateway_core.upstream.choice import upstream_for
from gateway_core.upstream.httpx_upstream import HttpxUpstream
from gateway_core.upstream.native import NativeUpstream

SECRET = "sk-very-secret"


def request(url: str) -> UpstreamRequest:
    return UpstreamRequest(url=url, headers={"authorization": f"Bearer {SECRET}"}, body=b"{}")


def test_the_native_client_is_the_default() -> None:
    assert isinstance(upstream_for(UpstreamConfig()), NativeUpstream)
    assert isinstance(upstream_for(UpstreamConfig(client="httpx2")), HttpxUpstream)


async def test_a_proxy_is_asked_for_every_provider_and_gets_no_key_by_tls() -> None:
    seen: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        if head.startswith(b"CONNECT"):
            writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        address = f"http://user:letmein@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        upstream = HttpxUpstream(UpstreamConfig(client="httpx2", proxy="env:PROXY"), environ={"PROXY": address})
        response = await upstream.send(request("http://provider.invalid/v1/chat"))
        assert await response.read() == b"hello"
        await response.close()
        with pytest.raises(Unavailable, match="the proxy refused") as met:
            await upstream.send(request("https://provider.invalid/v1/chat"))
        await upstream.close()
    assert "letmein" not in met.value.detail
    assert seen[0].startswith(b"POST http://provider.invalid/v1/chat HTTP/1.1\r\n")
    assert seen[1].startswith(b"CONNECT provider.invalid:443 HTTP/1.1\r\n")
    assert SECRET.encode() not in seen[1]
    assert b"dXNlcjpsZXRtZWlu" in seen[1]


@pytest.mark.parametrize("value", ["", "nonsense", "ftp://proxy.example.com:1"])
def test_an_environment_without_the_proxys_address_is_a_configuration_error(value: str) -> None:
    with pytest.raises(ConfigError, match="environment variable PROXY holds no address"):
        HttpxUpstream(UpstreamConfig(client="httpx2", proxy="env:PROXY"), environ={"PROXY": value})


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ('proxy = "http://proxy.example.com:3128"', r"upstream.proxy: needs client = \"httpx2\""),
        ('client = "httpx2"\nproxy = "http://user:letmein@proxy.example.com"', "env:NAME"),
        ('client = "httpx2"\nproxy = "proxy.example.com"', "expected an address"),
        ('client = "curl"', "upstream.client"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(tmp_path: Path, lines: str, complaint: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[upstream]\n{lines}\n")
    with pytest.raises(ConfigError, match=complaint) as met:
        load(file, None)
    assert "letmein" not in str(met.value)


@pytest.mark.parametrize("proxy", ["http://proxy.example.com:3128", "env:HTTPS_PROXY"])
def test_a_proxy_is_configured(tmp_path: Path, proxy: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[upstream]\nclient = "httpx2"\nproxy = "{proxy}"\n')
    assert load(file, None).config.upstream.proxy == proxy
