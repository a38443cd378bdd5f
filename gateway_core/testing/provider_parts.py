"""What a provider is built from, for its own tests: a memory in this process, media from a table, no connections."""

from collections.abc import Mapping, Sequence

from gateway_core.errors import InvalidRequest
from gateway_core.ports import (
    KeySource,
    Media,
    MediaFile,
    MediaLink,
    Memory,
    ProviderParts,
    Upstream,
    UpstreamRequest,
    UpstreamResponse,
    WholeAnswer,
)
from gateway_core.types import Deadlines


class PlainMemory:
    """`ports.Memory` in a dictionary, which a test may look into and empty: (account id, key) → what is kept."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], bytes] = {}
        #: How often it was asked to keep something.
        self.kept = 0

    async def keep(self, account_id: str, entries: Mapping[str, bytes]) -> None:
        """Kept until the test is over."""
        self.kept += 1
        self.entries.update({(account_id, key): value for key, value in entries.items()})

    async def recall(self, account_id: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Those that are there."""
        return {key: self.entries[account_id, key] for key in keys if (account_id, key) in self.entries}


class TableMedia:
    """`ports.Media` from a table: address → what is there. Any other address cannot be had."""

    def __init__(self, files: Mapping[str, MediaFile] | None = None) -> None:
        self.files: dict[str, MediaFile] = dict(files or {})
        #: Every address that was asked for.
        self.asked: list[str] = []

    async def fetch(self, account_id: str, links: Sequence[MediaLink]) -> dict[str, MediaFile]:
        """As the real one: InvalidRequest, naming the place, for what is not there or of another type."""
        del account_id  # everybody may see what is in the table
        self.asked += dict.fromkeys(link.url for link in links)
        for link in links:
            found = self.files.get(link.url)
            if found is None or found.type not in link.types:
                raise InvalidRequest(f"{link.param} cannot be fetched.", param=link.param)
        return {link.url: self.files[link.url] for link in links}


class NoUpstream:
    """`ports.Upstream` for a provider that asks nobody."""

    deadlines = Deadlines()

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Fails the test."""
        raise AssertionError(f"{request.method} {request.url} was not expected")

    async def ask(self, request: UpstreamRequest) -> WholeAnswer:
        """Fails the test."""
        raise AssertionError(f"{request.method} {request.url} was not expected")

    async def close(self) -> None:
        """Nothing is open."""


def parts(
    name: str = "mine",
    api_key: str | KeySource | None = None,
    *,
    upstream: Upstream | None = None,
    media: Media | None = None,
    memory: Memory | None = None,
) -> ProviderParts:
    """What `ProviderKind.build` takes; what is not given is one of the above, made new."""
    return ProviderParts(name, api_key, upstream or NoUpstream(), media or TableMedia(), memory or PlainMemory())
