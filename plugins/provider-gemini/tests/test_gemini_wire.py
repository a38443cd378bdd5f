"""The provider on a real socket, over both clients: what is sent, what cuts do, and what failures are."""

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
from gateway_core.testing.provider_suite import WEATHER, ask, chat, choices_of
from gateway_core.types import Route, events_of

MODEL = "gemini-3.8-flash"
ROUTE = Route("mine", MODEL)
Make = Callable[..., GeminiProvider]
CALL = {"name": "get_weather", "args": {"city": "Bern"}}


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize("stream", [False, True])
async def test_K1_the_key_is_not_in_the_address(
    provider: GeminiProvider, gemini_upstream: GeminiHandle, stream: bool
) -> None:
    await ask(provider, chat(stream=stream), ROUTE)
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    assert gemini_upstream.log()[-1]["path"] == f"/v1beta/models/{MODEL}:{method}"


def test_K1_the_keys_header_is_not_configured(make: Make) -> None:
    with pytest.raises(ConfigError, match="set by the gateway itself"):
        make(headers={"X-Goog-Api-Key": "k"})


async def test_K1_a_models_name_is_never_more_than_a_name(make: Make, gemini_upstream: GeminiHandle) -> None:
    for model in ("gemini-x?alt=json&key=1", "gemini-x#y"):
        await ask(make(), chat(), Route("mine", model))
    assert [entry["path"] for entry in gemini_upstream.log()] == [
        "/v1beta/models/gemini-x%3Falt%3Djson%26key%3D1:generateContent",
        "/v1beta/models/gemini-x%23y:generateContent",
    ]


@pytest.mark.parametrize("model", [f"models/{MODEL}", "tunedModels/mine"])
async def test_a_models_full_name_stays_as_it_is(make: Make, gemini_upstream: GeminiHandle, model: str) -> None:
    await ask(make(), chat(), Route("mine", model))
    assert gemini_upstream.log()[-1]["path"] == f"/v1beta/{model}:generateContent"


