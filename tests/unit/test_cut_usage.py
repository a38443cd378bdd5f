"""What a stream that was cut is billed by: the provider's count where it is final, else what was delivered."""

from collections.abc import Iterator

import pytest

from gateway_core.delivery import Delivery
from gateway_core.testing import samples
from gateway_core.testing.calls import hold
from gateway_core.tokens import Tokens, vocabulary
from gateway_core.types import ModelFacts, Route, Usage
from gateway_core.usage import UsageCounter

FACTS = ModelFacts("m", (Route("p", "m"),))


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (Usage(90, 50, cached=80), Usage(90, 50, cached=80)),
        (Usage(90, 50, cached=80, estimated=True), Usage(90, 10, cached=80, estimated=True)),
        (Usage(90, 3, cache_write=5, estimated=True), Usage(90, 3, cache_write=5, estimated=True)),
    ],
    ids=["counted", "estimated ahead of the client", "estimated"],
)
async def test_an_estimate_is_held_to_what_was_delivered(told: Usage, usage: Usage) -> None:
    delivery = Delivery(1, 0)
    delivery.usage = told
    delivery.texts = ["four" * 10]
    assert await UsageCounter(Tokens()).of_cut(samples.request(stream=True), FACTS, delivery) == usage


@pytest.fixture
def damaged(monkeypatch: pytest.MonkeyPatch) -> Iterator[UsageCounter]:
    """Counts by a vocabulary that cannot be loaded."""
    monkeypatch.setitem(vocabulary._PUBLISHED, "o200k_base", ("0" * 64, ""))
    tokens = Tokens()
    yield UsageCounter(tokens)
    tokens.close()


COUNTED = ModelFacts("m", (Route("p", "m"),), tokenizer="o200k_base")


async def test_where_the_vocabulary_fails_what_was_delivered_is_estimated(
    damaged: UsageCounter, caplog: pytest.LogCaptureFixture
) -> None:
    request, delivery = samples.request(stream=True), Delivery(1, 0)
    assert await damaged.of_cut(request, COUNTED, delivery) == Usage()
    delivery.texts = ["canary, "] * 8
    used = await damaged.of_cut(request, COUNTED, delivery)
    assert used == Usage((await UsageCounter(Tokens()).of_answer(request, FACTS, [])).input, 16, estimated=True)
    assert await damaged.of_answer(request, COUNTED, delivery.texts) == used
    assert await damaged.reservation(request, COUNTED) == used.input + (request.output_limit or 4096)
    delivery.usage = Usage(90, 3, cached=80)
    assert await damaged.of_cut(request, COUNTED, delivery) == Usage(90, 3, cached=80, estimated=True)
    assert "m: the tokenizer o200k_base failed" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("size", [1, 4, 5, 400, 1_000_000])
def test_a_glance_is_never_above_the_hold(size: int) -> None:
    taken = hold(input_tokens=5, output_tokens=100)
    used = UsageCounter(Tokens()).at_a_glance(samples.request(stream=True), FACTS, taken, ["x" * size])
    assert (used.output, used.estimated) == (min(-(-size // 4), 100), True)
    assert 0 < used.input <= 5


def test_a_glance_at_nothing_is_nothing() -> None:
    assert UsageCounter(Tokens()).at_a_glance(samples.request(stream=True), FACTS, hold(), []) == Usage()
