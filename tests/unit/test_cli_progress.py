"""What a person sees of a long command, and what a program does not."""

import io
import sys
import threading

import pytest

from gateway_core.cli import progress
from gateway_core.cli.progress import Progress


class Terminal(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.written.set()


def test_on_a_terminal_it_shows_after_a_while_and_cleans_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_QUIET_FOR", 0.0)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("backing up"):
        assert terminal.written.wait(10)
    assert terminal.getvalue().startswith("\rbacking up… 0 s")
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_what_is_quick_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_QUIET_FOR", 3600.0)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("backing up"):
        pass
    assert terminal.getvalue() == ""


def test_elsewhere_it_shows_nothing_however_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_QUIET_FOR", 0.0)
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    before = threading.active_count()
    with Progress("backing up"):
        assert threading.active_count() == before
    assert file.getvalue() == ""
