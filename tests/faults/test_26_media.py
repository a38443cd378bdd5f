"""Fault 26, for images and files: an address in a request never leads into our own network, and brings no more than it
may."""

import base64
import json
import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_core.config import MediaConfig
from gateway_core.errors import InvalidRequest
from gateway_core.media import FetchedMedia
from gateway_core.ports import MediaLink
from gateway_core.testing.gemini_fixture import GeminiHandle
from gateway_core.testing.inside_addresses import INSIDE
from gateway_core.testing.key_server import KeyServer, key_server
from gateway_core.testing.server import PATIENCE, ServedGateway, serving

PARAM = "messages[0].content[1].image_url.url"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.fixture
def server() -> Iterator[KeyServer]:
    with key_server() as served:
        served.body = PNG
        served.headers = {"content-type": "image/png"}
        yield served


async def refusal(url: str, config: MediaConfig) -> str:
    media = FetchedMedia.configured(config)
    with pytest.raises(InvalidRequest) as caught:
        await media.fetch("acct_1", [MediaLink(url, frozenset({"image/png"}), PARAM)])
    await media.close()
    assert caught.value.param == PARAM
    assert str(caught.value).startswith(PARAM)
    return str(caught.value)


@pytest.mark.parametrize("host", INSIDE)
async def test_26_no_inside_address_is_asked(host: str, server: KeyServer) -> None:
    """In any notation, over https or http, on any port."""
    port = server.url.rpartition(":")[2]
    for scheme, config in (("https", MediaConfig()), ("http", MediaConfig(allow_http=True))):
        assert "not public" in await refusal(f"{scheme}://{host}:{port}/latest/meta-data", config)
    assert server.asked == []


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "[fd00:ec2::254]"])
async def test_26_metadata_is_never_asked(host: str) -> None:
    config = MediaConfig(allow_http=True, allow_private_addresses=True)
    assert "not public" in await refusal(f"http://{host}/latest/meta-data", config)


async def test_26_http_only_where_it_is_allowed(server: KeyServer) -> None:
    private = MediaConfig(allow_private_addresses=True)
    assert "is not an https address" in await refusal(server.url, private)
    assert server.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/a.png",
        "file:///etc/passwd",
        "gopher://x",
        "https://u:p@example.com",
        "https://",
        "a.png",
        "https://x/?a\0b",
    ],
)
async def test_26_what_is_no_web_address_is_refused(url: str) -> None:
    assert "is not an http or https address" in await refusal(url, MediaConfig(allow_http=True))


async def test_26_a_redirect_is_not_followed(server: KeyServer) -> None:
    server.headers = {"location": f"{server.url}/inside.png"}
    config = MediaConfig(allow_http=True, allow_private_addresses=True)
    for server.status in (301, 302, 303, 307, 308):
        assert "redirect" in await refusal(f"{server.url}/a.png", config)
    assert {path for _, path, _ in server.asked} == {"/a.png"}


async def test_26_an_inside_name_is_told_from_no_other(monkeypatch: pytest.MonkeyPatch, server: KeyServer) -> None:
    """Whether a name leads inside, leads to one inner address among public ones, or nowhere: the words are the same, so
    that nobody learns what names there are. The resolver says what an attacker wants: it cannot be had for real."""
    known = {
        "inside.example": ["10.0.0.7"],
        "rebound.example": ["93.184.216.34", "127.0.0.1"],
        "mapped.example": ["::ffff:169.254.169.254"],
    }

    def look_up(host: str, *_arguments: Any, **_options: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    told = {await refusal(f"https://{host}/a.png", MediaConfig()) for host in (*known, "unknown.example")}
    assert told == {f"{PARAM} cannot be fetched: it has a name that cannot be resolved, or is not public."}
    assert server.asked == []


async def test_26_no_credential_leaves(server: KeyServer) -> None:
    """Whoever is asked gets an address, and nothing of who asks."""
    media = FetchedMedia.configured(MediaConfig(allow_http=True, allow_private_addresses=True))
    link = MediaLink(f"{server.url}/a.png?token=theirs", frozenset({"image/png"}), PARAM)
    assert (await media.fetch("acct_1", [link]))[link.url].data == PNG
    await media.close()
    assert server.asked == [("GET", "/a.png?token=theirs", None)]


async def test_26_it_is_bounded_in_size_and_time(server: KeyServer) -> None:
    config = MediaConfig(allow_http=True, allow_private_addresses=True, max_bytes=1000)
    server.body = PNG + bytes(1000)
    assert "more than 1000 bytes" in await refusal(server.url, config)
    server.headers["content-encoding"] = "gzip"
    assert "compressed" in await refusal(server.url, config)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.png"
        hasty = MediaConfig(allow_http=True, allow_private_addresses=True, seconds=0.2)
        assert "did not answer within 0.2 s" in await refusal(url, hasty)


# ---------------------------------------------------------------- through the whole gateway

CONFIG = """
[media]
{media}

[providers.google]
plugin = "provider-gemini"
base_url = "{base_url}"
api_key = "env:GEMINI_API_KEY"

[models.seer]
routes = [{{ provider = "google", model = "gemini-3.8-flash" }}]
price = {{ input = "1", output = "2" }}
"""


def look_at(gateway: ServedGateway, url: str) -> httpx2.Response:
    content = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    body = {"model": "seer", "messages": [{"role": "user", "content": content}]}
    headers = {"authorization": f"Bearer {gateway.key}"}
    return httpx2.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers, timeout=PATIENCE)


def test_26_a_call_that_names_an_inside_address_ends_with_400_and_costs_nothing(
    gemini_upstream: GeminiHandle, server: KeyServer, tmp_path: Path
) -> None:
    config = CONFIG.format(base_url=gemini_upstream.base_url, media="allow_http = true")
    with serving(tmp_path / "home", config=config, env={"GEMINI_API_KEY": gemini_upstream.key}) as gateway:
        for url in (f"{server.url}/a.png", "http://169.254.169.254/latest", "http://localhost/a.png"):
            answer = look_at(gateway, url)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_request", PARAM)
            assert "not public" in error["message"]
            assert "127.0.0.1" not in error["message"]
        records = json.loads(gateway.spl("thread", "records", "th_audit_api_usage", "-o", "json"))
        bodies = [each["body"] for each in records]
        assert [body["outcome"] for body in bodies] == ["failed"] * 3
        assert sum(Decimal(body["cost_usd"]) for body in bodies) == 0
        assert gateway.spl("reconcile", "-o", "json").strip() == "[]"
    assert server.asked == []
    assert gemini_upstream.log() == []


def test_26_what_may_be_fetched_reaches_the_provider_whole(
    gemini_upstream: GeminiHandle, server: KeyServer, tmp_path: Path
) -> None:
    allowed = "allow_http = true\nallow_private_addresses = true"
    config = CONFIG.format(base_url=gemini_upstream.base_url, media=allowed)
    with serving(tmp_path / "home", config=config, env={"GEMINI_API_KEY": gemini_upstream.key}) as gateway:
        assert look_at(gateway, f"{server.url}/a.png").status_code == 200
        server.body = b"<html>"
        assert look_at(gateway, f"{server.url}/a.png").status_code == 400
    (sent,) = gemini_upstream.log()
    (inline,) = [part["inlineData"] for part in sent["body"]["contents"][0]["parts"] if "inlineData" in part]
    assert (inline["mimeType"], base64.b64decode(inline["data"])) == ("image/png", PNG)
    assert {authorization for _, _, authorization in server.asked} == {None}
