"""Many calls one after the other, or many streams at once, on the real program, and what its memory does meanwhile."""

import argparse
import asyncio
import resource
import sqlite3
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway_core.store.rows import decode_checkpoints
from gateway_core.testing.server import PATIENCE, ServedGateway, serving
from scripts.trials.caller import connected, request
from scripts.trials.canned import canned_upstream

MIB = 1024 * 1024
CONFIG = """
[upstream]
max_connections = 20000

[providers.canned]
plugin = "provider-openai"
base_url = "{base_url}"

[models.quick]
routes = [{{ provider = "canned", model = "quick" }}]
price = {{ input = "1.00", output = "10.00" }}
max_output_tokens = 1000

[models.held]
routes = [{{ provider = "canned", model = "held" }}]
price = {{ input = "1.00", output = "10.00" }}
max_output_tokens = 1000
"""
ABREAST = 16
SAMPLES = 20
WARM = 0.5
"""The share of a soak's calls that warms up: caches, pools, pages of the store."""
MOST_GROWTH = 0.05
MOST_MEMORY = 400 * MIB
"""For 10,000 streams."""
FILES_A_STREAM = 2
FILES_BESIDES = 100
OPENING = 250
"""Streams that are opened at once."""


class TooFewFiles(Exception):
    """This process may not open as many files as the trial needs."""


@contextmanager
def soaked(folder: Path) -> Iterator[tuple[ServedGateway, str]]:
    """A gateway in front of the canned provider, and that one's address."""
    with (
        canned_upstream() as base_url,
        serving(folder / "home", config=CONFIG.format(base_url=base_url)) as gateway,
    ):
        yield gateway, base_url


