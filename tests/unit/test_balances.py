"""Balances in memory: bounded, and never letting go of what is held."""

import pytest

from gateway_core.errors import QuotaExceeded
from gateway_core.money import UNITS_PER_USD, Units
from gateway_core.store.balances import Balances
from gateway_core.testing.calls import MONTH, hold


def test_an_entry_with_something_held_outlives_any_number_of_others() -> None:
    balances = Balances(limit=10)
    balances.take(hold("kept", 7, account_id="acct_kept"))
    for number in range(1000):
        other = hold(f"req_{number}", 5, account_id=f"acct_{number}")
        balances.take(other)
        balances.give_back(other.id)
    assert balances.held_of("acct_kept", MONTH) == 7
    assert len(balances) <= 10 + 2
    balances.give_back("kept")
    assert balances.held_of("acct_kept", MONTH) == 0


def test_a_hold_of_nothing_holds_its_entry_too() -> None:
    balances = Balances(limit=4)
    balances.take(hold("free", 0, account_id="acct_free", account_cap=Units(5)))
    balances.loaded(("acct_free", MONTH), 5)
    for number in range(100):
        balances.missing(hold(f"req_{number}", account_id=f"acct_{number}", account_cap=Units(5)))
    assert balances.missing(hold("next", account_id="acct_free", account_cap=Units(5))) == []


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


def test_the_same_hold_is_taken_once() -> None:
    balances = Balances()
    for _ in range(2):
        balances.take(hold("req_1", 60))
    assert balances.held_of("acct_sample", MONTH) == 60
    assert balances.give_back("req_1") is not None
    assert balances.give_back("req_1") is None
    assert balances.held_of("acct_sample", MONTH) == 0


def test_a_refusal_says_what_the_call_may_cost_and_what_is_left() -> None:
    balances = Balances()
    wanted = hold("req_1", 3 * UNITS_PER_USD // 2, bearer_cap=Units(UNITS_PER_USD))
    for key in balances.missing(wanted):
        balances.loaded(key, UNITS_PER_USD // 4)
    with pytest.raises(QuotaExceeded, match=r"This key's own cap .* up to 1\.5 USD and 0\.75 USD of 1 USD is left"):
        balances.take(wanted)
    assert balances.held_of("acct_sample", MONTH) == 0
