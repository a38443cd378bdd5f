"""Requests to addresses that customers registered: JWKS and push URLs. They must not lead into our own network.

The name is resolved here, every address it has is judged, and the connection goes to the very address that was: a
name that means something else a moment later cannot change where it leads. Redirects are not followed.
"""

import asyncio
import socket
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx2

from gateway_core.config_checks import is_http_url
from gateway_core.errors import OutsideError
from gateway_core.ports import OutsideAnswer

SECONDS = 5.0
"""What one request may take in all, the look-up of its name included."""

_PRIVATE = tuple(
    map(
        ip_network, ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1", "fc00::/7")
    )
)
_METADATA = ip_address("fd00:ec2::254")
"""A cloud's own, among addresses that are otherwise private; its other one is link-local."""
_NAT64 = int(IPv6Address("64:ff9b::"))
_CONNECTIONS = httpx2.Limits(max_connections=100, max_keepalive_connections=0)
"""None is kept: one to an address was verified for one name, and must not carry what is for another."""
_REFUSED = "leads to an address that is not public"

Address = IPv4Address | IPv6Address


class GuardedOutside:
    """`ports.Outside` over httpx2. `allow_private`: loopback and private addresses, and http, are fine, too."""

    def __init__(self, *, allow_private: bool, seconds: float = SECONDS) -> None:
        self._allow_private = allow_private
        self._seconds = seconds
        self._transports: dict[bool, httpx2.AsyncHTTPTransport] = {}

    def check(self, url: str) -> None:
        """Raises OutsideError where the address itself says that it may not be asked."""
        if not is_http_url(url):
            raise OutsideError("is not an http or https address")
        target = httpx2.URL(url)
        if target.scheme != "https" and not self._allow_private:
            raise OutsideError("is not an https address")
        try:
            address = ip_address(_host(target))
        except ValueError:
            return
        if not self._permitted(address):
            raise OutsideError(_REFUSED)

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, limit: int = 65_536
    ) -> OutsideAnswer:
        """One request, and an answer of at most `limit` bytes. Raises OutsideError."""
        self.check(url)
        try:
            async with asyncio.timeout(self._seconds):
                return await self._ask(method, httpx2.URL(url), headers, body, limit)
        except TimeoutError:
            raise OutsideError(f"did not answer within {self._seconds:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise OutsideError(f"could not be asked ({type(error).__name__})") from None

    async def close(self) -> None:
        """Closes every connection."""
        transports, self._transports = self._transports, {}
        for transport in transports.values():
            await transport.aclose()

    async def _ask(
        self, method: str, url: httpx2.URL, headers: Mapping[str, str], body: bytes, limit: int
    ) -> OutsideAnswer:
        host = _host(url)
        address = await self._resolve(host, url.port or (443 if url.scheme == "https" else 80))
        request = httpx2.Request(
            method,
            url.copy_with(host=str(address)),
            headers={**headers, "host": url.netloc.decode("ascii"), "accept-encoding": "identity"},
            content=body,
            # The certificate is asked for, and must be, the name's and not the address's.
            extensions={"sni_hostname": host},
        )
        response = await self._transport(secure=url.scheme == "https").handle_async_request(request)
        try:
            if 300 <= response.status_code < 400:
                raise OutsideError("answered with a redirect, and none is followed")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise OutsideError("sent a compressed answer, which was not asked for")
            pieces: list[bytes] = []
            size = 0
            async for piece in response.aiter_raw():
                size += len(piece)
                if size > limit:
                    raise OutsideError(f"sent an answer of more than {limit} bytes")
                pieces.append(piece)
        finally:
            await response.aclose()
        return OutsideAnswer(response.status_code, b"".join(pieces))

    async def _resolve(self, host: str, port: int) -> Address:
        """An address of the host. Raises OutsideError where it has none, or any that may not be asked."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise OutsideError("has a name that cannot be resolved") from None
        addresses = [ip_address(str(target[0]).partition("%")[0]) for *_, target in found]
        if not addresses or not all(map(self._permitted, addresses)):
            raise OutsideError(_REFUSED)
        return addresses[0]

    def _permitted(self, address: Address) -> bool:
        inner = _inside(address)
        if inner is not None:
            return self._permitted(inner)
        if address.is_global:
            return not address.is_multicast
        if not self._allow_private or address == _METADATA:
            return False
        return any(address.version == network.version and address in network for network in _PRIVATE)

    def _transport(self, *, secure: bool) -> httpx2.AsyncHTTPTransport:
        if secure not in self._transports:
            self._transports[secure] = httpx2.AsyncHTTPTransport(verify=secure, trust_env=False, limits=_CONNECTIONS)
        return self._transports[secure]


def _host(url: httpx2.URL) -> str:
    """The host as it is looked up and as a certificate has it."""
    return url.raw_host.decode("ascii").strip("[]")


def _inside(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for, if it does: judged instead of it."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    number = int(address)
    return IPv4Address(number & 0xFFFFFFFF) if number >> 32 == _NAT64 >> 32 else None
