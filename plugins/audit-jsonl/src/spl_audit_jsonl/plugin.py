"""The plugin: a sink whose records are lines of a file, several of them with one wait for the disk."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from gateway_core.errors import ConfigError
from gateway_core.hookspecs import API, hookimpl
from gateway_core.ports import Clock
from gateway_core.services import Services
from gateway_core.types import Record
from spl_audit_jsonl.journal import Journal

REMEMBERED = 20_000
"""Lines that a record which comes again is known by."""

_SECTION = "plugins.audit-jsonl"
_encode = msgspec.json.Encoder().encode


class AuditJsonlSettings(msgspec.Struct, frozen=True):
    """`[plugins.audit-jsonl]`. Without a path the plugin does nothing."""

    #: The file; a relative path is in the home.
    path: str | None = None
    #: A file that would become larger is put aside.
    max_bytes: Annotated[int, Meta(ge=1024, le=2**40)] = 64 * 1024 * 1024
    #: Also put aside at the first record of each UTC day.
    daily: bool = False
    #: How many files that were put aside are kept; None: all.
    keep: Annotated[int, Meta(ge=1)] | None = None
    #: A record is on the disk before it counts as taken.
    fsync: bool = True


class _Line(NamedTuple):
    hash: str
    text: bytes
    taken: "asyncio.Future[None]"


class Plugin:
    """Writes records to the file that is configured."""

    API = API
    Settings = AuditJsonlSettings

    def __init__(self, settings: AuditJsonlSettings) -> None:
        self._settings = settings
        self._writer: _Writer | None = None

    @hookimpl
    async def startup(self, services: Services) -> None:
        """Opens and repairs the file. Raises ConfigError where it cannot be written."""
        settings = self._settings
        if settings.path is None:
            return
        journal = Journal(
            services.home / settings.path,
            max_bytes=settings.max_bytes,
            daily=settings.daily,
            keep=settings.keep,
            fsync=settings.fsync,
        )
        writer = _Writer(journal, services.clock)
        try:
            await writer.start()
        except BlockingIOError:
            raise ConfigError("another process writes to this file; name another", where=f"{_SECTION}.path") from None
        except OSError as error:
            why = (error.strerror or type(error).__name__).lower()
            raise ConfigError(f"{journal.path} cannot be written: {why}", where=f"{_SECTION}.path") from None
        self._writer = writer

    @hookimpl
    async def shutdown(self) -> None:
        """Writes what waits, and closes."""
        if self._writer is not None:
            await self._writer.stop()

    @hookimpl
    async def wants_audit(self, account_id: str) -> bool:  # noqa: ARG002  # all accounts, or none
        """Every account's records, where a file is configured."""
        return self._writer is not None

    @hookimpl
    async def emit_audit(self, record: Record) -> None:
        """Returns when the record's line is on the disk. Raises where it is not."""
        if self._writer is not None:
            await self._writer.take(record)


class _Writer:
    """Lines that wait for the file; all that wait are written together, in one thread."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        #: The hashes of the last lines.
        self._written: dict[str, None] = {}
        self._waiting: list[_Line] = []
        self._came = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Opens the file and learns what was written last. Raises OSError."""
        await asyncio.to_thread(self._journal.open, self._clock.now_ms())
        for line in await asyncio.to_thread(_hashes, self._journal):
            self._remember(line)
        self._task = asyncio.create_task(self._run(), name="audit-jsonl")

    async def stop(self) -> None:
        """Writes what waits, and closes the file."""
        self._closing = True
        self._came.set()
        if self._task is not None:
            await self._task
        await asyncio.to_thread(self._journal.close)

    async def take(self, record: Record) -> None:
        """Returns when the record's line is written, by now or before. Raises where it could not be."""
        if record.hash in self._written:
            return
        line = _Line(record.hash, _text(record), asyncio.get_running_loop().create_future())
        self._waiting.append(line)
        self._came.set()
        await line.taken

    async def _run(self) -> None:
        while not (self._closing and not self._waiting):
            await self._came.wait()
            if not self._closing:
                self._came.clear()
            lines, self._waiting = self._waiting, []
            # One that was given up waiting for may have come again meanwhile.
            new = {line.hash: line.text for line in lines if line.hash not in self._written}
            failed: Exception | None = None
            if new:
                try:
                    await asyncio.to_thread(self._journal.write, list(new.values()), self._clock.now_ms())
                except Exception as error:  # noqa: BLE001  # whatever it is: these records come again, and others, too
                    failed = error
                else:
                    for hash_ in new:
                        self._remember(hash_)
            for line in lines:
                if not line.taken.done():
                    if failed is None:
                        line.taken.set_result(None)
                    else:
                        line.taken.set_exception(failed)

    def _remember(self, hash_: str) -> None:
        self._written[hash_] = None
        while len(self._written) > REMEMBERED:
            del self._written[next(iter(self._written))]


def _text(record: Record) -> bytes:
    at = datetime.fromtimestamp(record.created_at / 1000, UTC).isoformat(timespec="milliseconds")
    # In JSON a line break as such is never content: in a text it is written as \n.
    body = bytes(record.body).replace(b"\n", b" ").replace(b"\r", b" ")
    line = {
        "account": record.account_id,
        "thread": record.thread,
        "sequence": record.sequence,
        "id": record.id,
        "created_at": at.replace("+00:00", "Z"),
        "hash": record.hash,
        "body": msgspec.Raw(body),
    }
    return _encode(line) + b"\n"


class _Written(msgspec.Struct):
    hash: str


def _hashes(journal: Journal) -> list[str]:
    """What the last lines say that they are; what somebody else has put into the file is not ours."""
    found = []
    for line in journal.last_lines(REMEMBERED):
        try:
            found.append(msgspec.json.decode(line, type=_Written).hash)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found
