"""The six headers, and durations as Go's time.Duration prints them."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_core.edge.errors import Headers, pairs
from gateway_core.types import LimitState, Window
from gateway_core.wire.ratelimit import go_duration, lines

RPM = Window("k", "requests", 60)
DAY = Window("k", "requests", 100, day=True)
TPM = Window("k", "tokens", 150_000)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0s"),
        (-5, "0s"),
        (1, "1ms"),
        (12, "12ms"),
        (999, "999ms"),
        (1000, "1s"),
        (1001, "1.001s"),
        (1500, "1.5s"),
        (8640, "8.64s"),
        (59_999, "59.999s"),
        (60_000, "1m0s"),
        (61_010, "1m1.01s"),
        (90_500, "1m30.5s"),
        (360_000, "6m0s"),
        (3_599_999, "59m59.999s"),
        (3_600_000, "1h0m0s"),
        (86_400_000, "24h0m0s"),
        (90_061_001, "25h1m1.001s"),
    ],
)
def test_known_durations(ms: int, text: str) -> None:
    assert go_duration(ms) == text


@given(st.integers(0, 10**9))
def test_a_duration_reads_back(ms: int) -> None:
    text, total = go_duration(ms), 0
    if text.endswith("ms"):
        assert int(text[:-2]) == ms < 1000
        return
    for unit, size in (("h", 3_600_000), ("m", 60_000)):
        if unit in text:
            amount, text = text.split(unit)
            total += int(amount) * size
    whole, _, fraction = text[:-1].partition(".")
    assert total + int(whole) * 1000 + int(fraction.ljust(3, "0")) == ms
    assert not fraction.endswith("0")


def headers(states: Sequence[LimitState]) -> Headers:
    return pairs(lines(states))


def test_six_headers() -> None:
    states = (LimitState(RPM, 59, 1000), LimitState(TPM, 149_984, 360_000))
    assert headers(states) == [
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"59"),
        (b"x-ratelimit-reset-requests", b"1s"),
        (b"x-ratelimit-limit-tokens", b"150000"),
        (b"x-ratelimit-remaining-tokens", b"149984"),
        (b"x-ratelimit-reset-tokens", b"6m0s"),
    ]


def test_no_limit_no_header() -> None:
    assert headers(()) == []
    assert [name for name, _ in headers((LimitState(TPM, 1, 1),))] == [
        b"x-ratelimit-limit-tokens",
        b"x-ratelimit-remaining-tokens",
        b"x-ratelimit-reset-tokens",
    ]


@pytest.mark.parametrize(
    ("minute", "day", "shown"),
    [((5, 60_000), (40, 900_000), b"60"), ((5, 60_000), (4, 900_000), b"100"), ((0, 60_000), (0, 900_000), b"100")],
)
def test_the_tightest_is_shown(minute: tuple[int, int], day: tuple[int, int], shown: bytes) -> None:
    for states in (
        (LimitState(RPM, *minute), LimitState(DAY, *day)),
        (LimitState(DAY, *day), LimitState(RPM, *minute)),
    ):
        assert dict(headers(states))[b"x-ratelimit-limit-requests"] == shown
