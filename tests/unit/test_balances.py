"""Balances in memory: bounded, and never letting go of what is held."""

import pytest

from gateway_core.errors import QuotaExceeded
from gateway_core.money import UNITS_PER_USD, Units
from gateway_core.store.balances import Balances, Entry
from gateway_core.testing.calls import MONTH, hold
from gateway_core.types import Hold


def taken(balances: Balances, wanted: Hold) -> tuple[Entry, ...]:
    """What a hold was taken out of that needs nothing to be read."""
    entries = balances.take(wanted)
    assert entries is not None
    return entries


def test_an_entry_with_something_held_outlives_any_number_of_others() -> None:
    balances = Balances(limit=10)
    kept = taken(balances, hold("kept", 7, account_id="acct_kept"))
    for number in range(1000):
        other = hold(f"req_{number}", 5, account_id=f"acct_{number}")
        balances.settle(taken(balances, other), other.amount, 0)
    assert balances.held_of("acct_kept", MONTH) == 7
    assert len(balances) <= 10 + 2
    balances.settle(kept, 7, 0)
    assert balances.held_of("acct_kept", MONTH) == 0


def test_a_hold_of_nothing_holds_its_entry_too() -> None:
    balances = Balances(limit=4)
    balances.loaded(("acct_free", MONTH), 5)
    taken(balances, hold("free", 0, account_id="acct_free", account_cap=Units(5)))
    for number in range(100):
        balances.missing(hold(f"req_{number}", account_id=f"acct_{number}", account_cap=Units(5)))
    assert balances.missing(hold("next", account_id="acct_free", account_cap=Units(5))) == []


def test_what_a_hold_is_taken_out_of_is_not_let_go_to_make_room_for_it() -> None:
    balances = Balances(limit=100)
    first = hold("req_1", 60, account_cap=Units(100))
    for key in balances.missing(first):
        balances.loaded(key, 0)
    for number in range(99):
        balances.missing(hold(account_id=f"acct_{number}", account_cap=Units(5)))
    taken(balances, first)  # the bearer's entry is one too many, and the account's the oldest
    assert balances.held_of("acct_sample", MONTH) == 60
    second = hold("req_2", 60, bearer_id="key_other", account_cap=Units(100))
    assert balances.missing(second) == []
    with pytest.raises(QuotaExceeded):
        balances.take(second)


def test_refused_holds_do_not_fill_the_memory() -> None:
    balances = Balances(limit=100)
    for number in range(1000):
        capped = hold("req_1", 60, account_id=f"acct_{number}", account_cap=Units(50))
        for key in balances.missing(capped):
            balances.loaded(key, 0)
        with pytest.raises(QuotaExceeded):
            balances.take(capped)
    assert len(balances) <= 100 + 2


def test_a_hold_under_a_cap_is_not_taken_before_its_month_was_read() -> None:
    balances = Balances()
    capped = hold("req_1", 60, account_cap=Units(100), bearer_cap=Units(50), day_cap=Units(70))
    for number, key in enumerate(balances.missing(capped), 1):
        assert balances.take(capped) is None
        assert balances.held_of("acct_sample", MONTH) == 0
        balances.loaded(key, number)
    with pytest.raises(QuotaExceeded):
        balances.take(capped)
    assert balances.take(hold("req_2", 40, account_cap=Units(100), bearer_cap=Units(50), day_cap=Units(70)))
    assert balances.held_of("acct_sample", MONTH) == 40


def test_what_is_charged_moves_every_month_that_was_read() -> None:
    balances = Balances()
    capped = hold("req_1", 60, account_cap=Units(100), bearer_cap=Units(100))
    for key in balances.missing(capped):
        balances.loaded(key, 20)
    balances.settle(taken(balances, capped), 60, 35)
    assert balances.headroom(capped) == 45
    balances.charge(capped, 5)
    assert balances.headroom(capped) == 40
    assert balances.held_of("acct_sample", MONTH) == balances.open_of("acct_sample", MONTH) == 0


def test_what_is_settled_is_asked_for_only_where_a_cap_needs_it() -> None:
    balances = Balances()
    assert balances.missing(hold()) == []
    capped = hold(account_cap=Units(100), bearer_cap=Units(50))
    assert balances.missing(capped) == [("acct_sample", MONTH), ("acct_sample", "key_sample", MONTH)]
    for key in balances.missing(capped):
        balances.loaded(key, 20)
    assert balances.missing(capped) == []
    assert balances.headroom(capped) == 30
    balances.distrust()
    assert len(balances.missing(capped)) == 2


def test_a_refusal_says_what_the_call_may_cost_and_what_is_left() -> None:
    balances = Balances()
    wanted = hold("req_1", 3 * UNITS_PER_USD // 2, bearer_cap=Units(UNITS_PER_USD))
    for key in balances.missing(wanted):
        balances.loaded(key, UNITS_PER_USD // 4)
    with pytest.raises(QuotaExceeded, match=r"This key's own cap .* up to 1\.5 USD and 0\.75 USD of 1 USD is left"):
        balances.take(wanted)
    assert balances.held_of("acct_sample", MONTH) == 0
