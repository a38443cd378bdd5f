"""The pulse over many open streams: what it looks at, what it writes, and what it leaves alone."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from gateway_core.delivery import Delivery
from gateway_core.errors import InternalError, InvalidBearer, StoreError
from gateway_core.interrupt import Interrupt
from gateway_core.live import REVOCATION_LOOK, SLICE, LiveStream, LiveStreams
from gateway_core.testing.calls import hold
from gateway_core.testing.clock import ManualClock
from gateway_core.types import Checkpoint, Chunk, Credentials, Deadlines, Route, Usage
from gateway_core.wire.chat import KEEP_ALIVE

SILENCE = 15.0
ROUTE = Route("demo", "demo-1", deadlines=Deadlines(idle=40.0, total=100.0))


class Client:
    """A client of whom nothing is asked but this."""

    def __init__(self, bearer: str = "sk-1") -> None:
        self.credentials = Credentials(bearer, "127.0.0.1")
        self.waiting = 0
        self.comments = 0

    def unsent(self) -> int:
        return self.waiting

    async def write(self, data: bytes) -> bool:
        assert data == KEEP_ALIVE
        self.comments += 1
        return True


class Ledger:
    """What was to be written."""

    def __init__(self) -> None:
        self.written: list[list[str]] = []
        self.fails = False

    async def checkpoint(self, rows: Sequence[Checkpoint]) -> None:
        self.written.append([row.id for row in rows])
        if self.fails:
            raise StoreError("full")


class Bearers:
    """Asked about bearers."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.answers: dict[str | None, Exception] = {}

    async def authenticate(self, credentials: Credentials) -> None:
        self.asked.append(credentials.bearer)
        if (error := self.answers.get(credentials.bearer)) is not None:
            raise error


