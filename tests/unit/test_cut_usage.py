"""What a stream that was cut is billed by: the provider's count where it is final, else what was delivered."""

import pytest

from gateway_core.delivery import Delivery
from gateway_core.testing import samples
from gateway_core.tokens import Tokens
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
