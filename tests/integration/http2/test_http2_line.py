"""The whole line over HTTP/2: whatever a provider's connection does, what was delivered is billed, once."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway_core.testing.authority import Authority
from gateway_core.testing.http2_server import Codes, Exchange, Http2Server, in_a_thread
from gateway_core.testing.line import Line, events, line, text_of
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.tokens import Tokens

WORDS = 8
SEED = 7


def chunk(number: int, finish: str | None = None) -> bytes:
    delta = {"content": f"word{number} "} if finish is None else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    found = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: %b\n\n" % json.dumps(found).encode()


def whole() -> bytes:
    message = {"role": "assistant", "content": "".join(f"word{number} " for number in range(WORDS))}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 16, "total_tokens": 17}
    found = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return json.dumps(found).encode()


async def break_off(exchange: Exchange, how: str) -> bool:
    """What the last word of a call's message says happens now; whether the answer goes on."""
    connection = exchange.connection
    match how:
        case "reset":
            exchange.reset()
        case "refused":
            exchange.reset(Codes.REFUSED_STREAM)
        case "closed":
            connection.close()
        case "aborted":
            connection.close(abort=True)
        case "parted":
            connection.part(exchange.id, Codes.INTERNAL_ERROR)
            connection.close()
        case "nonsense":
            connection.raw(b"\xff" * 64)
        case "silence":
            await exchange.left.wait()
        case "farewell":
            connection.part(max(connection.exchanges))
            return True
        case _:
            return True
    return False


async def provider(exchange: Exchange) -> None:
    """Answers as the message says: "HOW N" happens behind the Nth word, and before the head where N is -1."""
    await exchange.asked.wait()
    body = json.loads(bytes(exchange.body))
    how, _, place = body["messages"][0]["content"].partition(" ")
    at = int(place or "0")
    again = sum(one.body == exchange.body for one in exchange.connection.exchanges.values()) > 1
    if at == -1 and not (how == "refused" and again) and not await break_off(exchange, how):
        return
    if not body.get("stream"):
        await exchange.answer(whole(), 200, ("content-type", "application/json"))
        return
    exchange.head(200, ("content-type", "text/event-stream"))
    for number in range(WORDS):
        if number == at and not await break_off(exchange, how):
            return
        await exchange.data(chunk(number))
    await exchange.data(chunk(0, "stop") + b"data: [DONE]\n\n", end=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Http2Server, Authority]]:
    authority = Authority(tmp_path_factory.mktemp("ca"), "ours")
    with in_a_thread(authority, provider, max_concurrent_streams=8) as made:
        yield made, authority


@contextmanager
def in_front_of(server: tuple[Http2Server, Authority], home: Path, settings: str = "") -> Iterator[Line]:
    running, authority = server

    class Handle(UpstreamHandle):
        base_url = f"{running.url}/v1"

    env = {"SSL_CERT_FILE": str(authority.file)}
    with line(home, Handle(0, "sk-x"), client="httpx2", http2=True, upstream_settings=settings, env=env) as made:
        yield made


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, server: tuple[Http2Server, Authority]) -> Iterator[Line]:
    settings = "idle_timeout = 0.5\nfirst_byte_timeout = 0.5"
    with in_front_of(server, tmp_path_factory.mktemp("http2") / "home", settings) as made:
        yield made


def call(served: Line, how: str, *, stream: bool = True) -> httpx2.Response:
    return served.call(messages=[{"role": "user", "content": how}], stream=stream)


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens()


async def check(served: Line, tokens: Tokens, answer: httpx2.Response) -> dict[str, Any]:
    """What every streamed answer is held to: billed is what came."""
    row = served.row(answer.headers["x-request-id"])
    if answer.status_code != 200:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "provider_error")
        assert (row["charge"], row["output"]) == (0, 0)
        return row
    found = events(answer.text)
    text = text_of(found)
    assert row["output"] == await tokens.count("o200k_base", [text])
    assert (found[-1] == "[DONE]") == (row["stream_state"] == "completed")
    return row