class Pulse:
    """Streams of which each second counts."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ledger = Ledger()
        self.bearers = Bearers()
        store: Any = SimpleNamespace(ledger=self.ledger)
        dispatch: Any = self.bearers
        self.live = LiveStreams(store, dispatch, self.clock, SILENCE)
        self.clients: dict[LiveStream, Client] = {}
        self.tracks: dict[LiveStream, Any] = {}

    def open(self, number: int = 0, *, bearer: str = "sk-1", route: Route | None = ROUTE) -> LiveStream:
        client: Any = Client(bearer)
        opened = asyncio.get_running_loop().create_future()
        opened.set_result(None)
        now = self.clock.monotonic()
        delivery = Delivery(1, 10)
        delivery.last_at = now
        stream = LiveStream(hold(f"req_{number}", stream=True), client, Interrupt(), delivery, opened, now, None)
        stream.route = route
        self.clients[stream] = client
        self.tracks[stream] = track = self.live.track(stream)
        track.__enter__()
        return stream

    def end(self, stream: LiveStream) -> None:
        self.tracks[stream].__exit__(None, None, None)

    def say(self, stream: LiveStream, text: str = "word", usage: Usage | None = None) -> None:
        chunk = Chunk(Raw(b'[{"index":0}]'), (text,), usage=usage)
        stream.delivery.note_usage([chunk])
        stream.delivery.note_written([chunk], b"data: x\n\n", 9, 0, self.clock.monotonic())

    async def beat(self, seconds: float = 1.0) -> None:
        self.clock.advance(seconds)
        await self.live.beat()


async def test_only_what_has_moved_is_written_again() -> None:
    pulse = Pulse()
    first, second, silent = (pulse.open(number) for number in range(3))
    await pulse.beat()
    assert pulse.ledger.written == []
    pulse.say(first)
    pulse.say(second)
    await pulse.beat()
    await pulse.beat()
    assert [sorted(ids) for ids in pulse.ledger.written] == [["req_0", "req_1"]]
    pulse.say(second, usage=Usage(3, 4))
    await pulse.beat()
    pulse.say(silent)
    pulse.end(second)
    await pulse.beat()
    assert pulse.ledger.written[1:] == [["req_1"], ["req_2"]]


@pytest.mark.parametrize(
    "wrong_usage", [None, Usage(3, cast("int", 1.5)), Usage(cast("int", "3"), 1), Usage(3, 2**64), Usage(-1, 2)]
)
async def test_a_stream_that_cannot_be_counted_is_cut_and_costs_no_other_its_checkpoint(
    wrong_usage: Usage | None,
) -> None:
    pulse = Pulse()
    wrong, right = pulse.open(0), pulse.open(1)
    pulse.say(wrong, cast("str", 42), usage=wrong_usage)
    pulse.say(right)
    await pulse.beat()
    assert pulse.ledger.written == [["req_1"]]
    assert (wrong.interrupt.reason, right.interrupt.reason) == ("provider_error", None)


async def test_a_count_alone_is_worth_a_checkpoint_once_there_is_text() -> None:
    pulse = Pulse()
    stream = pulse.open()
    stream.delivery.note_usage([Chunk(usage=Usage(3, 4))])
    await pulse.beat()
    assert pulse.ledger.written == []
    pulse.say(stream)
    await pulse.beat()
    stream.delivery.note_usage([Chunk(usage=Usage(3, 5))])
    await pulse.beat()
    assert pulse.ledger.written == [["req_0"], ["req_0"]]


async def test_what_could_not_be_written_is_written_at_the_next_beat_though_nothing_has_moved() -> None:
    pulse = Pulse()
    pulse.say(pulse.open())
    pulse.ledger.fails = True
    with pytest.raises(StoreError):
        await pulse.beat()
    pulse.ledger.fails = False
    await pulse.beat()
    await pulse.beat()
    assert pulse.ledger.written == [["req_0"], []]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["word", "waits", "taken", "served", "nothing"]), st.sampled_from([1.0, 7.0, 16.0, 41.0])
    ),
    max_size=12,
)


@given(STEPS)
async def test_a_stream_that_is_not_looked_at_has_nothing_to_be_seen(steps: list[tuple[str, float]]) -> None:
    """Two streams that fare alike: one is looked at by every beat, the other when the pulse thinks that it is due."""
    pulse = Pulse()
    looked, other = (pulse.open(number, route=None) for number in range(2))
    for step, seconds in steps:
        for stream in (looked, other):
            if step == "word":
                pulse.say(stream)
            elif step == "served":
                stream.route = ROUTE
            elif step != "nothing":
                pulse.clients[stream].waiting = int(step == "waits")
        pulse.live._due.put(looked, 0.0)
        await pulse.beat(seconds)
        assert looked.interrupt.reason == other.interrupt.reason
        assert pulse.clients[looked].comments == pulse.clients[other].comments


async def test_a_stream_that_ends_while_another_is_given_its_comment_is_given_none() -> None:
    pulse = Pulse()
    streams = [pulse.open(number) for number in range(2)]
    comments: list[bytes] = []

    async def write(data: bytes) -> bool:
        comments.append(data)
        for stream in streams:
            pulse.end(stream)
        return True

    for stream in streams:
        pulse.clients[stream].write = write  # type: ignore[method-assign]  # one that ends them
    await pulse.beat(SILENCE)
    assert comments == [KEEP_ALIVE]


async def test_an_idle_provider_is_cut_but_not_one_whose_client_is_slow() -> None:
    pulse = Pulse()
    idle, slow, thinking = pulse.open(0), pulse.open(1), pulse.open(2, route=None)
    pulse.clients[slow].waiting = 1
    await pulse.beat(39.0)
    assert idle.interrupt.reason is None
    await pulse.beat()
    assert [stream.interrupt.reason for stream in (idle, slow, thinking)] == ["provider_error", None, None]
    await pulse.beat(60.0)
    assert slow.interrupt.reason == "provider_error"  # it took too long in all
    assert (pulse.clients[slow].comments, thinking.interrupt.reason) == (0, None)


async def test_each_bearer_is_looked_at_once_and_ends_all_of_its_streams() -> None:
    pulse = Pulse()
    streams = [pulse.open(number, bearer=f"sk-{number % 3}") for number in range(9)]
    pulse.bearers.answers = {"sk-1": InvalidBearer(), "sk-2": InternalError("The plugin is at fault.")}
    for _ in range(REVOCATION_LOOK):
        await pulse.beat()
    assert sorted(str(bearer) for bearer in pulse.bearers.asked) == ["sk-0", "sk-1", "sk-2"]
    cut = [stream.interrupt.reason for stream in streams]
    assert cut == [None, "key_revoked", None] * 3


async def test_among_thousands_others_take_their_turn() -> None:
    pulse = Pulse()
    streams = [pulse.open(number) for number in range(5 * SLICE)]
    turns = 0

    async def other() -> None:
        nonlocal turns
        for stream in streams[-10:]:  # they end while they wait for their turn
            pulse.end(stream)
        while True:
            turns += 1
            await asyncio.sleep(0)

    for stream in streams:
        pulse.say(stream)
    task = asyncio.create_task(other())
    await pulse.beat()
    task.cancel()
    (written,) = pulse.ledger.written
    assert turns >= 5
    assert len(streams) - 10 <= len(set(written)) <= len(streams)


async def test_nothing_is_kept_of_a_stream_that_has_ended() -> None:
    pulse = Pulse()
    streams = [pulse.open(number, bearer=f"sk-{number % 2}") for number in range(4)]
    pulse.say(streams[0])
    await pulse.beat()
    for stream in streams:
        pulse.say(stream)
        pulse.end(stream)
    assert not pulse.live._streams
    assert not pulse.live._moved
    assert not pulse.live._bearers
    assert pulse.live._due.next_end() is None
    assert all(stream.delivery.on_move is None for stream in streams)
    await pulse.beat()
    assert pulse.ledger.written == [["req_0"]]


async def test_an_open_stream_is_not_looked_at_before_anything_can_be_due() -> None:
    pulse = Pulse()
    stream = pulse.open()
    looks = 0

    def unsent() -> int:
        nonlocal looks
        looks += 1
        return 0

    pulse.clients[stream].unsent = unsent  # type: ignore[method-assign]  # one that counts
    for _ in range(300):
        pulse.say(stream)
        await pulse.beat(0.1)
    assert looks <= 4


async def test_a_stream_that_cannot_be_looked_at_costs_no_other_its_comment() -> None:
    pulse = Pulse()
    streams = [pulse.open(number) for number in range(3)]

    def unsent() -> int:
        raise RuntimeError("the connection is a plugin's")

    pulse.clients[streams[0]].unsent = unsent  # type: ignore[method-assign]  # one that fails
    for _ in range(2):
        await pulse.beat(SILENCE)
    assert [pulse.clients[stream].comments for stream in streams] == [0, 2, 2]
