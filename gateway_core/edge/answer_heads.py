"""The heads of calls' answers. What all have in common stands written; each puts in what is its own, in one go."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from gateway_core.config import ServerConfig
from gateway_core.edge.errors import Headers
from gateway_core.money import Units, cents
from gateway_core.types import LimitState
from gateway_core.wire.ratelimit import lines as limit_lines

_CLOSE = "connection: close\r\n"


class Answering(Protocol):
    """What the head of a call's answer says of the call."""

    request_id: str
    tier: str | None
    limits: Sequence[LimitState]
    #: The call whose answer it is, where it is not this one's.
    replayed: str | None


class AnswerHeads:
    """Writes them. A line ends with its only line break: just a tier could bring another, and is looked at."""

    def __init__(self, server: ServerConfig) -> None:
        prefix = server.header_prefix.lower()
        self._tier = f"{prefix}tier"
        self._id = f"{prefix}request-id"
        self._cost = f"{prefix}cost-cents"
        self._original = f"{prefix}original-request-id"
        self._defaults: Headers = []
        self._own = ""

    # ------------------------------------------------------------ the lines of a call

    def known(self, client: Answering) -> str:
        """What is known before an answer is: the tier, what is left of its limits, and whose answer it is."""
        text = "" if client.tier is None else _line(self._tier, client.tier)
        if client.limits:
            text += limit_lines(client.limits)
        if client.replayed is not None:
            text += f"idempotent-replayed: true\r\n{self._original}: {client.replayed}\r\n"
        return text

    def plain(self, client: Answering, charge: Units) -> str:
        """The lines of a plain answer."""
        return f"{self.known(client)}content-type: application/json\r\n{self._cost}: {cents(charge)}\r\n"

    def stream(self, client: Answering) -> str:
        """The lines of a stream."""
        return (
            f"{self.known(client)}content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
            "x-accel-buffering: no\r\n"
        )

    # ------------------------------------------------------------ a head on a connection of ours

    def ok(self, defaults: Headers, request_id: str, lines: str, framing: str, *, keep_alive: bool) -> bytes:
        """The head of a good answer; `defaults` are the server's own headers."""
        close = "" if keep_alive else _CLOSE
        return f"HTTP/1.1 200 OK\r\n{self.common(defaults, request_id)}{lines}{close}{framing}\r\n".encode()

    def common(self, defaults: Headers, request_id: str) -> str:
        """The lines that each of our answers has: the server's own, and the request's id under both its names."""
        if defaults is not self._defaults:  # the server makes new ones once a second, for the date
            self._defaults = defaults
            self._own = "".join([f"{name.decode()}: {value.decode()}\r\n" for name, value in defaults])
        return f"{self._own}{self._id}: {request_id}\r\nx-request-id: {request_id}\r\n"


def pairs(lines: str) -> Headers:
    """Lines as ASGI wants them: pairs of name and value."""
    split = [line.partition(b": ") for line in lines.encode().split(b"\r\n") if line]
    return [(name, value) for name, _, value in split]


@lru_cache(maxsize=256)  # a pure function: there are few tiers
def _line(name: str, value: str) -> str:
    if "\r" in value or "\n" in value:
        raise ValueError(f"the {name} of an answer has a line break in it")
    return f"{name}: {value}\r\n"
