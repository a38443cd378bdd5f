"""Logs: one JSON object a line, with the request's id, and never a bearer or a prompt."""

import json
import logging
import re
import sqlite3
import sys
import traceback
from contextvars import ContextVar
from typing import Any, TextIO

from gateway_core.clock import iso
from gateway_core.errors import SplError

current_request: ContextVar[str | None] = ContextVar("current_request", default=None)
"""The id of the request that is being served; None outside of one."""

_SECRETS = re.compile(
    r"sk-[A-Za-z0-9_\-]{8,}"  # keys of ours and of providers
    r"|eyJ[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]+\.[A-Za-z0-9_\-]*"  # JWTs
    r"|(?i:\bbearer\s+)[^\s\"',;]+"
)
_QUOTABLE = (SplError, OSError, sqlite3.Error)
"""Errors whose text is about the machine. Others may repeat what a client sent, so only their type is logged."""


def redact(text: str) -> str:
    """The text without anything that looks like a bearer."""
    return _SECRETS.sub("[redacted]", text)


class JsonFormatter(logging.Formatter):
    """One line a record, whatever is in it: control characters are escaped, so nothing can forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one JSON object, ASCII only."""
        fields: dict[str, Any] = {
            "time": iso(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        request = current_request.get()
        if request is not None:
            fields["request_id"] = request
        if record.exc_info and record.exc_info[0] is not None:
            fields["exception"] = redact(_described(record.exc_info[1]))
        return json.dumps(fields, ensure_ascii=True).replace("\x7f", "\\u007f")


def configure(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Sends everything that is logged in this process to one stream, standard error by default."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Each request of an HTTP client and each connection of the server is not worth a line.
    for name in ("httpx", "httpx2", "httpcore", "httpcore2", "uvicorn", "asyncio"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _described(error: BaseException | None) -> str:
    """Where it was raised, and why as far as that can be told."""
    lines: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        frames = traceback.extract_tb(error.__traceback__)
        lines += [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
        name = type(error).__qualname__
        lines.append(f"{name}: {error}" if isinstance(error, _QUOTABLE) else name)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if error is not None:
            lines.append("because of")
    return "\n".join(lines)
