"""Cutting a call short: only where it is marked, only once, and never its settlement."""

import asyncio

import pytest

from gateway_core.interrupt import Cut, Interrupt


async def test_a_reason_cuts_the_marked_section() -> None:
    interrupt = Interrupt()
    asyncio.get_running_loop().call_soon(interrupt.cut, "client_disconnect")
    with pytest.raises(Cut) as cut, interrupt:
        await asyncio.Event().wait()
    assert cut.value.reason == "client_disconnect"
    await asyncio.sleep(0)  # what follows is not cancelled


async def test_a_reason_that_was_there_first_keeps_the_section_from_starting() -> None:
    interrupt = Interrupt()
    interrupt.cut("key_revoked")
    with pytest.raises(Cut, match="key_revoked"), interrupt:
        pytest.fail("the section ran")


async def test_outside_the_section_nothing_is_cancelled() -> None:
    interrupt = Interrupt()
    asyncio.get_running_loop().call_soon(interrupt.cut, "client_disconnect")
    with interrupt:
        pass
    for _ in range(3):
        await asyncio.sleep(0)
    assert interrupt.reason == "client_disconnect"


async def test_the_first_reason_stands() -> None:
    interrupt = Interrupt()
    interrupt.cut("gateway_shutdown")
    interrupt.cut("client_disconnect")
    assert interrupt.reason == "gateway_shutdown"


async def test_somebody_elses_cancellation_stays_one() -> None:
    async def call() -> None:
        with Interrupt():
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cut_and_a_cancellation_together_are_a_cancellation() -> None:
    started: list[Interrupt] = []

    async def call() -> None:
        interrupt = Interrupt()
        started.append(interrupt)
        with interrupt:
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    started[0].cut("client_disconnect")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_section_can_be_entered_again() -> None:
    interrupt = Interrupt()
    with interrupt:
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(interrupt.cut, "client_disconnect")
    with pytest.raises(Cut), interrupt:
        await asyncio.Event().wait()
