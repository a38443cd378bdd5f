"""What failures mean, over real sockets and both clients: E; and K, what of ours and of the client's goes upstream."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from spl_provider_anthropic.provider import AnthropicProvider

from gateway_core.errors import ConfigError, ContentRefused, ProviderFault, RouteRefused, Throttled, Unavailable
from gateway_core.testing.anthropic_fixture import AnthropicHandle
from gateway_core.testing.anthropic_script import AnthropicScript, events_of
from gateway_core.testing.provider_suite import ask, chat, choices_of
from gateway_core.types import Route

Make = Callable[..., AnthropicProvider]
MODEL = "claude-sonnet-4-5"
ROUTE = Route("mine", MODEL)
BOTH = pytest.mark.parametrize("stream", [False, True])


def error(kind: str, message: str = "it is bad") -> str:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"})


TOO_LONG = "input length and `max_tokens` exceed context limit: 142000 + 64000 > 200000, decrease input length"


@BOTH
async def test_S1_a_default_that_the_context_has_no_room_for_is_lowered(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    anthropic_upstream.script(MODEL, status=400, body=error("invalid_request_error", TOO_LONG), times=1)
    anthropic_upstream.script(MODEL)
    await ask(provider, chat(stream=stream), ROUTE)
    assert [entry["body"]["max_tokens"] for entry in anthropic_upstream.log()] == [64_000, 58_000]


@BOTH
@pytest.mark.parametrize("message", [TOO_LONG, TOO_LONG.replace("142000", "242000")])
async def test_S1_what_the_client_asked_for_or_what_never_fits_is_refused(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, message: str, stream: bool
) -> None:
    anthropic_upstream.script(MODEL, status=400, body=error("invalid_request_error", message))
    limit = {"max_tokens": 64_000} if message == TOO_LONG else {}
    with pytest.raises(ContentRefused, match="exceed context limit"):
        await ask(provider, chat(stream=stream, **limit), ROUTE)
    assert len(anthropic_upstream.log()) == 1


@BOTH
@pytest.mark.parametrize(
    ("status", "kind", "raised"),
    [
        (400, "billing_error", RouteRefused),
        (401, "authentication_error", RouteRefused),
        (413, "permission_error", RouteRefused),
        (429, "rate_limit_error", Throttled),
        (504, "timeout_error", Unavailable),
        (529, "overloaded_error", Unavailable),
    ],
)
async def test_E1_E3_an_errors_kind_is_told_and_counts(
    provider: AnthropicProvider,
    anthropic_upstream: AnthropicHandle,
    status: int,
    kind: str,
    raised: type[ProviderFault],
    stream: bool,
) -> None:
    anthropic_upstream.script(MODEL, status=status, body=error(kind))
    with pytest.raises(raised) as met:
        await ask(provider, chat(stream=stream), ROUTE)
    assert met.value.detail == f"answered {status} ({kind})"


@pytest.mark.parametrize(
    "message",
    [
        "Your credit balance is too low to access the Anthropic API.",
        "You have reached your specified API usage limits.",
        "This organization has been disabled.",
        'anthropic-version: "2020" is not a valid version',
    ],
)
async def test_E1_a_400_about_our_account_is_not_the_clients(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, message: str
) -> None:
    anthropic_upstream.script(MODEL, status=400, body=error("invalid_request_error", message))
    with pytest.raises(RouteRefused):
        await ask(provider, chat(), ROUTE)


@BOTH
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (error("overloaded_error"), Unavailable),
        (error("rate_limit_error"), Throttled),
        ('{"content": null}', Unavailable),
        ('{"content": ["text"]}', Unavailable),
        ('{"content": [{"type": "tool_use"}]}', Unavailable),
        ('{"content": [{"type": "tool_use", "id": "", "name": "f"}]}', Unavailable),
    ],
)
async def test_E3_a_200_that_is_no_message_is_a_fault(
    provider: AnthropicProvider,
    anthropic_upstream: AnthropicHandle,
    body: str,
    kind: type[ProviderFault],
    stream: bool,
) -> None:
    anthropic_upstream.script(MODEL, body=body)
    with pytest.raises(kind):
        await ask(provider, chat(stream=stream), ROUTE)


async def reasons_before(provider: AnthropicProvider, kind: type[ProviderFault]) -> list[str]:
    """The finish reasons that a stream gave before it broke off."""
    reasons: list[str] = []

    async def read() -> None:
        async for batch in await provider.stream(chat(stream=True), ROUTE, None):
            reasons.extend(choice["finish_reason"] for choice in choices_of(batch) if choice["finish_reason"])

    with pytest.raises(kind):
        await read()
    return reasons


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (None, Unavailable),
        ({"type": "rate_limit_error", "message": "x"}, Throttled),
        ({"type": "of_tomorrow"}, Unavailable),
    ],
)
@pytest.mark.parametrize("after", [0, 1, 3, 5])
async def test_E4_an_error_among_the_events_is_one(
    provider: AnthropicProvider,
    anthropic_upstream: AnthropicHandle,
    failure: Any,
    kind: type[ProviderFault],
    after: int,
) -> None:
    anthropic_upstream.script(MODEL, error_after=after, error=failure)
    assert await reasons_before(provider, kind) == []


WIRE = b"".join(events_of(AnthropicScript(model=MODEL), {"model": MODEL, "messages": []}))


@pytest.mark.parametrize("how", ["reset_at", "close_at"])
@pytest.mark.parametrize("at", [1, 200, WIRE.index(b"word2"), WIRE.index(b"event: message_delta")])
async def test_E4_a_stream_that_breaks_off_has_no_end(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, how: str, at: int
) -> None:
    anthropic_upstream.script(MODEL, **{how: at})
    assert await reasons_before(provider, Unavailable) == []


@pytest.mark.parametrize("until_close", [False, True])
async def test_E4_an_end_without_the_last_words_is_none(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, until_close: bool
) -> None:
    anthropic_upstream.script(MODEL, finish=False, stop=False, until_close=until_close, times=1)
    assert await reasons_before(provider, Unavailable) == []
    anthropic_upstream.script(MODEL, stop=False, until_close=until_close)
    assert await reasons_before(provider, Unavailable) == ["stop"]  # which the provider did say


START = '{"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}}}'
TEXT = '{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}'


@pytest.mark.parametrize(
    "events",
    [
        ["not json"],
        ["[1]"],
        ["7"],
        ["{}"],
        ['{"type": 7}'],
        [START, '{"type": "content_block_delta", "index": 0}'],
        [START, '{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 7}}'],
        [START, '{"type": "content_block_delta", "index": "x", "delta": {"type": "text_delta", "text": "7"}}'],
        [START, '{"type": "content_block_delta", "index": 3, "delta": {"type": "thinking_delta", "thinking": "x"}}'],
        [START, '{"type": "content_block_start", "index": 0}'],
        [START, '{"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "x"}}'],
        ['{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}'],
        [TEXT],
        ['{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}'],
        [START, TEXT[:-4]],
        [START, "[" * 5000],
    ],
)  # fmt: skip
async def test_E4_a_malformed_event_ends_it(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, events: list[str]
) -> None:
    anthropic_upstream.script(MODEL, events=(*events, '{"type": "message_stop"}'))
    assert await reasons_before(provider, Unavailable) == []


@pytest.mark.parametrize("n", [1, 2])
async def test_E4_of_several_answers_one_that_fails_fails_all(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, n: int
) -> None:
    anthropic_upstream.script(MODEL, times=n - 1) if n > 1 else None
    anthropic_upstream.script(MODEL, status=529, body=error("overloaded_error"))
    for stream in (False, True):
        with pytest.raises(Unavailable):
            await ask(provider, chat(n=n, stream=stream), ROUTE)


@BOTH
async def test_E6_who_leaves_ends_the_upstreams_call(
    provider: AnthropicProvider, anthropic_upstream: AnthropicHandle, stream: bool
) -> None:
    if stream:
        anthropic_upstream.script(MODEL, words=500, gap_ms=20)
        running = await provider.stream(chat(stream=True, n=2), ROUTE, None)
        await anext(running)
        await running.aclose()
    else:
        anthropic_upstream.script(MODEL, hang="before_head")
        task = asyncio.create_task(provider.complete(chat(n=2), ROUTE, None))
        await asyncio.to_thread(anthropic_upstream.wait_for, lambda log: len(log) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    log = await asyncio.to_thread(
        anthropic_upstream.wait_for, lambda log: all(entry["state"] == "client_gone" for entry in log)
    )
    assert len(log) == 2


# ---------------------------------------------------------------- K


async def test_K1_a_later_version_of_the_api(make: Make, anthropic_upstream: AnthropicHandle) -> None:
    await ask(make(version="2026-10-21"), chat(temperature=0.5, top_p=0.3), ROUTE)
    entry = anthropic_upstream.log()[-1]
    assert entry["headers"]["anthropic-version"] == "2026-10-21"
    assert "temperature" not in entry["body"]


async def test_rules_of_a_model_can_be_set(make: Make, anthropic_upstream: AnthropicHandle) -> None:
    provider = make(models={"claude-sonnet-*": {"default_output": 77, "sampling": "none"}})
    await ask(provider, chat(temperature=0.5), ROUTE)
    assert anthropic_upstream.log()[-1]["body"]["max_tokens"] == 77
    assert "temperature" not in anthropic_upstream.log()[-1]["body"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"models": {"x": {"thinking": "always"}}}, "models: Invalid enum value"),
        ({"models": {"x": {"max_tokens": 3}}}, "models: Object contains unknown field `max_tokens`"),
        ({"version": "latest"}, "version: must be a date"),
        ({"most_choices": 0}, "most_choices"),
    ],
)
def test_settings_that_are_none_are_refused(make: Make, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make(**settings)


@pytest.mark.parametrize("header", ["X-Api-Key", "anthropic-version"])
def test_K1_headers_of_the_api_are_not_configured(make: Make, header: str) -> None:
    with pytest.raises(ConfigError, match="set by the gateway itself"):
        make(headers={header: "secret"})


def test_the_address_is_what_the_vendors_own_client_takes(make: Make) -> None:
    for base_url in ("https://a.example", "https://a.example/", "https://a.example/v1"):
        assert make(base_url=base_url)._url == "https://a.example/v1/messages"
    assert make().tokenizer(MODEL) is None
