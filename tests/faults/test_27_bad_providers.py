"""Fault 27, a provider's plugin that fails with what is no fault of a provider's: its call is settled all the same."""

from collections.abc import Iterator

import httpx2
import pytest

from gateway_core.testing.installed import install
from gateway_core.testing.line import Line, events, line, text_of
from gateway_core.testing.openai_fixture import UpstreamHandle

PLUGIN = """
import msgspec
from gateway_core.hookspecs import API, hookimpl
from gateway_core.ports import ProviderKind
from gateway_core.tokens import vocabulary
from gateway_core.types import Usage
from spl_provider_demo.provider import DemoProvider, DemoSettings

vocabulary._PUBLISHED["o200k_base"] = ("0" * 64, "")

class Broken(DemoProvider):
    async def complete(self, request, route, output_limit):
        wrong = WRONG.get(request.body["messages"][0]["content"])
        if request.choices == 1 and wrong is None:
            raise KeyError("can" + "ary")
        answer = await super().complete(request, route, output_limit)
        return msgspec.structs.replace(answer, usage=None if wrong is None else wrong.get("usage"), texts=(42,))

    async def stream(self, request, route, output_limit):
        chunks = await super().stream(request, route, output_limit)
        wrong = request.body["messages"][0]["content"]
        return changed(chunks, **WRONG[wrong]) if wrong in WRONG else broken(chunks)

async def broken(chunks):
    number = 0
    async for batch in chunks:
        yield batch
        number += 1
        if number == 3:
            raise KeyError("can" + "ary")

WRONG = {
    "texts": {"texts": (42,), "usage": None},
    "words": {"usage": Usage(input="can" + "ary", output=2)},
    "halves": {"usage": Usage(input=2, output=1.5)},
    "huge": {"usage": Usage(input=2, output=2**64)},
    "most of a row": {"usage": Usage(input=2**62, output=2)},
    "meant": {"usage": Usage(input=2, output=2)},
    "below nothing": {"usage": Usage(input=2, output=-1)},
    "fields": {"usage_fields": {"prompt_tokens_details": object()}},
    "end": {},
    "start": {"choices": None, "created": object()},
}

async def changed(chunks, **fields):
    try:
        async for (chunk,) in chunks:
            yield (msgspec.structs.replace(chunk, **fields),)
    finally:
        if not fields:
            raise KeyError("can" + "ary")

class Plugin:
    API = API

    def __init__(self, settings=None):
        pass

    @hookimpl
    def register_providers(self):
        build = lambda settings, parts: Broken(parts.name, settings)
        return [ProviderKind(name="a-broken-one", settings=DemoSettings, build=build, needs_key=False)]
"""
MORE = """
[providers.broken]
plugin = "a-broken-one"

[models.broken]
routes = [{ provider = "broken", model = "demo" }]
price = { input = "1.00", output = "10.00" }
max_output_tokens = 1000
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, openai_upstream_process: UpstreamHandle) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("broken-provider")
    env = install(folder / "site", "spl-a-broken-one", "a-broken-one = a_broken_one:Plugin", PLUGIN)
    with line(folder / "home", openai_upstream_process, more=MORE, env=env) as made:
        yield made


@pytest.mark.parametrize("choices", [1, 2], ids=["raises", "answers nonsense"])
def test_27_a_plain_call_that_it_fails_costs_nothing(served: Line, choices: int) -> None:
    answer = served.call(model="broken", n=choices)
    assert answer.status_code == 503
    row = served.row(answer.headers["x-request-id"])
    assert (row["outcome"], row["charge"]) == ("failed", 0)


def test_27_a_stream_that_it_breaks_in_the_middle_is_charged_for_what_was_delivered(served: Line) -> None:
    answer = served.call(model="broken", stream=True)
    assert events(answer.text)[-1]["error"]["code"] == "provider_error"
    row = served.row(answer.headers["x-request-id"])
    assert (row["outcome"], row["stream_state"], row["error_code"]) == ("cut", "provider_error", "provider_error")
    assert row["charge"] > 0
    assert served.reconciles()
    log = served.gateway.log.read_text()
    assert "the stream failed: KeyError" in log
    assert "canary" not in log


@pytest.mark.parametrize(
    "wrong", ["texts", "words", "halves", "huge", "most of a row", "below nothing", "fields", "end"]
)
def test_27_a_stream_that_cannot_be_counted_is_settled_by_its_length(served: Line, wrong: str) -> None:
    answer = stream(served, wrong)
    assert answer.text.endswith("data: [DONE]\n\n")
    row = served.row(answer.headers["x-request-id"])
    assert (row["outcome"], row["stream_state"]) == ("ok", "completed")
    assert row["charge"] <= row["hold_amount"]
    assert events(answer.text)[-2]["usage"]["completion_tokens"] == row["output"]
    if wrong == "end":  # its count is as good as ever
        assert (row["estimated"], row["output"]) == (0, 14)
    elif wrong == "texts":  # no text that anybody could count
        assert (row["estimated"], row["charge"]) == (0, 0)
    else:
        length = len(text_of(events(answer.text)))
        assert (row["estimated"], row["output"]) == (1, -(-length // 4))
        assert row["input"] <= row["hold_input"]
    log = served.gateway.log.read_text()
    assert f"{row['id']}: broken/demo: the stream failed" in log
    assert "canary" not in log


@pytest.mark.parametrize("wrong", ["halves", "huge", "most of a row"])
def test_27_a_count_that_no_row_takes_is_charged_nothing_and_keeps_nobody_waiting(served: Line, wrong: str) -> None:
    messages = [{"role": "user", "content": wrong}]
    for answer in [served.call(model="broken", messages=messages) for _ in range(2)]:
        assert answer.status_code == 503
        row = served.row(answer.headers["x-request-id"])
        assert (row["outcome"], row["charge"], row["output"]) == ("failed", 0, 0)
    assert served.call(model="broken", n=2).status_code == 503  # its own fault still
    meant = served.call(model="broken", messages=[{"role": "user", "content": "meant"}])
    assert (meant.status_code, served.row(meant.headers["x-request-id"])["output"]) == (200, 2)
    assert served.ready()
    assert served.reconciles()


def test_27_a_first_event_that_is_none_costs_nothing(served: Line) -> None:
    answer = stream(served, "start")
    assert answer.status_code == 503
    row = served.row(answer.headers["x-request-id"])
    assert (row["outcome"], row["charge"]) == ("failed", 0)


def test_27_a_damaged_vocabulary_costs_exactness_alone(served: Line) -> None:
    served.upstream.reset()
    served.upstream.script("priced", text="one two three", usage="none")
    plain, streamed = served.call(), served.call(stream=True)
    middle = served.upstream.log()[1]["sent"] // 2
    served.upstream.reset()
    served.upstream.script("priced", text="one two three", usage="none", close_at=middle)
    for answer, outcome in ((plain, "ok"), (streamed, "ok"), (served.call(stream=True), "cut")):
        row = served.row(answer.headers["x-request-id"])
        assert (row["outcome"], row["estimated"]) == (outcome, 1)
        assert 0 < row["charge"] == row["input"] * 10**6 + row["output"] * 10**7 < row["hold_amount"]
        assert 0 < row["output"] <= 4
    failed = "priced: the tokenizer o200k_base failed, so tokens are estimated: the vocabulary"
    assert failed in served.gateway.log.read_text()


def stream(served: Line, wrong: str) -> httpx2.Response:
    """A stream whose events are wrong in that way."""
    messages = [{"role": "user", "content": wrong}]
    return served.call(model="broken", messages=messages, stream=True, stream_options={"include_usage": True})