@pytest.mark.parametrize("how", ["reset", "closed", "aborted", "parted", "nonsense", "silence"])
async def test_a_stream_that_breaks_off_at_any_event_bills_what_was_received(
    served: Line, tokens: Tokens, how: str
) -> None:
    for at in range(-1, WORDS):
        answer = call(served, f"{how} {at}")
        row = await check(served, tokens, answer)
        if answer.status_code == 200:
            assert row["stream_state"] == "provider_error"
            received = text_of(events(answer.text))
            assert received == "".join(f"word{number} " for number in range(WORDS))[: len(received)]
        else:
            assert at <= 0 or how in ("aborted", "nonsense", "parted", "closed")
    assert served.reconciles()


@pytest.mark.parametrize("how", ["reset", "closed", "aborted", "parted", "nonsense", "silence"])
def test_a_plain_call_that_breaks_off_costs_nothing_and_is_asked_once(
    served: Line, server: tuple[Http2Server, Authority], how: str
) -> None:
    before = len(server[0].exchanges)
    answer = call(served, f"{how} -1", stream=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "provider_error")
    assert served.row(answer.headers["x-request-id"])["charge"] == 0
    assert len(server[0].exchanges) == before + 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_call_is_served_and_billed_once(
    served: Line, server: tuple[Http2Server, Authority], stream: bool
) -> None:
    before = len(server[0].exchanges)
    answer = call(served, "refused -1", stream=stream)
    assert answer.status_code == 200
    assert len(server[0].exchanges) == before + 2
    assert served.row(answer.headers["x-request-id"])["stream_state"] in (None, "completed")
    assert served.reconciles()


async def test_a_farewell_at_any_event_cuts_nothing(served: Line, tokens: Tokens) -> None:
    for at in range(-1, WORDS):
        answer = call(served, f"farewell {at}")
        assert (answer.status_code, (await check(served, tokens, answer))["stream_state"]) == (200, "completed")


async def test_a_client_that_leaves_resets_its_exchange_and_is_billed(
    served: Line, tokens: Tokens, server: tuple[Http2Server, Authority]
) -> None:
    body = served.body(messages=[{"role": "user", "content": "silence 3"}], stream=True)
    with served.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        request_id = answer.headers["x-request-id"]
        found = ""
        for piece in answer.iter_text():
            found += piece
            if "word2" in found:
                break
    row = served.row(request_id)
    assert row["stream_state"] == "client_disconnect"
    assert row["output"] == await tokens.count("o200k_base", ["word0 word1 word2 "])
    assert server[0].why_left(server[0].exchanges[-1]) == Codes.CANCEL


async def test_a_storm_leaves_every_call_settled(served: Line, tokens: Tokens) -> None:
    """Eight at once on the same connections, some of whom leave; seeded, so that it is the same every time."""
    dice = random.Random(SEED)  # noqa: S311  # replayed by its seed
    kinds = ("none", "none", "reset", "refused", "closed", "aborted", "parted", "nonsense", "farewell")
    plans = [(f"{dice.choice(kinds)} {dice.randrange(-1, WORDS)}", dice.random() < 0.2) for _ in range(160)]

    def one(plan: tuple[str, bool]) -> tuple[str, httpx2.Response | None]:
        how, leaves = plan
        if not leaves:
            answer = call(served, how)
            return answer.headers["x-request-id"], answer
        body = served.body(messages=[{"role": "user", "content": how}], stream=True)
        with served.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            next(answer.iter_raw(), b"")
            return answer.headers["x-request-id"], None

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(one, plans))
    for request_id, answer in made:
        row = served.row(request_id)
        if answer is not None:
            await check(served, tokens, answer)
        assert row["id"] == request_id
    assert len({request_id for request_id, _ in made}) == len(plans)
    assert served.reconciles()
    assert call(served, "none", stream=False).status_code == 200


def test_a_shutdown_in_the_middle_settles_and_leaves_nothing(
    tmp_path: Path, server: tuple[Http2Server, Authority]
) -> None:
    with in_front_of(server, tmp_path / "home") as served:
        body = served.body(messages=[{"role": "user", "content": "silence 3"}], stream=True)
        with served.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            pieces = answer.iter_text()
            assert "word0" in next(pieces)
            assert served.gateway.stop() == 0
            assert text_of(events("".join(pieces))) in ("word1 word2 ", "word2 ", "")
        (row,) = served.rows().values()
        assert row["stream_state"] not in (None, "completed")
        assert row["charge"] > 0
        assert server[0].why_left(server[0].exchanges[-1]) in (Codes.CANCEL, None)
        assert "Traceback" not in served.gateway.log.read_text()
