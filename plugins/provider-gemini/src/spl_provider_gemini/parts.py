"""Content parts: text, images, files and audio, from OpenAI's form to Google's."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from gateway_core.errors import InvalidRequest
from gateway_core.ports import MediaLink
from spl_provider_gemini.given import Given, Json

IMAGES = frozenset({"image/png", "image/jpeg", "image/webp", "image/heic", "image/heif", "image/gif"})
DOCUMENTS = IMAGES | {"application/pdf", "text/plain"}
_AUDIO = {"wav": "audio/wav", "mp3": "audio/mp3", "aac": "audio/aac", "flac": "audio/flac", "ogg": "audio/ogg"}
_BY_NAME = {"pdf": "application/pdf", "txt": "text/plain", "png": "image/png", "jpg": "image/jpeg"}
_MOST_ESCAPES = 10_000
"""Bytes of a data URL that are written as %XX: each is an object of its own for a moment."""
_SAME = {"image/jpg": "image/jpeg"}


def texts_of(content: Any, place: str) -> list[Json]:
    """The text of a message that has nothing else: empty ones left out. Raises InvalidRequest for any other part."""
    if isinstance(content, str):
        return [{"text": content}] if content else []
    found: list[Json] = []
    for at, part in enumerate(content or ()):
        text = part.get("refusal") if part["type"] == "refusal" else part.get("text")
        if part["type"] not in ("text", "refusal"):
            raise InvalidRequest(
                f"{place}[{at}] is of type {part['type']!r}: only text can stand there with this model.",
                param=f"{place}[{at}].type",
            )
        if text:
            found.append({"text": text})
    return found


def parts_of(content: Any, place: str, given: Given) -> list[Json]:
    """All parts of a user's message or of a tool's result, in order; empty text is left out."""
    if isinstance(content, str):
        return [{"text": content}] if content else []
    found: list[Json] = []
    for at, part in enumerate(content or ()):
        if part["type"] == "text":
            if part["text"]:
                found.append({"text": part["text"]})
        else:
            found.append(_media(part, f"{place}[{at}]", given))
    return found


def links_in(messages: Iterable[Mapping[str, Any]], google_fetches: tuple[str, ...]) -> list[MediaLink]:
    """What is named by address and must be fetched before the conversion."""
    found: list[MediaLink] = []
    for index, message in enumerate(messages):
        content = message.get("content")
        for at, part in enumerate(content if isinstance(content, list) else ()):
            place = f"messages[{index}].content[{at}]"
            url, types = None, IMAGES
            if part["type"] == "image_url":
                url, place = _image_url(part), f"{place}.image_url.url"
            elif part["type"] == "file":
                url, types, place = part["file"].get("file_data"), DOCUMENTS, f"{place}.file.file_data"
            if isinstance(url, str) and _is_address(url) and not url.startswith(google_fetches):
                found.append(MediaLink(url, types, place))
    return found


def _media(part: Mapping[str, Any], place: str, given: Given) -> Json:
    kind = part["type"]
    if kind == "image_url":
        return _from_url(_image_url(part), f"{place}.image_url.url", given)
    if kind == "file":
        return _file(part["file"], f"{place}.file", given)
    if kind == "input_audio":
        return _audio(part["input_audio"], f"{place}.input_audio")
    raise InvalidRequest(f"{place} is of type {kind!r}, which this model does not take.", param=f"{place}.type")


def _image_url(part: Mapping[str, Any]) -> Any:
    image = part["image_url"]
    return image.get("url") if isinstance(image, dict) else image


def _file(file: Mapping[str, Any], place: str, given: Given) -> Json:
    data = file.get("file_data")
    if not isinstance(data, str) or not data:
        raise InvalidRequest(
            f"{place} must hold the file itself as file_data: ids of stored files are not known to this model.",
            param=f"{place}.file_id" if file.get("file_id") is not None else f"{place}.file_data",
        )
    if data.startswith("data:") or _is_address(data):
        return _from_url(data, f"{place}.file_data", given)
    ending = str(file.get("filename") or "").rpartition(".")[2].lower()
    return _inline(_BY_NAME.get(ending, "application/pdf"), data)


def _audio(audio: Mapping[str, Any], place: str) -> Json:
    kind, data = audio.get("format"), audio.get("data")
    if not isinstance(kind, str) or kind not in _AUDIO:
        raise InvalidRequest(f"{place}.format must be one of {', '.join(_AUDIO)}.", param=f"{place}.format")
    if not isinstance(data, str) or not data:
        raise InvalidRequest(f"{place}.data must be audio in base64.", param=f"{place}.data")
    return _inline(_AUDIO[kind], data)


def _from_url(url: Any, place: str, given: Given) -> Json:
    """A data URL, an address that Google fetches itself, or what we fetched."""
    if isinstance(url, str):
        if url.startswith("data:"):
            return _from_data_url(url, place)
        if given.google_fetches and url.startswith(given.google_fetches):
            return {"fileData": {"fileUri": url}}
        if (file := given.media.get(url)) is not None:
            return _inline(file.type, base64.b64encode(file.data).decode())
    raise InvalidRequest(f"{place} must be a data URL, or an http or https address.", param=place)


def _from_data_url(url: str, place: str) -> Json:
    head, comma, data = url[5:].partition(",")
    kind, *parameters = head.split(";")
    if not comma or not data or "/" not in kind:
        raise InvalidRequest(f"{place} is no data URL with a type and data.", param=place)
    if "base64" not in parameters:
        if data.count("%") > _MOST_ESCAPES:
            raise InvalidRequest(
                f"{place} must be base64: it has more than {_MOST_ESCAPES} escapes in it.", param=place
            )
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return _inline(kind.lower(), data)


def _inline(kind: str, data: str) -> Json:
    return {"inlineData": {"mimeType": _SAME.get(kind, kind), "data": data}}


def _is_address(url: str) -> bool:
    return url[:8].lower().startswith(("http://", "https://"))
