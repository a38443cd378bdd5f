"""Which client asks: the native one, or httpx2, which also goes through a proxy."""

import asyncio
import subprocess
import sys
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
            await reader.readexactly(2)  # what is left unread would be a reset
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
        (
            "http2 = true",
            r"upstream.http2: needs client = \"httpx2\" beside it: the native client speaks HTTP/1.1 only",
        ),
        ('client = "native"\nhttp2 = true', r"config\.toml: upstream\.http2: needs client"),
        ('client = "httpx2"\nhttp2 = "yes"', "upstream.http2: expected true or false"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(tmp_path: Path, lines: str, complaint: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[upstream]\n{lines}\n")
    with pytest.raises(ConfigError, match=complaint) as met:
        load(file, None)
    assert "letmein" not in str(met.value)


WITHOUT_H2 = """
import sys
from importlib.machinery import PathFinder

class Missing(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == "h2" else super().find_spec(name, path, target)

sys.meta_path = [Missing if finder is PathFinder else finder for finder in sys.meta_path]
from gateway_core.cli import main
sys.argv = ["spl", *sys.argv[1:]]
main()
"""


def test_without_the_package_it_is_a_configuration_error_that_says_what_to_install(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[upstream]\nclient = "httpx2"\nhttp2 = true\n')
    command = [sys.executable, "-c", WITHOUT_H2, "--home", str(tmp_path / "home"), "config", "check", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert 'pip install "spl-gateway[http2]"' in done.stderr + done.stdout
    assert "[upstream] http2" in done.stderr + done.stdout
    file.write_text('[upstream]\nclient = "httpx2"\n')
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize(("settings", "imported"), [("", False), (", http2=True", True)])
def test_it_is_imported_only_where_it_is_configured(settings: str, imported: bool) -> None:
    """httpcore2 imports h2 for itself, wherever it is installed; the default client imports neither."""
    code = f"""
import asyncio, sys
from gateway_core.config import UpstreamConfig
from gateway_core.errors import Unavailable
from gateway_core.gateway import upstream_for
from gateway_core.ports import UpstreamRequest

async def ask(config):
    upstream = upstream_for(config)
    try:
        await upstream.send(UpstreamRequest(url="https://127.0.0.1:1/", headers={{}}, body=b""))
    except Unavailable:
        await upstream.close()

asyncio.run(ask(UpstreamConfig()))
print("h2" in sys.modules)
asyncio.run(ask(UpstreamConfig(client="httpx2"{settings})))
print("gateway_core.upstream.http2" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", str(imported)]


@pytest.mark.parametrize("proxy", ["http://proxy.example.com:3128", "env:HTTPS_PROXY"])
def test_a_proxy_is_configured(tmp_path: Path, proxy: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[upstream]\nclient = "httpx2"\nproxy = "{proxy}"\n')
    assert load(file, None).config.upstream.proxy == proxy
