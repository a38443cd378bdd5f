"""Requests to addresses that customers registered: JWKS and push URLs. They must not lead into our own network.

The name is resolved here, every address it has is judged, and the connection goes to the very address that was: a
name that means something else a moment later cannot change where it leads. Redirects are not followed.

Names are looked up in threads of their own: a slow one, of somebody's choice, holds up nothing else. Where only public
addresses may be asked, a name that leads to an inner one is refused in the same words as one that leads nowhere: what
names there are inside is nobody's business.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
_ISATAP = (0x00005EFE, 0x02005EFE)
"""What stands before an IPv4 address in an IPv6 one that is a tunnel to it."""
_UNICAST = ip_network("2000::/3")
"""All public IPv6 addresses. What is beyond it, and of no use that is known here, may lead anywhere inside."""
_NOBODYS = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20")))
"""Not all of Python's versions know that these are not public; a cloud had its metadata in the first."""
_CONNECTIONS = httpx2.Limits(max_connections=8, max_keepalive_connections=8, keepalive_expiry=30.0)
_HOSTS_KEPT = 256
_LOOK_UPS = 32
"""Names that are looked up at once; others wait, and their requests' time passes. A look-up goes on after its request
has given up, so these are more than one account can keep busy."""
_PAST_PATH = re.compile(r"[?#]")
_REFUSED = "leads to an address that is not public"
_NOWHERE = "has a name that cannot be resolved, or is not public"

Address = IPv4Address | IPv6Address


class _Line:
    """Connections to one host by its name: two names may share an address, and one that was verified for the one name
    must not carry what is for the other."""

    def __init__(self, transport: httpx2.AsyncHTTPTransport) -> None:
        self.transport = transport
        #: Requests under way.
        self.busy = 0


class GuardedOutside:
    """`ports.Outside` over httpx2. `allow_private`: loopback and private addresses are fine, too; `allow_http`: and so
    is http (None: where private addresses are); `allow_query`: and what follows a path, for addresses of files."""

    def __init__(
        self,
        *,
        allow_private: bool,
        allow_http: bool | None = None,
        allow_query: bool = False,
        seconds: float = SECONDS,
    ) -> None:
        self._allow_private = allow_private
        self._allow_http = allow_private if allow_http is None else allow_http
        self._allow_query = allow_query
        self._names = ThreadPoolExecutor(_LOOK_UPS, "outside-names")
        self._seconds = seconds
        #: Scheme, host and port → its line, the one used last at the end.
        self._lines: dict[tuple[str, str, int | None], _Line] = {}
        #: Made once: loading the certificates takes long.
        self._certificates: ssl.SSLContext | None = None

    def check(self, url: str) -> None:
        """Raises OutsideError where the address itself says that it may not be asked."""
        if not is_http_url(_PAST_PATH.split(url, maxsplit=1)[0] if self._allow_query else url):
            raise OutsideError("is not an http or https address")
        try:
            target = httpx2.URL(url)
        except httpx2.InvalidURL:
            raise OutsideError("is not an http or https address") from None
        if target.scheme != "https" and not self._allow_http:
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
        self._names.shutdown(wait=False, cancel_futures=True)
        lines, self._lines = self._lines, {}
        for line in lines.values():
            await line.transport.aclose()

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
        line = await self._line(url.scheme, host, url.port)
        line.busy += 1
        try:
            return await _answer(line.transport, request, limit)
        finally:
            line.busy -= 1

    async def _line(self, scheme: str, host: str, port: int | None) -> _Line:
        """The line to a host; those that were not used for longest are closed where there are many."""
        line = self._lines.pop((scheme, host, port), None)
        if line is None:
            idle = [key for key, each in self._lines.items() if not each.busy]
            for key in idle[: max(0, len(self._lines) - _HOSTS_KEPT + 1)]:
                await self._lines.pop(key).transport.aclose()
            if scheme == "https" and self._certificates is None:
                self._certificates = httpx2.create_ssl_context(trust_env=False)
            verify: ssl.SSLContext | bool = self._certificates or False
            line = _Line(httpx2.AsyncHTTPTransport(verify=verify, trust_env=False, limits=_CONNECTIONS))
        self._lines[scheme, host, port] = line
        return line

    async def _resolve(self, host: str, port: int) -> Address:
        """An address of the host. Raises OutsideError where it has none, or any that may not be asked."""
        loop = asyncio.get_running_loop()
        try:
            look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            found = await loop.run_in_executor(self._names, look_up)
        except (OSError, UnicodeError):
            raise OutsideError(_NOWHERE) from None
        addresses = [ip_address(str(target[0]).partition("%")[0]) for *_, target in found]
        if not addresses or not all(map(self._permitted, addresses)):
            raise OutsideError(_NOWHERE)
        return addresses[0]

    def _permitted(self, address: Address) -> bool:
        inner = _inside(address)
        if inner is not None:
            return self._permitted(inner)
        if address.is_global and (address.version == 4 or address in _UNICAST):
            nobodys = any(address.version == network.version and address in network for network in _NOBODYS)
            return not address.is_multicast and not nobodys
        if not self._allow_private or address == _METADATA:
            return False
        return any(address.version == network.version and address in network for network in _PRIVATE)


async def _answer(transport: httpx2.AsyncHTTPTransport, request: httpx2.Request, limit: int) -> OutsideAnswer:
    response = await transport.handle_async_request(request)
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
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return OutsideAnswer(response.status_code, b"".join(pieces), kind)


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
    held = number >> 32 == _NAT64 >> 32 or number >> 32 & 0xFFFFFFFF in _ISATAP
    return IPv4Address(number & 0xFFFFFFFF) if held else None
