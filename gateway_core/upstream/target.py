"""Where a request goes: an address taken apart once, and the head of its requests written once."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from gateway_core.errors import Unavailable
from gateway_core.upstream.faults import NO_ADDRESS

_PORTS = {"http": 80, "https": 443}
_UNWANTED = re.compile(r"[\x00-\x20\x7f]")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "expect", "upgrade"})
_KEPT_AS_IT_IS = "%/:=&?~#+!$,;'@()*[]"


class Origin(NamedTuple):
    """What connections are kept for."""

    secure: bool
    host: str
    port: int


class Target:
    """One address. Raises Unavailable where it is none."""

    __slots__ = ("_head", "_headers", "_host", "_method", "_path", "origin")

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            scheme, host, port = parts.scheme, parts.hostname or "", parts.port
            if not host.isascii():
                host = host.encode("idna").decode("ascii")
        except ValueError:  # UnicodeError is one, too
            raise Unavailable(NO_ADDRESS) from None
        if _UNWANTED.search(url) or scheme not in _PORTS or not host or "@" in parts.netloc or port == 0:
            raise Unavailable(NO_ADDRESS)
        self.origin = Origin(scheme == "https", host, port or _PORTS[scheme])
        name = f"[{host}]" if ":" in host else host
        self._host = name if self.origin.port == _PORTS[scheme] else f"{name}:{self.origin.port}"
        path = quote(parts.path, safe=_KEPT_AS_IT_IS) or "/"
        self._path = f"{path}?{quote(parts.query, safe=_KEPT_AS_IT_IS)}" if parts.query else path
        self._method = ""
        self._headers: Mapping[str, str] = {}
        self._head = b""

    def head(self, method: str, headers: Mapping[str, str]) -> bytes:
        """The request's head up to the length of its body, which is the last of it.

        Requests to one address differ in nothing else, so the last head is kept.
        """
        if method != self._method or headers != self._headers:
            self._head = self._written(method, headers)
            self._method, self._headers = method, dict(headers)
        return self._head

    def _written(self, method: str, headers: Mapping[str, str]) -> bytes:
        lines = [f"{method} {self._path} HTTP/1.1", f"host: {self._host}"]
        for name, value in headers.items():
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name.lower() in _OURS:
                raise Unavailable("would be sent a header that no request can carry")
            if name.lower() != "accept-encoding":
                lines.append(f"{name}: {value}")
        lines += ["accept-encoding: identity", "content-length: "]
        return "\r\n".join(lines).encode("latin-1")