def memory(gateway: ServedGateway) -> int:
    """Bytes of its process that are in memory."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


def settled(gateway: ServedGateway) -> int:
    """Rows of its ledger."""
    with closing(sqlite3.connect(f"file:{gateway.home / 'store.sqlite3'}?mode=ro", uri=True)) as db:
        rows: int = db.execute("SELECT count(*) FROM ledger").fetchone()[0]
    return rows


def _body(model: str, *, stream: bool) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], "stream": stream}


# ---------------------------------------------------------------- calls


@dataclass(frozen=True)
class Soak:
    """What a soak found: memory after each of its parts, in bytes, and the calls that are on the ledger."""

    samples: tuple[int, ...]
    settled: int

    @property
    def growth(self) -> float:
        """How much more memory there was at the end than after warming up, as a share."""
        after = self.samples[round(len(self.samples) * WARM)]
        return self.samples[-1] / after - 1


async def _calls(url: str, sent: bytes, count: int) -> None:
    """So many calls over connections that are kept; every answer must be a 200."""
    left = iter(range(count))
    loop = asyncio.get_running_loop()

    async def one_after_the_other() -> None:
        with await connected(url) as raw:
            for _ in left:
                await loop.sock_sendall(raw, sent)
                answer = b""
                while not _whole(answer):
                    data = await loop.sock_recv(raw, 65536)
                    assert data, "the gateway hung up"
                    answer += data
                assert answer.startswith(b"HTTP/1.1 200 "), answer[:500]

    await asyncio.gather(*(one_after_the_other() for _ in range(ABREAST)))


def _whole(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    if b"content-length:" not in head:
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(head.partition(b"content-length:")[2].split(b"\r\n")[0])


def calls(folder: Path, count: int) -> Soak:
    """Plain calls and streams in turn."""
    with soaked(folder) as (gateway, _):
        kinds = [
            request(gateway.key, _body("quick", stream=stream)).replace(b"connection: close\r\n", b"")
            for stream in (False, True)
        ]
        samples = []
        for part in range(SAMPLES):
            asyncio.run(_calls(gateway.url, kinds[part % 2], count // SAMPLES))
            samples.append(memory(gateway))
        found = Soak(tuple(samples), settled(gateway))
        assert gateway.stop() == 0
    return found


# ---------------------------------------------------------------- streams


@dataclass(frozen=True)
class Held:
    """What many streams at once were found to be: memory before and with all of them, and how they ended."""

    before: int
    memory: int
    #: In the log while all were open, those that others have outdated included.
    checkpoints: int
    ended: int
    settled: int


class _Listener(asyncio.Protocol):
    """A client of one stream."""

    def __init__(self, sent: bytes) -> None:
        self._sent = sent
        self._last = b""
        self.events = 0
        self._awaited = 0
        self._reached = asyncio.Event()
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._sent)

    def data_received(self, data: bytes) -> None:
        """Counts."""
        self.events += data.count(b"data: ")
        self._last = (self._last + data)[-64:]
        if self.events >= self._awaited:
            self._reached.set()

    async def heard_of(self, events: int) -> None:
        """Returns when so many events have come. Raises AssertionError where the stream was dropped before."""
        self._awaited = events
        if self.events < events:
            self._reached.clear()
            await self._reached.wait()
        assert not self.done.done(), "a stream was dropped"

    def connection_lost(self, _: Exception | None) -> None:
        """The end: whether it was a proper one."""
        self.done.set_result(b"data: [DONE]\n\n" in self._last)
        self._reached.set()


def allow_files(streams: int) -> None:
    """Raises the limit of open files for this process and those it starts. Raises TooFewFiles where it may not."""
    needed = FILES_A_STREAM * streams + FILES_BESIDES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, max(needed, hard)))
    except (ValueError, OSError):
        raise TooFewFiles(f"{streams} streams need {needed} open files, and {hard} are allowed: ulimit -n") from None


async def _open(gateway: ServedGateway, count: int) -> list[_Listener]:
    loop, host, port = asyncio.get_running_loop(), *gateway.url.removeprefix("http://").split(":")
    sent = request(gateway.key, _body("held", stream=True))
    listeners: list[_Listener] = []
    while len(listeners) < count:
        some = [
            loop.create_connection(lambda: _Listener(sent), host, int(port))
            for _ in range(min(OPENING, count - len(listeners)))
        ]
        listeners += [listener for _, listener in await asyncio.gather(*some)]
        await asyncio.gather(*(listener.heard_of(1) for listener in listeners[-OPENING:]))
    return listeners


async def _held(gateway: ServedGateway, base_url: str, count: int) -> Held:
    before = memory(gateway)
    async with asyncio.timeout(PATIENCE + count / 20):
        listeners = await _open(gateway, count)
        await asyncio.gather(*(listener.heard_of(listener.events + 3) for listener in listeners))
    with_all = memory(gateway)
    with closing(sqlite3.connect(f"file:{gateway.home / 'store.sqlite3'}?mode=ro", uri=True)) as db:
        checkpoints = sum(len(decode_checkpoints(packed)) for (packed,) in db.execute("SELECT rows FROM checkpoints"))
    await asyncio.to_thread(_end_all, base_url)
    ends = await asyncio.wait_for(asyncio.gather(*(listener.done for listener in listeners)), PATIENCE + count / 20)
    return Held(before, with_all, checkpoints, sum(ends), settled(gateway))


def _end_all(base_url: str) -> None:
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/end", timeout=PATIENCE) as answer:  # noqa: S310  # our own
        answer.read()


def streams(folder: Path, count: int) -> Held:
    """So many streams open at once, an event a second on each; all end properly. Raises TooFewFiles."""
    allow_files(count)
    with soaked(folder) as (gateway, base_url):
        found = asyncio.run(_held(gateway, base_url, count))
        assert gateway.spl("reconcile", "-o", "json").strip() == "[]"
        assert gateway.stop() == 0
    return found


# ---------------------------------------------------------------- the verb


def main() -> int:
    """Runs one soak and prints what it found; 1 where a bound was passed, 2 where it could not be run."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind, count, what in (
        ("calls", 100_000, "calls, one after the other on each of a few connections"),
        ("streams", 10_000, "streams at once"),
    ):
        kinds.add_parser(kind, help=what).add_argument("--count", type=int, default=count, help="default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spl-soak-") as folder:
        try:
            return {"calls": _soak_calls, "streams": _soak_streams}[options.kind](Path(folder), options.count)
        except TooFewFiles as error:
            print(f"soak: {error}", file=sys.stderr)
            return 2


def _soak_calls(folder: Path, count: int) -> int:
    found = calls(folder, count)
    print("memory in MiB:", " ".join(f"{sample / MIB:.1f}" for sample in found.samples))
    print(f"{found.settled} calls on the ledger; memory after warming up: {found.growth:+.1%}")
    return int(found.growth > MOST_GROWTH)


def _soak_streams(folder: Path, count: int) -> int:
    found = streams(folder, count)
    print(f"{count} streams: memory {found.before / MIB:.0f} MiB before, {found.memory / MIB:.0f} MiB with all of them")
    print(f"{found.ended} ended properly, {found.settled} settled; {found.checkpoints} checkpoints in the log")
    return int(found.memory > MOST_MEMORY or found.ended != count or found.settled != count)


if __name__ == "__main__":
    sys.exit(main())
