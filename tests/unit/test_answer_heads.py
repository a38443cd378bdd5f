"""The head of a call's answer: what stands in it, and that nothing else can get into it."""

from collections.abc import Sequence

import pytest

from gateway_core.config import ServerConfig
from gateway_core.edge.answer_heads import AnswerHeads
from gateway_core.edge.errors import pairs
from gateway_core.money import Units
from gateway_core.types import LimitState, Window


class Client:
    """What a head says of a call."""

    request_id = "req_1"

    def __init__(self, tier: str | None = None, limits: Sequence[LimitState] = (), replayed: str | None = None) -> None:
        self.tier = tier
        self.limits = limits
        self.replayed = replayed


@pytest.fixture
def heads() -> AnswerHeads:
    return AnswerHeads(ServerConfig())


def test_all_that_is_known_of_a_plain_answer(heads: AnswerHeads) -> None:
    client = Client("pro", (LimitState(Window("k", "tokens", 9), 4, 1500),), "req_0")
    assert heads.plain(client, Units(61_100_000), 17).split("\r\n") == [
        "x-syncropic-tier: pro",
        "x-ratelimit-limit-tokens: 9",
        "x-ratelimit-remaining-tokens: 4",
        "x-ratelimit-reset-tokens: 1.5s",
        "idempotent-replayed: true",
        "x-syncropic-original-request-id: req_0",
        "content-type: application/json",
        "x-syncropic-cost-cents: 0.00611",
        "content-length: 17",
        "",
    ]


def test_nothing_is_said_of_what_is_not_known(heads: AnswerHeads) -> None:
    assert heads.known(Client()) == ""
    assert pairs(heads.known(Client())) == []
    assert [name for name, _ in pairs(heads.stream(Client()))] == [
        b"content-type",
        b"cache-control",
        b"x-accel-buffering",
    ]


def test_a_line_is_a_pair(heads: AnswerHeads) -> None:
    assert pairs(heads.known(Client("größer: 2"))) == [(b"x-syncropic-tier", "größer: 2".encode())]


@pytest.mark.parametrize("tier", ["a\r\nset-cookie: b", "a\nb", "a\r", "\n"])
def test_a_tier_cannot_bring_lines_of_its_own(heads: AnswerHeads, tier: str) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="line break"):
            heads.known(Client(tier))


def test_tiers_that_are_made_up_are_not_all_kept(heads: AnswerHeads) -> None:
    for number in range(2_000):
        assert heads.known(Client(f"t{number}")) == f"x-syncropic-tier: t{number}\r\n"
    assert len(heads._tiers) < 1_000
    assert heads.known(Client()) == ""


def test_the_server_s_own_lines_are_its_latest(heads: AnswerHeads) -> None:
    for date in (b"Mon", b"Tue"):
        text = heads.common([(b"date", date)], "req_1")
        assert text == f"date: {date.decode()}\r\nx-syncropic-request-id: req_1\r\nx-request-id: req_1\r\n"
