"""What every store must do with answers that are kept for Idempotency-Keys: a part of `StoreSuite`."""

from typing import Any

import msgspec

from gateway_core.store_ports import AnswerPlace, KeptAnswer, Store
from gateway_core.testing import samples
from gateway_core.testing.calls import hold, settlement

DAY_MS = 86_400_000


def place(key: str = "k1", **changes: Any) -> AnswerPlace:
    """A place of the sample key's, taken at the sample instant for a day."""
    now = samples.STARTED_AT
    made = AnswerPlace("key_sample", key, "acct_sample", b"hash", "req_1", now, now + DAY_MS)
    return msgspec.structs.replace(made, **changes)


def kept(at: AnswerPlace, sealed: bytes = b"sealed", *, most_answers: int = 10, most_bytes: int = 1000) -> KeptAnswer:
    """An answer for a place, with room for it."""
    return KeptAnswer(at, sealed, most_answers, most_bytes)


async def settle_with(store: Store, answer: KeptAnswer, charge: int = 30) -> None:
    """A whole call whose settlement keeps an answer."""
    held = hold(answer.place.request_id)
    await store.ledger.hold(held)
    store.ledger.open(held)
    await store.ledger.settle(settlement(held, charge), answer)


class AnswersSuite:
    """The contract of `ports.Answers`, and of what `Ledger.settle` keeps."""

    async def test_a_place_is_taken_once(self, store: Store) -> None:
        """Whoever comes second gets what is there; another bearer or key is another place."""
        first = place()
        assert await store.answers.claim(first) is None
        assert await store.answers.claim(place(request_id="req_2", body_hash=b"other")) == first
        assert await store.answers.claim(place("k2", request_id="req_2")) is None
        assert await store.answers.claim(place(scope="key_other", request_id="req_3")) is None

    async def test_a_settlement_keeps_its_answer(self, store: Store) -> None:
        """In the same transaction; a second settlement of the call changes nothing."""
        taken = place()
        await store.answers.claim(taken)
        await settle_with(store, kept(taken))
        await store.ledger.settle(settlement(hold("req_1"), 1), kept(taken, b"second"))
        assert await store.answers.claim(place(request_id="req_2")) == msgspec.structs.replace(taken, answer=b"sealed")

    async def test_an_answer_is_kept_only_in_its_own_call_s_place(self, store: Store) -> None:
        """Where the place is another call's, or nobody's, nothing is kept, and the call is settled all the same."""
        await store.answers.claim(place())
        await settle_with(store, kept(place(request_id="req_2")))
        await settle_with(store, kept(place("k9", request_id="req_3")))
        assert await store.answers.claim(place(request_id="req_4")) == place()
        assert await store.answers.claim(place("k9", request_id="req_4")) is None
        assert (await store.ledger.month("acct_sample", "2026-11")).settled == 60

    async def test_a_place_is_freed_by_its_own_call_alone(self, store: Store) -> None:
        """Freed for another; nothing happens where somebody else has it by then."""
        await store.answers.claim(place())
        await store.answers.forget("key_sample", "k1", "req_other")
        assert await store.answers.claim(place(request_id="req_2")) == place()
        await store.answers.forget("key_sample", "k1", "req_1")
        assert await store.answers.claim(place(request_id="req_2")) is None

    async def test_what_an_account_keeps_is_bounded(self, store: Store) -> None:
        """In number and in bytes; what is freed makes room, and another account has its own."""
        for number in range(1, 5):
            taken = place(f"k{number}", request_id=f"req_{number}")
            await store.answers.claim(taken)
            await settle_with(store, kept(taken, b"x" * 10, most_answers=3, most_bytes=25))
        found = [await store.answers.claim(place(f"k{number}", request_id="req_9")) for number in range(1, 5)]
        assert [each.answer if each else None for each in found] == [b"x" * 10, b"x" * 10, None, None]
        await store.answers.forget("key_sample", "k1", "req_1")
        taken = place("k5", request_id="req_5")
        await store.answers.claim(taken)
        await settle_with(store, kept(taken, b"y", most_answers=2, most_bytes=25))
        again = await store.answers.claim(place("k5", request_id="req_9"))
        assert again is not None
        assert again.answer == b"y"
        full = place("k6", request_id="req_6")
        await store.answers.claim(full)
        await settle_with(store, kept(full, b"z", most_answers=2))
        assert await store.answers.claim(place("k6", request_id="req_9")) == full

    async def test_an_expired_place_is_free_and_pruned_slowly(self, store: Store) -> None:
        """At most so many at a time, the oldest first; one that is not expired stays."""
        end = samples.STARTED_AT + DAY_MS
        for number in range(3):
            taken = place(f"k{number}", request_id=f"req_{number}", expires_at=end + number)
            await store.answers.claim(taken)
            await settle_with(store, kept(taken, most_answers=3))
        late = place("k0", request_id="req_7", created_at=end, expires_at=end + DAY_MS)
        assert await store.answers.claim(late) is None
        assert await store.answers.prune(end, 10) == 0
        assert [await store.answers.prune(end + 5, 1) for _ in range(3)] == [1, 1, 0]
        assert await store.answers.claim(place("k0", request_id="req_8", created_at=end)) == late
        # Their room is free again.
        for number in range(10, 13):
            taken = place(f"k{number}", request_id=f"req_{number}")
            await store.answers.claim(taken)
            await settle_with(store, kept(taken, most_answers=3))
            found = await store.answers.claim(place(f"k{number}", request_id="req_9"))
            assert found is not None
            assert found.answer == b"sealed"
