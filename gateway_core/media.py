"""Images and files that a request names by address, fetched here where the provider does not do so itself.

It happens in the provider, after the hold and before the provider is asked: what cannot be had ends the call with 400
and a charge of nothing. Each address is judged and asked as `upstream/outside.py` does; what comes back is bounded in
size, in time and in number, and must be what it says it is. Nothing is remembered: what is at an address may change.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from gateway_core.config import MediaConfig
from gateway_core.errors import InvalidRequest, NoConnectionFree, OutsideError
from gateway_core.ports import MediaFile, MediaLink, Outside, OutsideAnswer
from gateway_core.upstream.outside import GuardedOutside

AGENT = "spl-gateway"

_MAGIC: tuple[tuple[str, int, bytes], ...] = (
    ("image/png", 0, b"\x89PNG\r\n\x1a\n"),
    ("image/jpeg", 0, b"\xff\xd8\xff"),
    ("image/gif", 0, b"GIF87a"),
    ("image/gif", 0, b"GIF89a"),
    ("image/webp", 8, b"WEBP"),
    ("image/avif", 4, b"ftypavif"),
    ("image/heic", 4, b"ftypheic"),
    ("image/heic", 4, b"ftypheix"),
    ("image/heif", 4, b"ftypmif1"),
    ("image/tiff", 0, b"II*\0"),
    ("image/tiff", 0, b"MM\0*"),
    ("image/bmp", 0, b"BM"),
    ("application/pdf", 0, b"%PDF-"),
)
"""Type, place and bytes that a file of that type has there."""
_TELLING = frozenset(kind for kind, _, _ in _MAGIC)
"""Types that show by their first bytes."""
_SAME = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "image/x-ms-bmp": "image/bmp",
}
_UNTOLD = frozenset({"", "application/octet-stream", "binary/octet-stream"})


class FetchedMedia:
    """`ports.Media` over an `Outside` of its own."""

    def __init__(self, outside: Outside, config: MediaConfig) -> None:
        self._outside = outside
        self._config = config
        self._turns = asyncio.Semaphore(config.at_once)
        #: Account → its own turns; there while anything of it is wanted.
        self._accounts: dict[str, _Turns] = {}

    @classmethod
    def configured(cls, config: MediaConfig) -> "FetchedMedia":
        """As `[media]` says."""
        outside = GuardedOutside(
            allow_private=config.allow_private_addresses,
            allow_http=config.allow_http,
            allow_query=True,
            seconds=config.seconds,
        )
        return cls(outside, config)

    async def fetch(self, account_id: str, links: Sequence[MediaLink]) -> dict[str, MediaFile]:
        """Each address once, side by side; the first that fails ends the others."""
        wanted: dict[str, MediaLink] = {}
        for link in links:
            if link.url not in wanted:
                self._check(link, len(wanted))
                wanted[link.url] = link
        request = _Request(self._config.max_request_bytes)
        tasks = [asyncio.ensure_future(self._one(account_id, link, request)) for link in wanted.values()]
        try:
            files = dict(zip(wanted, await asyncio.gather(*tasks), strict=True))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for link in links:
            _expect(files[link.url].type, link)
        return files

    async def close(self) -> None:
        """Closes every connection."""
        await self._outside.close()

    def _check(self, link: MediaLink, others: int) -> None:
        if not self._config.max_files:
            raise InvalidRequest(
                f"{link.param} is an address, and this gateway fetches nothing: send the file itself, as a data URL.",
                param=link.param,
            )
        if others == self._config.max_files:
            raise InvalidRequest(
                f"{link.param}: a request may name at most {self._config.max_files} files by address.",
                param=link.param,
            )
        try:
            self._outside.check(link.url)
        except OutsideError as error:
            raise _refusal(link, str(error)) from None

    async def _one(self, account_id: str, link: MediaLink, request: "_Request") -> MediaFile:
        headers = {"accept": ", ".join(sorted(link.types)), "user-agent": AGENT}
        async with self._turn(account_id):
            if request.left < 0:
                raise _refusal(link, request.too_much)
            try:
                answer = await self._outside.ask("GET", link.url, headers, limit=self._config.max_bytes)
            except OutsideError as error:
                raise _refusal(link, str(error)) from None
            request.left -= len(answer.body)
        if answer.status != 200:
            raise _refusal(link, f"answered {answer.status}")
        if request.left < 0:
            raise _refusal(link, request.too_much)
        return MediaFile(_type_of(answer, link), answer.body)

    @asynccontextmanager
    async def _turn(self, account_id: str) -> AsyncIterator[None]:
        """While it lasts, one of the files that may be fetched at once. Raises NoConnectionFree."""
        mine = self._accounts.setdefault(account_id, _Turns(self._config.at_once_per_account))
        mine.wanted += 1
        try:
            async with AsyncExitStack() as turns:
                try:
                    async with asyncio.timeout(self._config.seconds):
                        await turns.enter_async_context(mine)
                        await turns.enter_async_context(self._turns)
                except TimeoutError:
                    raise NoConnectionFree("too many files are being fetched for requests that name them") from None
                yield
        finally:
            mine.wanted -= 1
            if not mine.wanted:
                del self._accounts[account_id]


class _Turns(asyncio.Semaphore):
    """One account's files."""

    #: How many want a turn or have one.
    wanted = 0


class _Request:
    """What the files of one request may still bring."""

    def __init__(self, most: int) -> None:
        self.left = most
        self.too_much = f"is too large together with the request's other files: {most} bytes fit"


def _refusal(link: MediaLink, why: str) -> InvalidRequest:
    return InvalidRequest(f"{link.param} cannot be fetched: it {why}.", param=link.param)


def _type_of(answer: OutsideAnswer, link: MediaLink) -> str:
    """What the file is: by its first bytes where its type shows by them, else as it was declared."""
    declared = _SAME.get(answer.type, answer.type)
    seen = seen_type(answer.body)
    if declared in _UNTOLD:
        if seen is None:
            raise _refusal(link, "did not say what type it is")
        return seen
    if seen != declared and (seen is not None or declared in _TELLING):
        raise _refusal(link, f"was sent as {declared[:60]!a}, and is something else")
    return declared


def seen_type(data: bytes) -> str | None:
    """The type that a file shows by its first bytes; None where it shows none."""
    return next((kind for kind, at, magic in _MAGIC if data[at : at + len(magic)] == magic), None)


def _expect(kind: str, link: MediaLink) -> None:
    if kind not in link.types:
        types = ", ".join(sorted(link.types))
        raise InvalidRequest(f"{link.param} is {kind}; this model takes {types}.", param=link.param)
