"""A sink's queue of accounts: each at most once at a time, in turn, and none before its pause is over."""

import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.strategies import booleans, integers, sampled_from

from gateway_core.outbox_queue import AccountQueue
from gateway_core.store_ports import SinkFailure

FAILED = SinkFailure(1, "ConnectionError", 0)


@pytest.fixture
def queue() -> AccountQueue:
    return AccountQueue()


def test_accounts_come_in_turn_and_once(queue: AccountQueue) -> None:
    for account in ("a", "b", "a", "c"):
        queue.add(account)
    assert list(queue.take(2)) == ["a", "b"]
    assert list(queue.take(2)) == []
    assert queue.done("a", more=True) is None
    assert list(queue.take(9)) == ["c", "a"]


def test_what_came_while_it_was_told_is_told_afterwards(queue: AccountQueue) -> None:
    queue.add("a")
    assert list(queue.take(1)) == ["a"]
    queue.add("a")
    assert list(queue.take(9)) == []
    queue.done("a", more=False)
    assert list(queue.take(9)) == ["a"]
    queue.done("a", more=False)
    assert list(queue.take(9)) == []


def test_a_paused_account_waits_whatever_comes(queue: AccountQueue) -> None:
    queue.pause("a", FAILED, 10.0)
    queue.add("a")
    queue.resume(9.9)
    assert (list(queue.take(1)), queue.next_due()) == ([], 10.0)
    queue.resume(10.0)
    assert (list(queue.take(1)), queue.next_due()) == (["a"], None)
    assert queue.done("a", more=False) == FAILED
    assert queue.failures == {}


def test_resume_all_ends_every_pause_once(queue: AccountQueue) -> None:
    queue.pause("a", FAILED, 10.0)
    queue.resume_all()
    assert list(queue.take(1)) == ["a"]
    queue.pause("a", FAILED, 30.0)
    queue.resume(10.0)  # the pause that was ended before its time
    assert list(queue.take(1)) == []
    assert queue.next_due() == 30.0


def test_who_fails_while_pauses_are_ended_has_none_either_that_one_time(queue: AccountQueue) -> None:
    queue.add("a")
    assert list(queue.take(1)) == ["a"]
    queue.resume_all()
    queue.pause("a", FAILED, 10.0)
    assert (list(queue.take(1)), queue.failures) == (["a"], {"a": FAILED})
    queue.pause("a", FAILED, 10.0)
    assert list(queue.take(1)) == []
    queue.resume_all()
    assert list(queue.take(1)) == ["a"]
    queue.resume_all()
    queue.done("a", more=True)
    assert list(queue.take(1)) == ["a"]
    queue.pause("a", FAILED, 10.0)
    assert list(queue.take(1)) == []


class Turns(RuleBasedStateMachine):
    """Whatever happens, what was added is told after it was added, and nothing is remembered twice."""

    @initialize()
    def begin(self) -> None:
        self.queue = AccountQueue()
        self.now = 0.0
        self.untold: set[str] = set()

    @rule(account=sampled_from("abcd"))
    def add(self, account: str) -> None:
        self.queue.add(account)
        self.untold.add(account)

    @rule(at_once=integers(1, 3))
    def take(self, at_once: int) -> None:
        self.untold -= set(self.queue.take(at_once))

    @rule(account=sampled_from("abcd"), more=booleans())
    def done(self, account: str, more: bool) -> None:
        if account in self.queue.busy:
            self.queue.done(account, more=more)

    @rule(account=sampled_from("abcd"), seconds=integers(1, 5))
    def fail(self, account: str, seconds: int) -> None:
        if account in self.queue.busy:
            self.queue.pause(account, FAILED, self.now + seconds)

    @rule(seconds=integers(1, 5))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.queue.resume(self.now)

    @rule()
    def retry(self) -> None:
        self.queue.resume_all()

    @invariant()
    def every_account_is_in_one_place(self) -> None:
        queue = self.queue
        places = [*queue.waiting, *queue.busy, *queue.paused]
        assert len(places) == len(set(places))
        again = {account for account, again in queue.busy.items() if again}
        assert self.untold <= {*queue.waiting, *queue.paused, *again}
        assert len(queue._due) >= len(queue.paused)


TestTurns = Turns.TestCase