@pytest.mark.parametrize(
    ("base_url", "says"),
    [
        ("https://generativelanguage.googleapis.com/v1beta", "without the version"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", "without the version"),
        ("https://example.com/v1", "without the version"),
    ],
)
def test_an_address_that_cannot_work_is_refused_at_start(make: Make, base_url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        make(base_url=base_url)
    assert refused.value.where == "providers.mine.base_url"


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
    await ask(provider, chat(reasoning_effort="low"), ROUTE)
    config = gemini_upstream.log()[-1]["body"]["generationConfig"]
    assert config == {"thinkingConfig": {"thinkingLevel": "HIGH"}}


# ---------------------------------------------------------------- what is fetched and remembered


async def test_V2_what_is_named_by_address_is_fetched_once(
    provider: GeminiProvider, media: TableMedia, gemini_upstream: GeminiHandle
) -> None:
    url = "https://images.example/a.png"
    media.files[url] = MediaFile("image/png", b"ABC")
    image = {"type": "image_url", "image_url": {"url": url}}
    await ask(provider, chat(messages=[{"role": "user", "content": [image, {"type": "text", "text": "?"}]}]), ROUTE)
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
        await ask(provider, chat(messages=[{"role": "user", "content": [image]}]), ROUTE)
    assert refused.value.param == "messages[0].content[0].image_url.url"
    assert gemini_upstream.log() == []


async def test_V2_what_google_fetches_is_not_fetched_here(
    make: Make, media: TableMedia, gemini_upstream: GeminiHandle
) -> None:
    url = "https://www.youtube.com/watch?v=x"
    image = {"type": "image_url", "image_url": {"url": url}}
    provider = make(google_fetches=("https://www.youtube.com/",))
    await ask(provider, chat(messages=[{"role": "user", "content": [image]}]), ROUTE)
    assert media.asked == []
    assert gemini_upstream.log()[-1]["body"]["contents"][0]["parts"] == [{"fileData": {"fileUri": url}}]


async def test_V3_a_pdf_by_address_is_fetched(
    provider: GeminiProvider, media: TableMedia, gemini_upstream: GeminiHandle
) -> None:
    url = "https://files.example/a.pdf"
    media.files[url] = MediaFile("application/pdf", b"ABC")
    await ask(
        provider, chat(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_data": url}}]}]), ROUTE
    )
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
    answer = await ask(provider, request, ROUTE)
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
    await ask(provider, chat(messages=loop_after(calls), tools=[WEATHER]), ROUTE)
    parts = gemini_upstream.log()[-1]["body"]["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [signature, None, None]
    assert [part["functionCall"]["id"] for part in parts] == [call["id"] for call in calls]


async def test_R6_a_lost_memory_is_no_failure(
    provider: GeminiProvider, memory: PlainMemory, gemini_upstream: GeminiHandle
) -> None:
    gemini_upstream.script(MODEL, calls=[[CALL]], times=1)
    calls = await calls_made(provider, stream=False)
    memory.entries.clear()
    await ask(provider, chat(messages=loop_after(calls), tools=[WEATHER]), ROUTE)
    (part,) = gemini_upstream.log()[-1]["body"]["contents"][1]["parts"]
    assert part["thoughtSignature"] == "skip_thought_signature_validator"


async def test_R6_signatures_are_kept_before_a_client_can_read_the_ids(
    provider: GeminiProvider, memory: PlainMemory, gemini_upstream: GeminiHandle
) -> None:
    gemini_upstream.script(MODEL, text="Let me see.", calls=[[CALL], [CALL]])
    seen = 0
    async for batch in await provider.stream(chat(stream=True, tools=[WEATHER]), ROUTE, None):
        if any(
            "extra_content" in call
            for one in choices_of(events_of(batch))
            for call in one["delta"].get("tool_calls", ())
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
    await ask(provider, chat(messages=loop_after(calls), tools=[WEATHER]), ROUTE)
    (part,) = gemini_upstream.log()[-1]["body"]["contents"][1]["parts"]
    assert part["thoughtSignature"] == "skip_thought_signature_validator"


async def test_R6_a_signature_is_for_the_model_that_gave_it(
    provider: GeminiProvider, gemini_upstream: GeminiHandle
) -> None:
    gemini_upstream.script(MODEL, calls=[[CALL]], times=1)
    calls = await calls_made(provider, stream=False)
    await ask(provider, chat(messages=loop_after(calls), tools=[WEATHER]), Route("mine", "gemini-3-flash-preview"))
    (part,) = gemini_upstream.log()[-1]["body"]["contents"][1]["parts"]
    assert part["thoughtSignature"] == "skip_thought_signature_validator"


# ---------------------------------------------------------------- streams


@pytest.mark.parametrize(
    "script",
    [
        {"finish_everywhere": True},
        {"oddities": True},
    ],
)
async def test_X9_streams_are_the_same_whatever_else_stands_in_them(
    provider: GeminiProvider, gemini_upstream: GeminiHandle, script: dict[str, Any]
) -> None:
    text = "naïve 漢字 😀 text"
    gemini_upstream.script(MODEL, text=text, times=1)
    expected = choices_of(await ask(provider, chat(stream=True), ROUTE))
    gemini_upstream.script(MODEL, text=text, **script)
    chunks = await ask(provider, chat(stream=True), ROUTE)
    assert choices_of(chunks) == expected
    assert "".join(piece for chunk in chunks for piece in chunk.texts) == text


async def test_X8_data_without_its_space(provider: GeminiProvider, gemini_upstream: GeminiHandle) -> None:
    event = json.dumps({"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}]})
    gemini_upstream.script(MODEL, body=f"data:{event}\r\n\r\n", content_type="text/event-stream", until_close=True)
    assert [chunk.texts for chunk in await ask(provider, chat(stream=True), ROUTE)] == [("Hi",), ()]


async def test_X4_each_event_is_given_on_as_it_comes(provider: GeminiProvider, gemini_upstream: GeminiHandle) -> None:
    gemini_upstream.script(MODEL, words=3, gap_ms=60_000)
    stream = await provider.stream(chat(stream=True), ROUTE, None)
    assert [chunk.texts for chunk in await anext(stream)] == [("word0",)]
    await stream.aclose()


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ({"finish_reason": None}, Unavailable),
        ({"error_after": 0}, Unavailable),
        ({"error_after": 2}, Unavailable),
        ({"error_after": 2, "error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, Throttled),
        ({"events": ["{nonsense"]}, Unavailable),
        ({"events": ["[1]"]}, Unavailable),
    ],
)
async def test_E4_a_stream_that_is_not_finished_is_never_a_success(
    provider: GeminiProvider, gemini_upstream: GeminiHandle, script: dict[str, Any], kind: type[ProviderFault]
) -> None:
    gemini_upstream.script(MODEL, **script)
    with pytest.raises(kind):
        await ask(provider, chat(stream=True), ROUTE)


# ---------------------------------------------------------------- failures

ERROR = {"code": 400, "message": "it is bad", "status": "INVALID_ARGUMENT"}


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
        await ask(provider, chat(), ROUTE)


async def test_E1_the_upstreams_own_refusal_of_content_comes_through(
    provider: GeminiProvider, gemini_upstream: GeminiHandle
) -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "!", "format": "wav"}}
    with pytest.raises(ContentRefused, match="inline") as met:
        await ask(provider, chat(messages=[{"role": "user", "content": [audio]}]), ROUTE)
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
        await ask(provider, chat(stream=stream), ROUTE)
    assert met.value.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (json.dumps([{"error": ERROR}]), "it is bad"),
        ("[{}]", "The provider refused the request."),
        ('{"error": {"message": 5, "details": 5, "status": "a b"}}', "The provider refused the request."),
    ],
)
async def test_E7_a_refusal_may_be_in_a_list(
    provider: GeminiProvider, gemini_upstream: GeminiHandle, body: str, says: str
) -> None:
    gemini_upstream.script(MODEL, status=400, body=body)
    with pytest.raises(ContentRefused) as met:
        await ask(provider, chat(), ROUTE)
    assert met.value.message == says


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"error": {"message": "x", "code": 429}}', Throttled),
        ('{"error": {"message": "x", "status": "RESOURCE_EXHAUSTED"}}', Throttled),
        ('{"candidates": []}', Unavailable),
        ('[{"candidates": []}]', Unavailable),
    ],
)
async def test_E3_a_200_without_an_answer_is_a_fault(
    provider: GeminiProvider,
    gemini_upstream: GeminiHandle,
    body: str,
    kind: type[ProviderFault],
    stream: bool,
) -> None:
    gemini_upstream.script(MODEL, body=body)
    with pytest.raises(kind):
        await ask(provider, chat(stream=stream), ROUTE)


def test_no_vocabulary_is_published(provider: GeminiProvider) -> None:
    assert provider.tokenizer(MODEL) is None
