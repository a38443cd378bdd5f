"""What images and files become: V."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from gateway_core.ports import MediaFile
from gateway_core.testing.conversations import JPEG, PDF, PNG

Sent = Callable[..., dict[str, Any]]
Refused = Callable[..., str | None]

USER = {"role": "user", "content": "Hello"}
WEBP = base64.b64encode(b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(8)).decode()
GIF = base64.b64encode(b"GIF89a" + bytes(10)).decode()


def image(url: Any, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def asked_with(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


@pytest.mark.parametrize(
    ("url", "kind", "data"),
    [
        (f"data:image/png;base64,{PNG}", "image/png", PNG),
        (f"data:image/jpg;base64,{JPEG}", "image/jpeg", JPEG),
        (f"DATA:IMAGE/PNG;charset=x;BASE64,{PNG}", "image/png", PNG),
        (f"data:image/png;base64,{JPEG}", "image/jpeg", JPEG),
        (f"data:image/webp;base64,{WEBP}", "image/webp", WEBP),
        (f"data:image/png;base64,{GIF}", "image/gif", GIF),
        (f"data:image/png;base64,{PNG.replace('/', '%2F').replace('=', '%3D')}", "image/png", PNG),
        (f"data:image/png;base64,{PNG[:20]}\r\n{PNG[20:]} \n", "image/png", PNG),
        (f"data:image/png;base64,{PNG.rstrip('=').replace('+', '-').replace('/', '_')}", "image/png", PNG),
        ("data:image/gif,GIF89a%00", "image/gif", base64.b64encode(b"GIF89a\0").decode()),
    ],
)
def test_V1_an_image_as_a_data_url(sent: Sent, url: str, kind: str, data: str) -> None:
    block = {"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}
    assert sent(**asked_with(image(url, detail="low")))["messages"][0]["content"] == [block]
    assert sent(**asked_with({"type": "image_url", "image_url": url}))["messages"][0]["content"] == [block]


def test_V1_an_image_as_a_tools_result(sent: Sent) -> None:
    called = {
        "role": "assistant",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}],
    }
    content = [{"type": "text", "text": "see"}, image(f"data:image/png;base64,{PNG}")]
    body = sent(messages=[USER, called, {"role": "tool", "tool_call_id": "a", "content": content}])
    (block,) = body["messages"][2]["content"]
    assert [one["type"] for one in block["content"]] == ["text", "image"]


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "hologram"}, ".type"),
        (image("data:image/svg+xml;base64,AAAA"), ".image_url.url"),
        (image("ftp://a.example/b.png"), ".image_url.url"),
        (image("data:image/png"), ".image_url.url"),
        (image(7), ".image_url.url"),
        (image("http://a.example/never-fetched.png"), ".image_url.url"),
    ],
)
def test_V1_V2_what_no_image_is_is_refused_by_name(refused: Refused, part: Any, param: str) -> None:
    assert refused(**asked_with({"type": "text", "text": "x"}, part)) == f"messages[0].content[1]{param}"


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_V1_only_text_can_stand_where_only_text_may(refused: Refused, role: str) -> None:
    content = [image(f"data:image/png;base64,{PNG}")]
    assert refused(messages=[USER, {"role": role, "content": content}]) == "messages[1].content[0].type"


def test_V2_an_https_address_is_passed_on(sent: Sent) -> None:
    for url in ("https://a.example/b.png?c=d", "HTTPS://a.example/b.png"):
        block = {"type": "image", "source": {"type": "url", "url": f"https{url[5:]}"}}
        assert sent(**asked_with(image(url)))["messages"][0]["content"] == [block]


def test_V2_what_was_fetched_is_sent(sent: Sent) -> None:
    url = "http://a.example/b"
    data = base64.b64decode(PNG)
    options = {"fetched": {url: MediaFile("image/png", data)}}
    (block,) = sent(options=options, **asked_with(image(url)))["messages"][0]["content"]
    assert block == {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}


def file(**fields: Any) -> dict[str, Any]:
    return {"type": "file", "file": fields}


@pytest.mark.parametrize(
    ("given", "source", "title"),
    [
        ({"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
         {"type": "base64", "media_type": "application/pdf", "data": PDF}, "a.pdf"),
        ({"file_data": PDF}, {"type": "base64", "media_type": "application/pdf", "data": PDF}, None),
        ({"filename": "", "file_data": "data:text/plain;base64,aMOp"},
         {"type": "text", "media_type": "text/plain", "data": "hé"}, None),
        ({"file_data": "data:text/markdown,h%C3%A9"}, {"type": "text", "media_type": "text/plain", "data": "hé"}, None),
        ({"file_data": "https://a.example/b.pdf"}, {"type": "url", "url": "https://a.example/b.pdf"}, None),
    ],
)  # fmt: skip
def test_V3_a_file_is_a_document(sent: Sent, given: Any, source: Any, title: str | None) -> None:
    expected = {"type": "document", "source": source, **({"title": title} if title else {})}
    assert sent(**asked_with(file(**given)))["messages"][0]["content"] == [expected]


def test_V3_a_long_name_is_as_much_of_a_title_as_the_api_takes(sent: Sent) -> None:
    (block,) = sent(**asked_with(file(filename="n" * 600, file_data=f"{PDF[:9]}\n{PDF[9:]}")))["messages"][0]["content"]
    assert block["title"] == "n" * 500
    assert block["source"]["data"] == PDF


def test_V3_a_file_may_be_an_image(sent: Sent) -> None:
    (block,) = sent(**asked_with(file(file_data=f"data:image/png;base64,{PNG}")))["messages"][0]["content"]
    assert block["type"] == "image"


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"file_id": "file-1"}, "file_id"),
        ({"file_id": "file-1", "file_data": PDF}, "file_id"),
        ({"filename": "x"}, "file_data"),
        ({"file_data": "data:application/zip;base64,AAAA"}, "file_data"),
        ({"file_data": "data:text/plain;base64,/w=="}, "file_data"),
        ({"file_data": "data:text/plain;base64,"}, "file_data"),
        ({"file_data": "nothing of the kind"}, "file_data"),
    ],
)
def test_V3_what_no_file_is_is_refused_by_name(refused: Refused, given: Any, param: str) -> None:
    assert refused(**asked_with(file(**given))) == f"messages[0].content[0].file.{param}"


def test_V4_audio_is_refused(refused: Refused) -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    assert refused(**asked_with(audio)) == "messages[0].content[0].type"
