"""What is looked at before anything else: the client's address, its bearer, and how much it may send."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Message, Receive, Scope

from gateway_core.errors import ConfigError, InvalidBearer, InvalidRequest, RequestTooLarge

_MAX_BEARER = 8192
_MAX_HOPS = 64
_MAX_IDEMPOTENCY_KEY = 255

Address = IPv4Address | IPv6Address


class ClientGone(Exception):
    """The client hung up, or took too long, before its request was whole."""


# ---------------------------------------------------------------- address


class Addresses:
    """Finds a client's address: the socket's, or what a proxy that is configured as trusted says it is."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._trusted = tuple(_network(text) for text in trusted)

    def client(self, scope: Scope) -> str:
        """The address of the client behind every trusted proxy; "" on a socket that has none."""
        client = scope.get("client")
        return self.of(client[0] if client else "", scope["headers"])

    def of(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """The same, of the socket's other end and a request's headers.

        Each trusted proxy appended the address that it saw, so the entries are read from the right: the first one
        that is no trusted proxy's is the client, and whatever stands left of it is what the client made up.
        """
        if not self._trusted:
            return peer.removeprefix("::ffff:") if peer.startswith("::ffff:") else peer
        address = _parse(peer)
        if address is None:
            return peer
        for entry in _forwarded(headers):
            if not self._is_trusted(address):
                break
            hop = _parse(entry)
            if hop is None:
                break
            address = hop
        return str(address)

    def secure(self, scope: Scope) -> bool:
        """Whether the client came by TLS: the socket's, or what a trusted proxy next to us says."""
        if scope.get("scheme") == "https":
            return True
        client = scope.get("client")
        peer = _parse(client[0] if client else "")
        if peer is None or not self._is_trusted(peer):
            return False
        said = [value for name, value in scope["headers"] if name == b"x-forwarded-proto"]
        return bool(said) and said[-1].split(b",")[-1].strip().lower() == b"https"

    def _is_trusted(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._trusted)


def counting_address(address: str) -> str:
    """What an address is counted under: an IPv6 client by its /64, since it may use any address in there."""
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
    return address if parsed is None else str(parsed)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ConfigError(
            f'{text!r} is not an address or a network such as "10.0.0.0/8"', where="[server] trusted_proxies"
        ) from None


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """The entries of X-Forwarded-For, nearest proxy's first."""
    lines = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
    return [entry.strip() for entry in ",".join(lines).split(",")][: -_MAX_HOPS - 1 : -1] if lines else []


def _parse(text: str) -> Address | None:
    """An address as proxies write one: bare, with a port, or in brackets."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


# ---------------------------------------------------------------- bearer


def bearer_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The token of the Authorization header; None only where there is no such header.

    Anything that is not one well-formed `Bearer` header is an InvalidBearer, and never anonymous.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            if found is not None:
                raise InvalidBearer
            found = value
    if found is None:
        return None
    scheme, _, token = found.strip().partition(b" ")
    token = token.lstrip()
    if scheme.lower() != b"bearer" or not token or len(token) > _MAX_BEARER:
        raise InvalidBearer
    text = token.decode("latin-1")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidBearer
    return text


# ---------------------------------------------------------------- idempotency key


def idempotency_key_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The Idempotency-Key header; None where there is none. Raises InvalidRequest for one that cannot be a key."""
    found: bytes | None = None
    for name, value in headers:
        if name == b"idempotency-key":
            if found is not None:
                raise _bad_key()
            found = value
    if found is None:
        return None
    text = found.decode("latin-1")
    if not 1 <= len(text) <= _MAX_IDEMPOTENCY_KEY or not text.isascii() or not text.isprintable():
        raise _bad_key()
    return text


def _bad_key() -> InvalidRequest:
    message = f"The header Idempotency-Key must be there once, with 1 to {_MAX_IDEMPOTENCY_KEY} printable characters."
    return InvalidRequest(message, param="Idempotency-Key")


# ---------------------------------------------------------------- body


def check_body_headers(headers: Iterable[tuple[bytes, bytes]], limit: int) -> None:
    """Refuses, before a byte of it is read, a body that says it is too large or comes compressed."""
    for name, value in headers:
        if name == b"content-length":
            if not value.isdigit() or len(value) > 18 or int(value) > limit:
                raise too_large(limit)
        elif name == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
            raise InvalidRequest("Send the body as it is: a Content-Encoding is not accepted here.")


def too_large(limit: int) -> RequestTooLarge:
    """The refusal of a body over `limit` bytes."""
    return RequestTooLarge(f"The request body is larger than {limit} bytes.")


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises RequestTooLarge at the first byte over the limit, ClientGone where it never became whole.

    How long it may take is the server's to enforce: it hangs up.
    """
    check_body_headers(scope["headers"], limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > limit:
            raise too_large(limit)
        return body
    return await _read_rest(bytearray(body), receive, limit)


async def _read_rest(body: bytearray, receive: Receive, limit: int) -> bytes:
    more = True
    while more:
        if len(body) > limit:
            raise too_large(limit)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if len(body) > limit:
        raise too_large(limit)
    return bytes(body)


def capped(scope: Scope, receive: Receive, limit: int) -> Receive:
    """A `receive` that holds a handler's own reading to the limit."""
    check_body_headers(scope["headers"], limit)
    taken = 0

    async def receive_capped() -> Message:
        nonlocal taken
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > limit:
                raise too_large(limit)
        return message

    return receive_capped
