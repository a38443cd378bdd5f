"""One answer for several callers: each has it whole, the fastest sets the pace, and what waits is bounded."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from gateway_core.errors import Conflict, InvalidRequest
from gateway_core.interrupt import Cut, Interrupt
from gateway_core.money import Units
from gateway_core.sealing import Answer
from gateway_core.sharing import SharedAnswer
from gateway_core.store_ports import AnswerPlace, KeptAnswer
from gateway_core.testing.callers import Caller
from gateway_core.wire.chat import DONE, KEEP_ALIVE

PLACE = AnswerPlace("key_1", "aa", "acct_1", b"hash", "req_1", 1, 2)


def shared(first: Caller, most: int = 1000) -> SharedAnswer:
    return SharedAnswer(PLACE, first, lambda place, answer: KeptAnswer(place, answer.body, 1, 1), most)


async def start(answer: SharedAnswer, call: Coroutine[Any, Any, None], *callers: Caller) -> "list[asyncio.Task[None]]":
    """The call's task, then one for each caller, all of them begun; the first caller is the one it is made for."""
    giving = [asyncio.create_task(answer.give(each, first=each is callers[0])) for each in callers]
    await asyncio.sleep(0)
    answer.task = asyncio.create_task(call)
    return [answer.task, *giving]


async def test_every_caller_has_all_of_a_stream() -> None:
    first, second, late = Caller(), Caller(), Caller()
    answer = shared(first)

    async def call() -> None:
        answer.tier = "paid"
        for part in (b"data: 1\n\n", KEEP_ALIVE, b"data: 2\n\n"):
            assert await answer.write(part)
        kept = answer.keep(DONE)
        assert kept is not None
        assert kept.sealed == b"data: 1\n\ndata: 2\n\n" + DONE
        await answer.finish(DONE)

    await asyncio.gather(*await start(answer, call(), first, second))
    await answer.give(late, first=False)
    assert b"".join(first.got) == b"".join(second.got) == b"".join(late.got)
    assert (first.original, second.original, late.original) == (None, "req_1", "req_1")
    assert first.tier == second.tier == "paid"


async def test_a_plain_answer_costs_the_first_caller_alone() -> None:
    first, second = Caller(), Caller()
    answer = shared(first)

    async def call() -> None:
        assert await answer.answer(b"{}", Units(5))

    await asyncio.gather(*await start(answer, call(), first, second))
    assert (first.got, first.charge, second.got, second.charge) == ([b"{}"], 5, [b"{}"], 0)


async def test_every_caller_is_told_the_same_error_and_none_the_same_object() -> None:
    first, second = Caller(), Caller()
    answer = shared(first)
    error = InvalidRequest("bad", param="messages")

    async def call() -> None:
        answer.fail(error)

    results = await asyncio.gather(*await start(answer, call(), first, second), return_exceptions=True)
    told = [result for result in results if isinstance(result, InvalidRequest)]
    assert [(each.message, each.param) for each in told] == [("bad", "messages")] * 2
    assert told[0] is not told[1]
    assert not answer.delivered


async def test_the_fastest_caller_sets_the_pace() -> None:
    slow, slower = Caller(slow=True), Caller(slow=True)
    answer = shared(slow)
    writing = asyncio.create_task(answer.write(b"x" * 10))
    tasks = [asyncio.create_task(answer.give(each, first=each is slow)) for each in (slow, slower)]
    await asyncio.sleep(0)
    # Nobody was there yet when it was written.
    assert not await writing
    writing = asyncio.create_task(answer.write(b"y" * 10))
    await asyncio.sleep(0)
    assert answer.unsent() == 10
    assert not writing.done()
    slow.waiting = 3
    slow.turn.release()
    assert await writing
    assert answer.unsent() == 3
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_is_too_far_behind_is_let_go_and_the_answer_is_not_kept() -> None:
    fast, slow = Caller(), Caller(slow=True)
    answer = shared(fast, most=100)

    async def call() -> None:
        for _ in range(50):
            assert await answer.write(b"x" * 10)
        assert answer.keep(DONE) is None
        await answer.finish(DONE)

    _, giving, behind = await start(answer, call(), fast, slow)
    await giving
    assert len(b"".join(fast.got)) == 500 + len(DONE)
    slow.turn.release()
    with pytest.raises(Conflict, match="req_1"):
        await behind
    with pytest.raises(Conflict):
        await answer.give(Caller(), first=False)


async def test_an_answer_larger_than_what_is_kept_is_given_all_the_same() -> None:
    first = Caller()
    answer = shared(first, most=5)

    async def call() -> None:
        assert answer.keep(b"123456") is None
        await answer.answer(b"123456", Units(1))

    await asyncio.gather(*await start(answer, call(), first))
    assert first.got == [b"123456"]


async def test_the_call_is_cut_when_the_last_caller_leaves_and_not_before() -> None:
    first, second = Caller(), Caller()
    answer = shared(first)
    settled = asyncio.Event()

    async def call() -> None:
        interrupt = Interrupt()
        answer.watch(interrupt)
        with pytest.raises(Cut), interrupt:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        settled.set()

    _, one, other = await start(answer, call(), first, second)
    await asyncio.sleep(0)
    first.leave()
    await one
    before = answer.abandoned
    second.leave()
    await other
    assert (before, answer.abandoned) == (False, True)
    # The last one stays until the call is settled, so that a shutdown waits for it.
    assert settled.is_set()


async def test_a_call_whose_callers_left_early_is_cut_as_soon_as_it_can_be() -> None:
    first = Caller()
    answer = shared(first)
    begun = asyncio.Event()

    async def call() -> None:
        await begun.wait()
        interrupt = Interrupt()
        answer.watch(interrupt)
        assert interrupt.reason == "client_disconnect"
        assert not await answer.write(b"x")

    _, giving = await start(answer, call(), first)
    first.leave()
    await asyncio.sleep(0)
    begun.set()
    await giving


@pytest.mark.parametrize("stream", [False, True])
async def test_a_replay_names_the_call_that_it_is_of(stream: bool) -> None:
    first = Caller()
    first.tier = "its own"
    answer = shared(first)

    async def call() -> None:
        answer.replay("req_0", Answer(b"all of it", stream=stream))

    await asyncio.gather(*await start(answer, call(), first))
    assert (first.got, first.original, first.tier, first.ended) == ([b"all of it"], "req_0", "its own", True)
    assert first.charge == (None if stream else 0)
