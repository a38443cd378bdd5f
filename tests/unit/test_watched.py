"""Which connections the sweep looks at: not those of streams under way, as long as nothing waits for their clients."""

import asyncio
import math
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from gateway_core.clients import Client
from gateway_core.config import ServerConfig
from gateway_core.edge.app import App
from gateway_core.edge.protocol import GuardedProtocol
from gateway_core.ids import RequestIds
from gateway_core.money import Units

TARGET = b"/v1/chat/completions"
REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk\r\ncontent-length: 2\r\n\r\n{}"
HALF = b"GET /healthz HTTP/1.1\r\nhost:"
EVENT = b"data: 1\n\n"


class Line:
    """Stands where the pipeline does: does with its client what it is told to."""

    def __init__(self) -> None:
        self.clients: asyncio.Queue[Client] = asyncio.Queue()
        self.ended: asyncio.Queue[None] = asyncio.Queue()

    async def serve(self, client: Client) -> None:
        await client.body()
        self.clients.put_nowait(client)
        await self.ended.get()


class Wire(asyncio.Transport):
    """A socket's end of which the kernel takes as much as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.given = self.taken = 0
        self.takes = True
        self.ended = ""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.9", 4), "sockname": ("127.0.0.1", 80)}.get(name, default)

    def write(self, data: Any) -> None:
        self.given += len(data)
        if self.takes:
            self.taken = self.given

    def get_write_buffer_size(self) -> int:
        return self.given - self.taken

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""


class Made:
    """A connection with a call on it."""

    def __init__(self, app: App) -> None:
        self.line, self.wire = Line(), Wire()
        app._pipeline = app.chat._pipeline = self.line  # type: ignore[assignment]  # of the pipeline only this is used
        self.watched: set[GuardedProtocol] = set()
        self.config = ServerConfig()
        config, state = uvicorn.Config(app, ws="none", log_config=None), ServerState()
        self.connection = GuardedProtocol(
            self.config, app, TARGET, RequestIds(), self.watched, config=config, server_state=state, app_state={}
        )
        self.connection.connection_made(self.wire)

    async def call(self) -> Client:
        self.connection.data_received(REQUEST)
        return await self.line.clients.get()

    async def end(self) -> None:
        task: Any = self.connection.cycle.task  # type: ignore[union-attr]  # a call is under way
        self.line.ended.put_nowait(None)
        await task


@pytest.fixture
async def made(app: App) -> Made:
    return Made(app)


async def test_a_stream_is_left_alone_from_its_beginning_to_its_end(made: Made) -> None:
    assert made.watched == {made.connection}
    for _ in range(2):
        client = await made.call()
        assert made.watched == {made.connection}
        await client.write(EVENT)
        await client.write(EVENT)
        assert made.watched == set()
        await client.finish(b"data: [DONE]\n\n")
        assert made.watched == {made.connection}
        assert made.connection.deadline < math.inf
        await made.end()


async def test_a_plain_call_is_never_left_alone(made: Made) -> None:
    client = await made.call()
    await client.answer(b"{}", Units(0))
    assert made.watched == {made.connection}
    await made.end()


async def test_a_client_that_takes_nothing_is_hung_up_on_wherever_in_its_stream_it_stalls(made: Made) -> None:
    client = await made.call()
    await client.write(EVENT)
    made.wire.takes = False
    await client.write(EVENT)
    assert made.watched == {made.connection}
    made.connection.look(1000.0)
    ends = []
    for seconds in (-0.1, 0.0):
        made.connection.look(1000.0 + made.config.stall_seconds + seconds)
        ends.append(made.wire.ended)
    assert ends == ["", "aborted"]
    await made.end()


async def test_one_that_goes_on_taking_is_left_alone_again(made: Made) -> None:
    client = await made.call()
    made.wire.takes = False
    await client.write(EVENT)
    made.connection.look(1000.0)
    made.wire.taken += 1
    made.connection.look(1000.0 + made.config.stall_seconds)
    made.wire.taken, made.wire.takes = made.wire.given, True
    made.connection.look(1001.0 + made.config.stall_seconds)
    assert made.watched == set()
    await client.write(EVENT)
    made.wire.takes = False
    await client.write(EVENT)  # it has its whole time again
    made.connection.look(2000.0)
    assert made.watched == {made.connection}
    assert not made.wire.ended
    await made.end()


async def test_a_request_that_begins_in_the_middle_of_a_stream_has_its_time(made: Made) -> None:
    client = await made.call()
    await client.write(EVENT)
    made.connection.data_received(HALF)
    assert made.watched == {made.connection}
    deadline = made.connection.deadline
    made.connection.look(deadline - 1)  # nothing waits, and yet something is awaited
    assert made.watched == {made.connection}
    assert deadline < math.inf
    await client.finish(b"data: [DONE]\n\n")
    await made.end()


async def test_a_stream_behind_a_request_that_has_begun_is_not_left_alone(made: Made) -> None:
    made.connection.data_received(REQUEST + HALF)
    client = await made.line.clients.get()
    await client.write(EVENT)
    assert made.watched == {made.connection}
    await made.end()


async def test_a_stream_without_an_end_is_closed_and_looked_at_until_its_rest_is_taken(made: Made) -> None:
    client = await made.call()
    await client.write(EVENT)
    made.wire.takes = False
    await client.write(EVENT)
    await made.end()
    assert made.wire.ended == "closed"
    made.connection.look(1000.0)
    made.connection.look(1000.0 + made.config.stall_seconds)
    assert made.wire.ended == "aborted"


async def test_a_connection_that_is_lost_is_looked_at_no_longer(made: Made) -> None:
    await made.call()
    made.connection.connection_lost(None)
    assert made.watched == set()
    await made.end()


async def test_one_that_is_lost_while_a_streams_last_part_waits_is_not_looked_at_again(made: Made) -> None:
    client = await made.call()
    await client.write(EVENT)
    made.connection.pause_writing()
    finish = asyncio.create_task(client.finish(b"data: [DONE]\n\n"))
    await asyncio.sleep(0)
    assert not finish.done()
    made.wire.ended = "closed"
    made.connection.connection_lost(None)
    await finish
    assert made.watched == set()
    await made.end()
