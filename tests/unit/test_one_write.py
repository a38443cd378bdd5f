"""An answer's head goes out with its first bytes, in order, and never stays behind."""

import asyncio
from typing import Any

from gateway_core.edge.protocol import OneWrite


class Recorder(asyncio.Transport):
    """Notes what is written, one entry a system call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.closing = False
        self.written = 0

    def write(self, data: Any) -> None:
        self.calls.append(data)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.calls.append("closed")


def made() -> tuple[Recorder, OneWrite]:
    recorder = Recorder()
    return recorder, OneWrite(recorder, asyncio.get_running_loop(), recorder)


async def test_head_and_body_are_one_write() -> None:
    recorder, transport = made()
    for data in (b"head ", b"body ", b"more"):
        transport.write(data)
    await asyncio.sleep(0)
    assert recorder.calls == [b"head body ", b"more"]


async def test_a_head_alone_waits_for_nothing_but_the_loop() -> None:
    recorder, transport = made()
    transport.write(b"head ")
    assert recorder.calls == []
    await asyncio.sleep(0)
    assert recorder.calls == [b"head "]
    transport.write(b"body")
    assert recorder.calls == [b"head ", b"body"]


async def test_hanging_up_leaves_nothing_behind() -> None:
    recorder, transport = made()
    transport.write(b"head")
    transport.close()
    await asyncio.sleep(0)
    assert recorder.calls == [b"head", "closed"]


async def test_asking_for_the_body_is_no_head() -> None:
    recorder, transport = made()
    transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    transport.write(b"head ")
    transport.write(b"body")
    assert recorder.calls == [b"HTTP/1.1 100 Continue\r\n\r\n", b"head body"]


async def test_what_is_given_to_the_connection_is_counted_and_nothing_goes_to_one_that_closes() -> None:
    recorder, transport = made()
    for data in (b"head ", b"body ", b"more"):
        transport.write(data)
    assert recorder.written == 14
    recorder.closing = True
    transport.write(b"lost")
    assert (recorder.written, len(recorder.calls)) == (14, 2)
