"""Images and files: data URLs and https addresses as sources; what must be fetched, because the API would not."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from gateway_core.errors import InvalidRequest
from gateway_core.ports import MediaFile, MediaLink
from gateway_core.types import ChatRequest

Fetched = Mapping[str, MediaFile]
"""Address → what was there."""

IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
PDF = "application/pdf"
_MOST_ESCAPES = 10_000
"""Bytes of a data URL that are written as %XX: each is an object of its own for a moment."""
_LONGEST_TITLE = 500
_URL_SAFE = str.maketrans("-_", "+/")
_HEADS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


def to_fetch(request: ChatRequest) -> list[MediaLink]:
    """Whatever Anthropic does not fetch itself: it takes https only."""
    return list(_links(request.body)) if request.media else []


def _links(body: Mapping[str, Any]) -> Iterator[MediaLink]:
    for at, message in enumerate(body["messages"]):
        content = message.get("content")
        for index, part in enumerate(content if isinstance(content, list) else ()):
            if part["type"] == "image_url":
                url = _url_of(part["image_url"])
                if url[:5].lower() == "http:":
                    yield MediaLink(url, IMAGES, f"messages[{at}].content[{index}].image_url.url")


def image_block(image: Any, place: str, fetched: Fetched) -> dict[str, Any]:
    """An image block of an `image_url`. Raises InvalidRequest where the API could not take it."""
    url = _url_of(image)
    start = url[:6].lower()
    if start.startswith("data:"):
        return {"type": "image", "source": _image_source(*_data_url(url, f"{place}.url"), f"{place}.url")}
    if start == "https:":
        return {"type": "image", "source": {"type": "url", "url": start + url[6:]}}
    if url in fetched:
        file = fetched[url]
        source = _image_source(file.type, base64.b64encode(file.data).decode(), f"{place}.url")
        return {"type": "image", "source": source}
    raise InvalidRequest(f"'{place}.url' must be a data URL or an http or https address.", param=f"{place}.url")


def file_block(file: Mapping[str, Any], place: str, fetched: Fetched) -> dict[str, Any]:
    """A document, or an image, of a `file` part."""
    del fetched  # a file comes in the request, or is at an https address
    if file.get("file_id") is not None:
        raise InvalidRequest(
            f"'{place}.file_id' is refused: send the file itself as `file_data`.", param=f"{place}.file_id"
        )
    data, where = file.get("file_data"), f"{place}.file_data"
    if not isinstance(data, str):
        raise InvalidRequest(f"Missing required parameter: '{where}'.", param=where)
    if data[:6].lower() == "https:":
        return _document({"type": "url", "url": f"https:{data[6:]}"}, file)
    kind, encoded = (PDF, _plain(data)) if data.startswith("JVBERi") else _data_url(data, where)
    if kind == PDF:
        return _document({"type": "base64", "media_type": PDF, "data": encoded}, file)
    if kind.startswith("image/"):
        return {"type": "image", "source": _image_source(kind, encoded, where)}
    if kind.startswith("text/"):
        return _document({"type": "text", "media_type": "text/plain", "data": _decoded_text(encoded, where)}, file)
    raise InvalidRequest(f"'{where}' must be a PDF, a text or an image: {kind} cannot be read.", param=where)


def _document(source: dict[str, Any], file: Mapping[str, Any]) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "document", "source": source}
    name = file.get("filename")
    if isinstance(name, str) and name.strip():
        block["title"] = name[:_LONGEST_TITLE]
    return block


def _url_of(image: Any) -> str:
    url = image.get("url") if isinstance(image, dict) else image
    return url if isinstance(url, str) else ""


def _data_url(url: str, place: str) -> tuple[str, str]:
    """Type and base64 text of a data URL."""
    head, comma, data = url.partition(",")
    fields = head[5:].split(";")
    if not comma or head[:5].lower() != "data:":
        raise InvalidRequest(f"'{place}' must be a data URL.", param=place)
    kind = fields[0].strip().lower()
    if "base64" in (field.strip().lower() for field in fields[1:]):
        return kind, _plain(_unquoted(data, place).decode("latin-1") if "%" in data else data)
    return kind, base64.b64encode(_unquoted(data, place)).decode()


def _plain(encoded: str) -> str:
    """Base64 as the API takes it: in one line, of the common alphabet, padded."""
    if any(space in encoded for space in " \n\r\t"):
        encoded = "".join(encoded.split())
    if "-" in encoded or "_" in encoded:
        encoded = encoded.translate(_URL_SAFE)
    return encoded + "=" * (-len(encoded) % 4)


def _unquoted(data: str, place: str) -> bytes:
    if data.count("%") > _MOST_ESCAPES:
        raise InvalidRequest(f"'{place}' must be base64: it has more than {_MOST_ESCAPES} escapes in it.", param=place)
    return unquote_to_bytes(data)


def _image_source(kind: str, encoded: str, place: str) -> dict[str, Any]:
    """A source with the type that the data has: a wrong one, which many clients send, is refused by the API."""
    kind = "image/jpeg" if kind == "image/jpg" else kind
    kind = _type_of(encoded) or kind
    if kind not in IMAGES:
        raise InvalidRequest(f"'{place}' must be a JPEG, PNG, GIF or WebP image, not {kind[:64]}.", param=place)
    return {"type": "base64", "media_type": kind, "data": encoded}


def _type_of(encoded: str) -> str | None:
    try:
        head = base64.b64decode(encoded[:24], validate=True)
    except (binascii.Error, ValueError):
        return None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _HEADS if head.startswith(magic)), None)


def _decoded_text(encoded: str, place: str) -> str:
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"'{place}' must be base64 of UTF-8 text.", param=place) from None
    if not text.strip():
        raise InvalidRequest(f"'{place}' is an empty text.", param=place)
    return text
