"""Images, files and audio as they reach the API. Every body here has passed the strict rules."""

from typing import Any

import pytest

from gateway_core.errors import InvalidRequest
from gateway_core.ports import MediaFile
from gateway_core.testing.conversations import JPEG, PDF, PNG

Sent = Any
MIDDLE, NEW = "gemini-2.5-flash", "gemini-3.8-flash"


def parts(sent: Sent, *content: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    body = sent(messages=[{"role": "user", "content": list(content)}], **more)
    found: list[dict[str, Any]] = body["contents"][0]["parts"]
    return found


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}


@pytest.mark.parametrize(
    ("url", "kind", "data"),
    [
        (f"data:image/png;base64,{PNG}", "image/png", PNG),
        (f"data:image/jpeg;base64,{JPEG}", "image/jpeg", JPEG),
        (f"data:image/jpg;base64,{JPEG}", "image/jpeg", JPEG),
        (f"data:IMAGE/WEBP;charset=x;base64,{PNG}", "image/webp", PNG),
        ("data:image/png,%41%42%43", "image/png", "QUJD"),
    ],
)
def test_V1_images_as_data_urls_arrive(sent: Sent, url: str, kind: str, data: str) -> None:
    text = {"type": "text", "text": "What is it?"}
    assert parts(sent, image(url), text) == [{"inlineData": {"mimeType": kind, "data": data}}, {"text": "What is it?"}]
    assert parts(sent, {"type": "image_url", "image_url": url}) == [{"inlineData": {"mimeType": kind, "data": data}}]


def test_V1_images_in_results_arrive(sent: Sent) -> None:
    made = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    content = [{"type": "text", "text": "here"}, image(f"data:image/png;base64,{PNG}")]
    messages = [
        {"role": "user", "content": "Look"},
        {"role": "assistant", "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "c1", "content": content},
    ]
    inline = {"inlineData": {"mimeType": "image/png", "data": PNG}}
    response = {"name": "look", "response": {"output": "here"}}
    new = sent(NEW, messages=messages)["contents"][-1]["parts"]
    assert new == [{"functionResponse": {"id": "c1", **response, "parts": [inline]}}]
    assert sent(MIDDLE, messages=messages)["contents"][-1]["parts"] == [{"functionResponse": response}, inline]


@pytest.mark.parametrize(
    ("part", "param"),
    [
        ({"type": "video_url", "video_url": {"url": "x"}}, ".type"),
        (image("data:image/png;base64,"), ".image_url.url"),
        (image("data:nonsense"), ".image_url.url"),
        (image("ftp://example.com/a.png"), ".image_url.url"),
        (image("gs://bucket/a.png"), ".image_url.url"),
        ({"type": "image_url", "image_url": {"detail": "low"}}, ".image_url.url"),
    ],
)
def test_V1_what_is_no_image_is_refused_and_named(sent: Sent, part: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parts(sent, {"type": "text", "text": "x"}, part)
    assert refused.value.param == f"messages[0].content[1]{param}"


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
def test_V1_images_where_only_text_can_stand_are_refused(sent: Sent, role: str) -> None:
    with pytest.raises(InvalidRequest, match="only text") as refused:
        sent(messages=[{"role": role, "content": [image(f"data:image/png;base64,{PNG}")]}])
    assert refused.value.param == "messages[0].content[0].type"


def test_V2_a_fetched_image_is_inlined(sent: Sent) -> None:
    url = "https://images.example/a.png"
    found = parts(sent, image(url), given={"media": {url: MediaFile("image/png", b"ABC")}})
    assert found == [{"inlineData": {"mimeType": "image/png", "data": "QUJD"}}]


def test_V2_what_google_fetches_itself_is_passed_on(sent: Sent) -> None:
    url = "https://www.youtube.com/watch?v=x"
    found = parts(sent, image(url), given={"google_fetches": ("https://www.youtube.com/",)})
    assert found == [{"fileData": {"fileUri": url}}]


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ({"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}, "application/pdf"),
        ({"file_data": PDF, "filename": "a.pdf"}, "application/pdf"),
        ({"file_data": PDF}, "application/pdf"),
        ({"file_data": PDF, "filename": "a.TXT"}, "text/plain"),
    ],
)
def test_V3_files_as_data_arrive(sent: Sent, file: dict[str, Any], kind: str) -> None:
    assert parts(sent, {"type": "file", "file": file}) == [{"inlineData": {"mimeType": kind, "data": PDF}}]


@pytest.mark.parametrize(
    ("file", "param"),
    [
        ({"file_id": "file-1"}, "file_id"),
        ({}, "file_data"),
        ({"file_data": ""}, "file_data"),
        ({"file_data": 5}, "file_data"),
    ],
)
def test_V3_a_files_id_is_refused(sent: Sent, file: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parts(sent, {"type": "file", "file": file})
    assert refused.value.param == f"messages[0].content[0].file.{param}"


@pytest.mark.parametrize(("kind", "mime"), [("wav", "audio/wav"), ("mp3", "audio/mp3")])
def test_V4_audio_arrives(sent: Sent, kind: str, mime: str) -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "QUJD", "format": kind}}
    assert parts(sent, audio) == [{"inlineData": {"mimeType": mime, "data": "QUJD"}}]


@pytest.mark.parametrize(
    "audio", [{"data": "QUJD", "format": "midi"}, {"format": "wav"}, {"data": 5, "format": "wav"}, {}]
)
def test_V4_what_is_no_audio_is_refused(sent: Sent, audio: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parts(sent, {"type": "input_audio", "input_audio": audio})
    assert (refused.value.param or "").startswith("messages[0].content[0].input_audio.")


def test_V4_audio_as_an_answer_is_refused(sent: Sent) -> None:
    with pytest.raises(InvalidRequest) as refused:
        sent(modalities=["text", "audio"])
    assert refused.value.param == "modalities"
