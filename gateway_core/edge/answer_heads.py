"""The heads of calls' answers. What all have in common stands written; each puts in what is its own, in one go."""

from collections.abc import Sequence
from typing import Protocol

from gateway_core.config import ServerConfig
from gateway_core.edge.errors import Headers
from gateway_core.money import Units, cents
from gateway_core.types import LimitState
from gateway_core.wire.ratelimit import lines as limit_lines

_MOST_TIERS = 256
"""Tiers whose line is kept. There are few, unless a plugin makes them up."""


class Answering(Protocol):
    """What the head of a call's answer says of the call."""

    request_id: str
    tier: str | None
    limits: Sequence[LimitState]
    #: The call whose answer it is, where it is not this one's.
    replayed: str | None


class OnConnection(Protocol):
    """What a head says of the connection besides."""

    request_id: str
    #: Whether another request may follow.
    keep_alive: bool


class AnswerHeads:
    """Writes them. A line ends with its only line break: just a tier could bring another, and is looked at."""

    def __init__(self, server: ServerConfig) -> None:
        prefix = server.header_prefix.lower()
        self._tier = f"{prefix}tier"
        self._id = f"{prefix}request-id"
        self._cost = f"content-type: application/json\r\n{prefix}cost-cents"
        self._original = f"{prefix}original-request-id"
        self._defaults: Headers = []
        self._own = self._ok = ""
        self._tiers: dict[str | None, str] = {None: ""}

    # ------------------------------------------------------------ the lines of a call

    def known(self, client: Answering) -> str:
        """What is known before an answer is: the tier, what is left of its limits, and whose answer it is."""
        tier = self._tiers.get(client.tier)
        text = self._tier_line(client.tier) if tier is None else tier
        if client.limits:
            text += limit_lines(client.limits)
        if client.replayed is not None:
            text += f"idempotent-replayed: true\r\n{self._original}: {client.replayed}\r\n"
        return text

    def plain(self, client: Answering, charge: Units, size: int) -> str:
        """The lines of a plain answer of `size` bytes."""
        return f"{self.known(client)}{self._cost}: {cents(charge)}\r\ncontent-length: {size}\r\n"

    def stream(self, client: Answering) -> str:
        """The lines of a stream."""
        return (
            f"{self.known(client)}content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
            "x-accel-buffering: no\r\n"
        )

    def _tier_line(self, tier: str | None) -> str:
        if tier is None:
            return ""
        if "\r" in tier or "\n" in tier:
            raise ValueError("a tier that an answer names has a line break in it")
        if len(self._tiers) >= _MOST_TIERS:
            self._tiers = {None: ""}
        line = self._tiers[tier] = f"{self._tier}: {tier}\r\n"
        return line

    # ------------------------------------------------------------ what all answers have in common

    def common(self, defaults: Headers, request_id: str) -> str:
        """The lines that each of our answers has: the server's own, and the request's id under both its names."""
        if defaults is not self._defaults:
            self._renew(defaults)
        return f"{self._own}: {request_id}\r\nx-request-id: {request_id}\r\n"

    def whole(self, defaults: Headers, client: OnConnection, lines: str) -> bytes:
        """The whole head of a completion, of which `lines` are the call's."""
        if defaults is not self._defaults:
            self._renew(defaults)
        request_id = client.request_id
        close = "" if client.keep_alive else "connection: close\r\n"
        return f"{self._ok}: {request_id}\r\nx-request-id: {request_id}\r\n{lines}{close}\r\n".encode()

    def _renew(self, defaults: Headers) -> None:
        """Takes over the server's lines, which it makes anew once a second, for the date."""
        self._defaults = defaults
        self._own = "".join([f"{name.decode()}: {value.decode()}\r\n" for name, value in defaults]) + self._id
        self._ok = f"HTTP/1.1 200 OK\r\n{self._own}"
