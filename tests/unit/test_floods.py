"""Failures by address: counted apart by kind, never for longer than a minute, in bounded memory."""

import pytest

from gateway_core.edge.floods import MOST_ADDRESSES, Failures
from gateway_core.errors import RateLimited
from gateway_core.testing.clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def failures(clock: ManualClock) -> Failures:
    return Failures(3, clock)


def fail(failures: Failures, address: str, status: int = 401, times: int = 3) -> None:
    for _ in range(times):
        failures.check(address)
        failures.note(address, status)


@pytest.mark.parametrize(("status", "what"), [(401, "refused bearers"), (400, "bad requests")])
def test_after_so_many_an_address_waits(failures: Failures, clock: ManualClock, status: int, what: str) -> None:
    fail(failures, "192.0.2.1", status)
    with pytest.raises(RateLimited) as caught:
        failures.check("192.0.2.1")
    assert caught.value.message == f"3 {what} per minute from one address; retry in 60s"
    assert caught.value.retry_after == 60
    failures.check("192.0.2.2")
    clock.advance(59.9)
    with pytest.raises(RateLimited) as caught:
        failures.check("192.0.2.1")
    assert caught.value.retry_after == 1
    clock.advance(0.1)
    failures.check("192.0.2.1")


def test_each_kind_counts_apart_and_others_not_at_all(failures: Failures) -> None:
    fail(failures, "192.0.2.1", 401, 2)
    fail(failures, "192.0.2.1", 400, 2)
    for status in (402, 403, 404, 413, 429, 503):
        fail(failures, "192.0.2.1", status, 5)
    failures.check("192.0.2.1")
    assert len(failures.counted) == 1


def test_a_refusal_for_too_many_is_not_counted_itself(failures: Failures, clock: ManualClock) -> None:
    fail(failures, "192.0.2.1")
    for _ in range(100):
        clock.advance(0.5)
        with pytest.raises(RateLimited):
            failures.check("192.0.2.1")
        failures.note("192.0.2.1", RateLimited.status)
    clock.advance(10)
    failures.check("192.0.2.1")


def test_an_ipv6_client_counts_by_its_64(failures: Failures) -> None:
    for host in range(3):
        fail(failures, f"2001:db8::{host:x}", times=1)
    with pytest.raises(RateLimited):
        failures.check("2001:db8::ffff")
    failures.check("2001:db8:0:1::1")


def test_who_stopped_failing_is_forgotten(failures: Failures, clock: ManualClock) -> None:
    fail(failures, "192.0.2.1", times=1)
    assert len(failures.counted) == 1
    clock.advance(61)
    failures.check("192.0.2.1")
    assert len(failures.counted) == 0


def test_memory_is_bounded_and_the_one_that_failed_last_is_kept(failures: Failures) -> None:
    fail(failures, "192.0.2.1")
    for number in range(MOST_ADDRESSES - 1):
        failures.note(f"2001:db8:{number:x}::1", 401)
    failures.note("192.0.2.1", 401)
    for number in range(MOST_ADDRESSES - 1):
        failures.note(f"2001:db9:{number:x}::1", 401)
    assert len(failures.counted) == MOST_ADDRESSES
    with pytest.raises(RateLimited):
        failures.check("192.0.2.1")
