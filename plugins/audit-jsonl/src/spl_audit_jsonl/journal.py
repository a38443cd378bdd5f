"""The file: lines are appended whole or not at all, it is put aside when it is large or a day is over, and repaired."""

import contextlib
import fcntl
import logging
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

log = logging.getLogger("spl_audit_jsonl")

_BLOCK = 1024 * 1024
_TAIL = 32 * 1024 * 1024
"""Bytes of the end of a file that are read to find its last lines."""


class Journal:
    """One file of lines and those put aside before it. Its methods block; one thread at a time uses it."""

    def __init__(self, path: Path, *, max_bytes: int, daily: bool, keep: int | None, fsync: bool) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._daily = daily
        self._keep = keep
        self._fsync = fsync
        self._file = -1
        self._size = 0
        self._day = ""

    def open(self, now_ms: int) -> None:
        """Opens and repairs it. Raises OSError, and BlockingIOError where another process writes to it."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._begin(now_ms)
        self._repair()

    def write(self, lines: Sequence[bytes], now_ms: int) -> None:
        """Appends lines, each with its line break. Raises OSError, and then none of them is there."""
        if self._file < 0:
            self._begin(now_ms)
        data = b"".join(lines)
        full = self._size + len(data) > self._max_bytes
        if self._size and (full or (self._daily and _day(now_ms) != self._day)):
            self._rotate(now_ms)
        if not self._size:
            self._day = _day(now_ms)
        try:
            _write_all(self._file, data)
            if self._fsync:
                os.fsync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def close(self) -> None:
        """Puts what was written on the disk, and closes."""
        if self._file >= 0:
            file, self._file = self._file, -1
            with contextlib.suppress(OSError):
                os.fsync(file)
            os.close(file)

    def last_lines(self, count: int) -> Iterator[bytes]:
        """The last lines that were written, at most `count`; those of the newest file first."""
        for path in [self.path, *reversed(self.aside())]:
            lines = _tail(path)[-count:]
            yield from lines
            count -= len(lines)
            if count <= 0:
                return

    def aside(self) -> list[Path]:
        """The files that were put aside, the oldest first."""
        stem, suffix = re.escape(self.path.stem), re.escape(self.path.suffix)
        name = re.compile(rf"{stem}-\d{{8}}T\d{{9}}{suffix}")
        return sorted(path for path in self.path.parent.iterdir() if name.fullmatch(path.name))

    def _named_for(self, at_ms: int) -> Path:
        stamp = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y%m%dT%H%M%S")
        return self.path.with_name(f"{self.path.stem}-{stamp}{at_ms % 1000:03}{self.path.suffix}")

    def _begin(self, now_ms: int) -> None:
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(file)
            _sync_directory(self.path.parent)
        except OSError:
            os.close(file)
            raise
        self._file, self._size = file, found.st_size
        self._day = _day(int(found.st_mtime * 1000) if found.st_size else now_ms)

    def _repair(self) -> None:
        """Removes a last line that has no end: its record was not taken, and comes again."""
        whole = end = self._size
        while end:
            begin = max(0, end - _BLOCK)
            place = os.pread(self._file, end - begin, begin).rfind(b"\n")
            if place >= 0:
                whole = begin + place + 1
                break
            end = whole = begin
        if whole < self._size:
            log.warning("%s: %d bytes of a line that was half written are removed", self.path, self._size - whole)
            os.ftruncate(self._file, whole)
            self._size = whole

    def _rotate(self, now_ms: int) -> None:
        self.close()
        ended = now_ms
        while (aside := self._named_for(ended)).exists():
            ended += 1
        self.path.rename(aside)
        self._begin(now_ms)
        if self._keep is not None:
            for old in self.aside()[: -self._keep]:
                old.unlink(missing_ok=True)


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


def _tail(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            lines = file.read().split(b"\n")
    except OSError:
        return []
    return lines[size > _TAIL : -1]


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
