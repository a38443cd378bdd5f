"""The provider on a real socket, over both clients: what is sent, what cuts do, and what failures are."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from spl_provider_gemini.provider import GeminiProvider
from spl_provider_gemini.settings import GeminiSettings

from gateway_core.errors import (
    ConfigError,
    ContentRefused,
    InvalidRequest,
    ProviderFault,
    RouteRefused,
    Throttled,
    Unavailable,
)
from gateway_core.ports import MediaFile
from gateway_core.testing.gemini_fixture import GeminiHandle
from gateway_core.testing.provider_parts import PlainMemory, TableMedia
from gateway_core.testing.provider_suite import WEATHER, chat, choices_of, stream_of
from gateway_core.types import ChatRequest, Deadlines, Route

MODEL = "gemini-3.8-flash"
ROUTE = Route("mine", MODEL)
Make = Callable[..., GeminiProvider]
CALL = {"name": "get_weather", "args": {"city": "Bern"}}


async def one(provider: GeminiProvider, request: ChatRequest, route: Route = ROUTE, limit: int | None = None) -> Any:
    """Asks in the way that the request says."""
    if request.stream:
        return await stream_of(provider, request, route, limit)
    return await provider.complete(request, route, limit)


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize("stream", [False, True])
async def test_K1_K2_the_address_and_the_headers_are_ours(
    make: Make, gemini_upstream: GeminiHandle, stream: bool
) -> None:
    await one(make(headers={"X-Team": "a b"}), chat(stream=stream))
    entry = gemini_upstream.log()[-1]
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    assert entry["path"] == f"/v1beta/models/{MODEL}:{method}"
    headers = entry["headers"]
    assert headers.pop("user-agent").startswith("spl-gateway/")
    assert headers.pop("host") == f"127.0.0.1:{gemini_upstream.port}"
    assert int(headers.pop("content-length")) > 0
    assert headers == {
        "accept": "application/json, text/event-stream",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "x-goog-api-key": gemini_upstream.key,
        "x-team": "a b",
    }


async def test_K1_a_models_name_is_never_more_than_a_name(make: Make, gemini_upstream: GeminiHandle) -> None:
    for model in ("gemini-x?alt=json&key=1", "gemini-x#y"):
        await one(make(), chat(), Route("mine", model))
    assert [entry["path"] for entry in gemini_upstream.log()] == [
        "/v1beta/models/gemini-x%3Falt%3Djson%26key%3D1:generateContent",
        "/v1beta/models/gemini-x%23y:generateContent",
    ]


@pytest.mark.parametrize("model", [f"models/{MODEL}", "tunedModels/mine"])
async def test_a_models_full_name_stays_as_it_is(make: Make, gemini_upstream: GeminiHandle, model: str) -> None:
    await one(make(), chat(), Route("mine", model))
    assert gemini_upstream.log()[-1]["path"] == f"/v1beta/{model}:generateContent"


@pytest.mark.parametrize(
    ("base_url", "says"),
    [
        ("https://generativelanguage.googleapis.com/v1beta", "without the version"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", "without the version"),
        ("ftp://example.com", "http or https"),
        ("https://u:p@example.com", "use api_key"),
        ("https://example.com?x=1", "http or https"),
    ],
)
def test_an_address_that_cannot_work_is_refused_at_start(make: Make, base_url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        make(base_url=base_url)
    assert refused.value.where == "providers.mine.base_url"


@pytest.mark.parametrize("headers", [{"X-Goog-Api-Key": "k"}, {"host": "x"}, {"a b": "c"}, {"a": "b\n"}])
def test_headers_that_cannot_be_are_refused_at_start(make: Make, headers: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        make(headers=headers)


def test_a_key_that_no_header_can_carry_is_refused_and_not_told(make: Make) -> None:
    with pytest.raises(ConfigError, match="no header can carry") as refused:
        make(api_key="AIza\nsecret")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("beginning", ["", "http://www.youtube.com/", "https://www.youtube.com", "https://"])
def test_beginnings_that_say_too_little_are_refused(beginning: str) -> None:
    with pytest.raises(ValueError, match="google_fetches"):
        GeminiSettings(google_fetches=(beginning,))


@pytest.mark.parametrize("fields", [{"unknown": 1}, {"schemas": "xml"}, {"efforts": {"low": []}}, {"candidates": "8"}])
def test_rules_that_cannot_be_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r'models\."gemini-9\*": '):
        GeminiSettings(models={"gemini-9*": fields})


async def test_configured_rules_hold(make: Make, gemini_upstream: GeminiHandle) -> None:
    provider = make(models={"gemini-3.8*": {"efforts": {"low": "HIGH"}}}, include_thoughts=False)
    await one(provider, chat(reasoning_effort="low"))
    config = gemini_upstream.log()[-1]["body"]["generationConfig"]
    assert config == {"thinkingConfig": {"thinkingLevel": "HIGH"}}


# ---------------------------------------------------------------- what is fetched and remembered


async def test_V2_what_is_named_by_address_is_fetched_once(
    provider: GeminiProvider, media: TableMedia, gemini_upstream: GeminiHandle
) -> None:
    url = "https://images.example/a.png"
    media.files[url] = MediaFile("image/png", b"ABC")
    image = {"type": "image_url", "image_url": {"url": url}}
    await one(provider, chat(messages=[{"role": "user", "content": [image, {"type": "text", "text": "?"}]}]))
    assert media.asked == [url]
    parts = gemini_upstream.log()[-1]["body"]["contents"][0]["parts"]
    assert parts[0] == {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}


@pytest.mark.parametrize("kind", ["text/html", None])
async def test_V2_what_is_no_image_or_not_there_is_refused(
    provider: GeminiProvider, media: TableMedia, gemini_upstream: GeminiHandle, kind: str | None
) -> None:
    url = "https://images.example/a"
    if kind is not None:
        media.files[url] = MediaFile(kind, b"ABC")
    image = {"type": "image_url", "image_url": {"url": url}}
    with pytest.raises(InvalidRequest) as refused:
        await one(provider, chat(messages=[{"role": "user", "content": [image]}]))
    assert refused.value.param == "messages[0].content[0].image_url.url"
    assert gemini_upstream.log() == []


async def test_V2_what_google_fetches_is_not_fetched_here(
    make: Make, media: TableMedia, gemini_upstream: GeminiHandle
) -> None:
    url = "https://www.youtube.com/watch?v=x"
    image = {"type": "image_url", "image_url": {"url": url}}
    provider = make(google_fetches=("https://www.youtube.com/",))
    await one(provider, chat(messages=[{"role": "user", "content": [image]}]))
    assert media.asked == []
    assert gemini_upstream.log()[-1]["body"]["contents"][0]["parts"] == [{"fileData": {"fileUri": url}}]


async def test_V3_a_pdf_by_address_is_fetched(
    provider: GeminiProvider, media: TableMedia, gemini_upstream: GeminiHandle
) -> None:
    url = "https://files.example/a.pdf"
    media.files[url] = MediaFile("application/pdf", b"ABC")
    await one(provider, chat(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_data": url}}]}]))
    inline = {"inlineData": {"mimeType": "application/pdf", "data": "QUJD"}}
    assert gemini_upstream.log()[-1]["body"]["contents"][0]["parts"] == [inline]


def loop_after(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The next request's messages of a client that keeps standard fields only."""
    kept = [{"id": call["id"], "type": "function", "function": dict(call["function"])} for call in calls]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in kept]
    return [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": None, "tool_calls": kept}, *results]


async def calls_made(provider: GeminiProvider, *, stream: bool) -> list[dict[str, Any]]:
    """The calls of an answer, each with all its fields."""
    request = chat(tools=[WEATHER], stream=stream)
    answer = await one(provider, request)
    if stream:
        return [call for choice in choices_of(answer) for call in choice["delta"].get("tool_calls", ())]
    found: list[dict[str, Any]] = json.loads(bytes(answer.choices))[0]["message"]["tool_calls"]
    return found


@pytest.mark.parametrize("stream", [False, True])
async def test_R6_signatures_survive_clients_that_keep_standard_fields_only(
    provider: GeminiProvider, memory: PlainMemory, gemini_upstream: GeminiHandle, stream: bool
) -> None:
    gemini_upstream.script(MODEL, calls=[[CALL, CALL], [CALL]], times=1)
    calls = await calls_made(provider, stream=stream)
    signature = calls[0]["extra_content"]["google"]["thought_signature"]
    assert memory.kept == 1
    await one(provider, chat(messages=loop_after(calls), tools=[WEATHER]))
    parts = gemini_upstream.log()[-1]["body"]["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [signature, None, None]
    assert [part["functionCall"]["id"] for part in parts] == [call["id"] for call in calls]


async def test_R6_a_lost_memory_is_no_failure(
    provider: GeminiProvider, memory: PlainMemory, gemini_upstream: GeminiHandle
) -> None:
    gemini_upstream.script(MODEL, calls=[[CALL]], times=1)
    calls = await calls_made(provider, stream=False)
    memory.entries.clear()
    await one(provider, chat(messages=loop_after(calls), tools=[WEATHER]))
    (part,) = gemini_upstream.log()[-1]["body"]["contents"][1]["parts"]
    assert part["thoughtSignature"] == "skip_thought_signature_validator"


async def test_R6_signatures_are_kept_before_a_client_can_read_the_ids(
    provider: GeminiProvider, memory: PlainMemory, gemini_upstream: GeminiHandle
) -> None:
    gemini_upstream.script(MODEL, text="Let me see.", calls=[[CALL], [CALL]])
    seen = 0
    async for batch in await provider.stream(chat(stream=True, tools=[WEATHER]), ROUTE, None):
        if any(
            "extra_content" in call for one in choices_of(list(batch)) for call in one["delta"].get("tool_calls", ())
        ):
            seen += 1
            assert memory.kept == 1
    assert seen == 1


async def test_R6_what_other_providers_keep_under_an_id_is_none_of_ours(
    provider: GeminiProvider, memory: PlainMemory, gemini_upstream: GeminiHandle
) -> None:
    gemini_upstream.script(MODEL, calls=[[CALL]], times=1)
    calls = await calls_made(provider, stream=False)
    memory.entries = {("", calls[0]["id"]): b"somebody else's"}
    await one(provider, chat(messages=loop_after(calls), tools=[WEATHER]))
    (part,) = gemini_upstream.log()[-1]["body"]["contents"][1]["parts"]
    assert part["thoughtSignature"] == "skip_thought_signature_validator"


async def test_R6_a_signature_is_for_the_model_that_gave_it(
    provider: GeminiProvider, gemini_upstream: GeminiHandle
) -> None:
    gemini_upstream.script(MODEL, calls=[[CALL]], times=1)
    calls = await calls_made(provider, stream=False)
    await one(provider, chat(messages=loop_after(calls), tools=[WEATHER]), Route("mine", "gemini-3-flash-preview"))
    (part,) = gemini_upstream.log()[-1]["body"]["contents"][1]["parts"]
    assert part["thoughtSignature"] == "skip_thought_signature_validator"


# ---------------------------------------------------------------- streams


@pytest.mark.parametrize(
    "script",
    [
        {"split": 1},
        {"split": 7},
        {"line_end": "\n"},
        {"line_end": "\r"},
        {"line_end": "\r\n", "split": 1},
        {"comments": True},
        {"split": 100_000},
        {"until_close": True},
        {"finish_everywhere": True},
        {"oddities": True},
    ],
)
async def test_X7_X8_X9_streams_are_the_same_however_they_are_written(
    provider: GeminiProvider, gemini_upstream: GeminiHandle, script: dict[str, Any]
) -> None:
    text = "naïve 漢字 😀 text"
    gemini_upstream.script(MODEL, text=text, times=1)
    expected = choices_of(await one(provider, chat(stream=True)))
    gemini_upstream.script(MODEL, text=text, **script)
    chunks = await one(provider, chat(stream=True))
    assert choices_of(chunks) == expected
    assert "".join(piece for chunk in chunks for piece in chunk.texts) == text


async def test_X8_data_without_its_space(provider: GeminiProvider, gemini_upstream: GeminiHandle) -> None:
    event = json.dumps({"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]})
    gemini_upstream.script(MODEL, body=f"data:{event}\r\n\r\n", content_type="text/event-stream", until_close=True)
    assert [chunk.texts for chunk in await one(provider, chat(stream=True))] == [("Hi",), ()]


async def test_X4_each_event_is_given_on_as_it_comes(provider: GeminiProvider, gemini_upstream: GeminiHandle) -> None:
    gemini_upstream.script(MODEL, words=3, gap_ms=60_000)
    stream = await provider.stream(chat(stream=True), ROUTE, None)
    assert [chunk.texts for chunk in await anext(stream)] == [("word0",)]
    await stream.aclose()


async def read_into(texts: list[str], provider: GeminiProvider) -> None:
    async for batch in await provider.stream(chat(stream=True), ROUTE, None):
        texts += [text for chunk in batch for text in chunk.texts]


async def test_E4_a_stream_broken_off_at_any_byte_raises_after_what_had_come(
    provider: GeminiProvider, gemini_upstream: GeminiHandle
) -> None:
    await one(provider, chat(stream=True))
    whole = gemini_upstream.log()[0]["sent"]
    gemini_upstream.reset()
    for kind in ("reset_at", "close_at"):
        for at in range(1, whole - 10, 61):
            gemini_upstream.script(MODEL, **{kind: at}, times=1)
            texts: list[str] = []
            with pytest.raises(Unavailable):
                await read_into(texts, provider)
            assert texts == [f"{' ' if number else ''}word{number}" for number in range(len(texts))]


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ({"finish_reason": None}, Unavailable),
        ({"error_after": 0}, Unavailable),
        ({"error_after": 2}, Unavailable),
        ({"error_after": 2, "error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, Throttled),
        ({"events": ["{nonsense"]}, Unavailable),
        ({"events": ["[1]"]}, Unavailable),
        ({"events": []}, Unavailable),
    ],
)
async def test_E4_a_stream_that_is_not_finished_is_never_a_success(
    provider: GeminiProvider, gemini_upstream: GeminiHandle, script: dict[str, Any], kind: type[ProviderFault]
) -> None:
    gemini_upstream.script(MODEL, **script)
    with pytest.raises(kind):
        await one(provider, chat(stream=True))


async def test_E4_what_came_before_an_error_is_delivered_however_it_was_read(
    provider: GeminiProvider, gemini_upstream: GeminiHandle
) -> None:
    for split in (None, 1, 100_000):
        gemini_upstream.script(MODEL, error_after=2, split=split, times=1)
        texts: list[str] = []
        with pytest.raises(Unavailable):
            await read_into(texts, provider)
        assert texts == ["word0", " word1"]


async def test_E6_a_stream_that_is_left_is_cut_at_the_server(
    provider: GeminiProvider, gemini_upstream: GeminiHandle
) -> None:
    gemini_upstream.script(MODEL, words=10_000, gap_ms=5)
    stream = await provider.stream(chat(stream=True), ROUTE, None)
    await anext(stream)
    await stream.aclose()
    await asyncio.to_thread(gemini_upstream.wait_for, lambda log: log[-1]["state"] == "client_gone", 1.0)


async def test_E6_a_plain_call_that_is_cancelled_is_cut_at_the_server(
    provider: GeminiProvider, gemini_upstream: GeminiHandle
) -> None:
    gemini_upstream.script(MODEL, hang="before_head")
    task = asyncio.create_task(provider.complete(chat(), ROUTE, None))
    await asyncio.to_thread(gemini_upstream.wait_for, lambda log: len(log) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(gemini_upstream.wait_for, lambda log: log[-1]["state"] == "client_gone", 1.0)


# ---------------------------------------------------------------- failures

ERROR = {"code": 400, "message": "it is bad", "status": "INVALID_ARGUMENT"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ContentRefused),
        (413, ContentRefused),
        (422, ContentRefused),
        (401, RouteRefused),
        (402, RouteRefused),
        (403, RouteRefused),
        (404, RouteRefused),
        (429, Throttled),
        (302, Unavailable),
        (408, Unavailable),
        (499, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (529, Unavailable),
        (201, Unavailable),
    ],
)
async def test_E1_each_status_is_its_fault(
    provider: GeminiProvider, gemini_upstream: GeminiHandle, status: int, kind: type[ProviderFault], stream: bool
) -> None:
    gemini_upstream.script(MODEL, status=status, body=json.dumps({"error": ERROR}), headers={"retry-after": "7"})
    with pytest.raises(kind) as met:
        await one(provider, chat(stream=stream))
    if isinstance(met.value, ContentRefused):
        expected = ("it is bad", 413 if status == 413 else 400, None)
        assert (met.value.message, met.value.status, met.value.param) == expected
    else:
        assert "it is bad" not in met.value.detail
        assert str(status) in met.value.detail
    if status in (429, 503):
        assert met.value.retry_after == 7.0


@pytest.mark.parametrize(
    "error",
    [
        {**ERROR, "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]},
        {**ERROR, "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_EXPIRED"}]},
        {**ERROR, "message": "API key not valid. Please pass a valid API key."},
        {**ERROR, "status": "FAILED_PRECONDITION", "message": "User location is not supported for the API use."},
        {**ERROR, "status": "FAILED_PRECONDITION", "message": "Enable billing."},
    ],
)
async def test_E1_a_400_about_our_key_or_place_is_not_the_clients(
    provider: GeminiProvider, gemini_upstream: GeminiHandle, error: dict[str, Any]
) -> None:
    gemini_upstream.script(MODEL, status=400, body=json.dumps({"error": error}))
    with pytest.raises(RouteRefused):
        await one(provider, chat())


@pytest.mark.parametrize("stream", [False, True])
async def test_E1_a_wrong_key_is_the_routes_fault(make: Make, gemini_upstream: GeminiHandle, stream: bool) -> None:
    for key in ("AIza-wrong", None):
        with pytest.raises(RouteRefused) as met:
            await one(make(api_key=key), chat(stream=stream))
        assert "AIza-wrong" not in str(met.value)


async def test_E1_the_upstreams_own_refusal_of_content_comes_through(
    provider: GeminiProvider, gemini_upstream: GeminiHandle
) -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "!", "format": "wav"}}
    with pytest.raises(ContentRefused, match="inline") as met:
        await one(provider, chat(messages=[{"role": "user", "content": [audio]}]))
    assert (met.value.status, met.value.param) == (400, None)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("17s", 17.0), ("0.5s", 0.5), ("1e9s", None), ("x", None), (5, None), ("999999999s", 86_400.0)],
)
async def test_E2_a_throttles_own_word_on_the_wait(
    provider: GeminiProvider, gemini_upstream: GeminiHandle, delay: Any, seconds: float | None, stream: bool
) -> None:
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay},
    ]
    error = {"code": 429, "message": "Quota", "status": "RESOURCE_EXHAUSTED", "details": details}
    gemini_upstream.script(MODEL, status=429, body=json.dumps({"error": error}))
    with pytest.raises(Throttled) as met:
        await one(provider, chat(stream=stream))
    assert met.value.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (json.dumps([{"error": ERROR}]), "it is bad"),
        ('{"error": "plain words"}', "plain words"),
        ("<html>nginx</html>", "The provider refused the request."),
        ("[" * 5000, "The provider refused the request."),
        ("", "The provider refused the request."),
        ("[]", "The provider refused the request."),
        ('{"error": {"message": "see http://10.0.0.1:8000/v1/x for\\r\\nmore"}}', "see … for more"),
        ('{"error": {"message": "your AIza-upstream-test is"}}', "your … is"),
        ('{"error": {"message": 5, "details": 5, "status": "a b"}}', "The provider refused the request."),
    ],
)
async def test_E7_a_refusals_words_reach_the_client_without_what_is_ours(
    provider: GeminiProvider, gemini_upstream: GeminiHandle, body: str, says: str
) -> None:
    gemini_upstream.script(MODEL, status=400, body=body)
    with pytest.raises(ContentRefused) as met:
        await one(provider, chat())
    assert met.value.message == says


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "content_type", "kind"),
    [
        ("<html>hello</html>", "text/html", Unavailable),
        ("<html>hello</html>", "application/json", Unavailable),
        ('{"error": {"message": "x", "code": 500}}', "application/json", Unavailable),
        ('{"error": {"message": "x", "code": 429}}', "application/json", Throttled),
        ("{}", "application/json", Unavailable),
        ('[{"candidates": []}]', "application/json", Unavailable),
        ("", "application/json", Unavailable),
        ("[" * 5000, "application/json", Unavailable),
    ],
)
async def test_E3_a_200_that_is_no_answer_is_a_fault(
    provider: GeminiProvider,
    gemini_upstream: GeminiHandle,
    body: str,
    content_type: str,
    kind: type[ProviderFault],
    stream: bool,
) -> None:
    gemini_upstream.script(MODEL, body=body, content_type=content_type)
    with pytest.raises(kind):
        await one(provider, chat(stream=stream))


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_E3_a_failure_in_html_is_a_failure(
    provider: GeminiProvider, gemini_upstream: GeminiHandle, status: int
) -> None:
    gemini_upstream.script(MODEL, status=status, body="<html>oops</html>", content_type="text/html")
    with pytest.raises(Unavailable, match=str(status)):
        await one(provider, chat())


@pytest.mark.parametrize("hang", ["before_head", "after_head"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_that_never_answers(
    provider: GeminiProvider, gemini_upstream: GeminiHandle, hang: str, stream: bool
) -> None:
    gemini_upstream.script(MODEL, hang=hang)
    with pytest.raises(Unavailable, match="no first byte within"):
        await one(provider, chat(stream=stream), Route("mine", MODEL, Deadlines(first_byte=0.1)))


def test_no_vocabulary_is_published(provider: GeminiProvider) -> None:
    assert provider.tokenizer(MODEL) is None
