"""What a person sees while something takes longer than two seconds."""

import sys
import threading
import time
from types import TracebackType
from typing import Self

from gateway_core.cli.output import on_terminal

_QUIET_FOR = 2.0


class Progress:
    """Shows on standard error, on a terminal only, what is being done and for how long. A context manager."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._done = threading.Event()
        self._shown = False
        self._thread = threading.Thread(target=self._show, daemon=True)

    def _show(self) -> None:
        begun, wait = time.monotonic(), _QUIET_FOR
        while not self._done.wait(wait):
            self._shown, wait = True, 1.0
            sys.stderr.write(f"\r{self._what}… {time.monotonic() - begun:.0f} s")
            sys.stderr.flush()

    def __enter__(self) -> Self:
        if on_terminal(sys.stderr):
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
