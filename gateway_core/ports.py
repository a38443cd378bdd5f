"""The few interfaces behind which things vary: Clock, Upstream, Provider, Media, Memory, Limiter, Sink and Store.

A plugin implements one of them; the core sees nothing else of it. `gateway_core.testing` has a contract suite for each.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Literal, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send

from gateway_core.errors import GatewayError
from gateway_core.types import (
    Batch,
    ChatRequest,
    Completion,
    Deadlines,
    LimitState,
    Principal,
    Record,
    Reservation,
    Route,
    Window,
)


class Clock(Protocol):
    """Time, so that tests can turn it."""

    def now_ms(self) -> int:
        """Wall time, milliseconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds that never go backwards."""


# ---------------------------------------------------------------- upstream


LARGE_REQUEST = 128 * 1024
"""Bytes of a client's body above which it is decoded, checked and converted in a thread: it takes longer than other
calls may wait."""


class UpstreamRequest(msgspec.Struct, frozen=True):
    """One HTTP request to a provider. `url` is absolute; the client's own headers never get here."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    #: None: the upstream's own, as configured.
    deadlines: Deadlines | None = None
    method: str = "POST"


class EventStream(Protocol):
    """A body as server-sent events: the data of those that each read completed, in one sequence.

    Whoever takes the body by itself `push`es what came. An event of more than `limit` bytes raises Unavailable.
    """

    limit: int

    def __aiter__(self) -> AsyncIterator[Sequence[bytes]]: ...
    async def __anext__(self) -> Sequence[bytes]: ...

    @property
    def between(self) -> bool:
        """What was read last ended an event, and the next one has not begun."""

    def push(self, piece: bytes) -> Sequence[bytes]:
        """The data of every event that this piece of the body completes."""

    def finish(self) -> Sequence[bytes]:
        """The body is over: the data of an event that lacked only its line ends, if there is one."""


class UpstreamResponse(Protocol):
    """A provider's answer, its body still to be read. Always closed by who opened it."""

    status: int
    #: Names in lower case.
    headers: Mapping[str, str]
    #: Seconds that its Retry-After header asks for; None where it has none that makes sense.
    retry_after: float | None

    async def read(self, limit: int | None = None) -> bytes:
        """The whole body, at most `limit` bytes (None: as configured); raises Unavailable beyond that."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives, nothing held back."""

    def events(self) -> "EventStream":
        """The body as server-sent events; the same stream of them whenever it is asked for."""

    async def pour(self, take: Callable[[bytes], bool]) -> bool:
        """Gives what is left of the body to `take` as it comes, where it can in the very callback that brought it.

        True at the body's end; False where `take` answered so: it wants no more for now, and may be poured to again.
        """

    async def close(self, *, finished: bool = False) -> None:
        """Gives the connection back, or cuts it where the body was not read to its end.

        `finished`: the provider has said its last word, so the body's end is waited for, a moment only.
        """


class WholeAnswer(msgspec.Struct, frozen=True):
    """A provider's answer with all of its body. `retry_after`: as in `UpstreamResponse`."""

    status: int
    #: Of a failure what says enough: at most 256 KiB of it, and b"" where it does not come.
    body: bytes
    retry_after: float | None = None


class Upstream(Protocol):
    """Connections to providers: pools, deadlines, caps. Raises only `ProviderFault`s."""

    #: What a request gets that brings none of its own.
    deadlines: Deadlines

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Sends it and waits for the answer's head."""

    async def ask(self, request: UpstreamRequest) -> WholeAnswer:
        """Sends it and waits for the whole answer. Raises Unavailable where a success has too many bytes."""

    async def close(self) -> None:
        """Closes every connection."""


class OutsideAnswer(msgspec.Struct, frozen=True):
    """What an address answered: its status and its whole body."""

    status: int
    body: bytes
    #: Its Content-Type in lower case, without parameters; "" where it said none.
    type: str = ""


class Outside(Protocol):
    """Requests to addresses that a customer named. None leads into the operator's own network unless allowed.

    No redirect is followed, and no request takes longer or brings more than it may.
    """

    def check(self, url: str) -> None:
        """Raises OutsideError where the address itself says that it may not be asked."""

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, limit: int = 65_536
    ) -> OutsideAnswer:
        """One request, and an answer of at most `limit` bytes. Raises OutsideError."""

    async def close(self) -> None:
        """Closes every connection."""


class InsideAnswer(msgspec.Struct, frozen=True):
    """What an endpoint of the gateway's own answered, where it did not refuse: status, headers by lower-case name, and
    the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Inside(Protocol):
    """The gateway's own API for a plugin that answers people: every gate holds, and nothing passes a socket.

    `scope` is that of the request which the plugin answers: the address and the request id stay its own. `bearer` is a
    key, or its stand-in.
    """

    def address(self, scope: MutableMapping[str, Any]) -> str:
        """The client's address, behind trusted proxies."""

    def is_secure(self, scope: MutableMapping[str, Any]) -> bool:
        """Whether the client came by TLS, as far as the socket or a trusted proxy says."""

    async def identify(self, scope: MutableMapping[str, Any], bearer: str) -> Principal:
        """Whose bearer it is. A refusal (InvalidBearer and its kin) counts against the client's address, as it would
        have at the door."""

    async def ask(
        self, scope: MutableMapping[str, Any], bearer: str, method: str, path: str, body: bytes | None = None
    ) -> InsideAnswer:
        """One request, its path with the query. Raises the GatewayError that the endpoint refuses with."""

    async def forward(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send, bearer: str, path: str
    ) -> None:
        """Lets another endpoint answer the plugin's own client, as if it had asked there with the bearer: what the
        client is sent, and when it goes, is seen as everywhere. Raises the endpoint's GatewayErrors."""


class Tokenizers(Protocol):
    """Tokens as they are counted and shown: exactly where a vocabulary is published, else by a stated rule."""

    async def count(self, vocabulary: str, texts: Sequence[str]) -> int:
        """Tokens of the texts, each encoded by itself."""

    def pieces(self, vocabulary: str, text: str) -> AsyncIterator[list[tuple[int, bytes]]]:
        """Each token's id and bytes, some at a time. The bytes of one token need not be valid UTF-8."""

    def estimate(self, texts: Sequence[str]) -> int:
        """About how many tokens the texts have, where no vocabulary is published."""

    def split(self, text: str) -> list[str]:
        """The text in parts that stand for the tokens which `estimate` counts."""


# ---------------------------------------------------------------- providers


Give = Callable[[Batch], bool]
"""Takes a batch of a streamed answer; False where it has enough for now."""


class Chunks(Protocol):
    """A streamed answer as it comes in. An async generator is one.

    One that is `Poured` as well is not waited for event by event.
    """

    def __aiter__(self) -> "AsyncIterator[Batch]": ...
    async def __anext__(self) -> Batch: ...
    async def aclose(self) -> None: ...


class Poured:
    """A streamed answer that can be handed over as it comes: what every event would cost a wake-up otherwise."""

    __slots__ = ()

    async def pour(self, give: Give, drained: Callable[[], Awaitable[None]]) -> None:
        """Gives each further batch to `give` at once. Where that has enough for now, `drained` is waited for.

        Returns at the provider's own end, and raises as the iterator would.
        """
        raise NotImplementedError


class Provider(Protocol):
    """A model provider, configured. Raises `ProviderFault`s for what it met, `InvalidRequest` for what it cannot do."""

    name: str

    async def complete(self, request: ChatRequest, route: Route, output_limit: int | None) -> Completion:
        """One plain answer. `output_limit`, where given, replaces the client's: the cap binds."""

    async def stream(self, request: ChatRequest, route: Route, output_limit: int | None) -> Chunks:
        """Starts a streamed answer: returns once the provider has accepted, raises where it has not.

        The iterator yields what each read brought, at once. It ends only after the provider's own end of stream;
        a stream that breaks off raises. `aclose()` on it cuts the connection.
        """

    def tokenizer(self, model: str) -> str | None:
        """The published vocabulary that counts this model's tokens exactly, if there is one."""


class KeySource(Protocol):
    """A provider's key that is made anew again and again: this instance's own bearer."""

    def __call__(self) -> str:
        """A key that is good for a call that begins now."""


class MediaFile(msgspec.Struct, frozen=True):
    """An image or a file that was fetched. `type`: what it is, e.g. "image/png": lower case, without parameters."""

    type: str
    data: bytes


class MediaLink(msgspec.Struct, frozen=True):
    """One place of a request that names a file by its address. `param`: the place, for errors, e.g.
    "messages[0].content[1].image_url.url"; `types`: those that the provider takes."""

    url: str
    types: frozenset[str]
    param: str


class Media(Protocol):
    """Images and files that a request names by address, fetched by us where the provider would not: bounded, timed,
    and never from an inside address."""

    async def fetch(self, account_id: str, links: Sequence[MediaLink]) -> dict[str, MediaFile]:
        """All that one request names, by address. Raises InvalidRequest, naming the link's `param`, for what may not or
        cannot be had, and NoConnectionFree where too much is being fetched already."""


class Memory(Protocol):
    """What a provider must be told again in a later call, and a standard client does not give back: thinking with its
    signature, thought signatures. Short-lived, bounded, sealed at rest.

    Kept by the account and a key, e.g. a tool call's id. An entry may be lost at any time: that is no error.
    """

    async def keep(self, account_id: str, entries: Mapping[str, bytes]) -> None:
        """Keeps them, the latest under a key. Durable when it returns: await it before a client can read the keys."""

    async def recall(self, account_id: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Those that are kept, by key."""


class ProviderParts(msgspec.Struct, frozen=True):
    """What a provider is built from, next to its settings."""

    #: Of its table: `[providers.NAME]`.
    name: str
    #: None where none is configured.
    api_key: str | KeySource | None
    upstream: Upstream
    media: Media
    memory: Memory


class ProviderKind(msgspec.Struct, frozen=True):
    """What `register_providers` gives: how to build providers of one kind from `[providers.NAME]` tables.

    `settings` is a msgspec struct type for the table's own keys; `plugin` and `api_key` are the core's.
    """

    name: str
    settings: type[msgspec.Struct]
    #: build(settings, parts) → Provider, with `ProviderParts`.
    build: Any
    #: Without a key the provider is off, and start-up says which variable would turn it on.
    needs_key: bool = True
    #: `parts.api_key` may be a KeySource, which is asked for each call: what "bearer:instance" needs.
    fresh_keys: bool = False


# ---------------------------------------------------------------- limits


class Limiter(Protocol):
    """Windows that never admit more than their limit, whatever the order of calls."""

    def reserve_now(self, windows: Sequence[Window], tokens: int) -> Reservation | None:
        """`reserve`, where nothing must be waited for; None, taking nothing, where something must be."""

    async def reserve(self, windows: Sequence[Window], tokens: int) -> Reservation:
        """Takes 1 request and `tokens` tokens from each window, or nothing at all and raises RateLimited."""

    def settle(self, reservation: Reservation, tokens: int) -> None:
        """Says what was used of the reserved tokens; an overrun becomes a debt in the window."""

    def cancel(self, reservation: Reservation) -> None:
        """Gives back all of it: a later gate refused the call."""

    async def peek(self, windows: Sequence[Window]) -> tuple[LimitState, ...]:
        """The windows as they stand, taking nothing."""

    async def busiest(self, most: int) -> tuple[LimitState, ...]:
        """At most so many windows, those first that have the smallest share left; empty ones are left out. For
        operators: what it costs is not on the way of a call, and a limit may be that of a few minutes ago."""

    async def close(self) -> None:
        """Puts the windows where a restart finds them."""


class LimiterKind(msgspec.Struct, frozen=True):
    """What `register_limiters` gives: which `[limits] url` scheme it serves. build(url, store, clock) → Limiter."""

    scheme: str
    build: Any


# ---------------------------------------------------------------- audit


class Sink(Protocol):
    """Where audit records go: what `emit_audit` does, as one plugin sees it."""

    async def emit_audit(self, record: Record) -> None: ...


class SinkReport(msgspec.Struct, frozen=True):
    """How far one sink is behind, over all accounts that it wants."""

    sink: str
    accounts_behind: int
    records_behind: int
    #: When the oldest record was made that it has not taken, in milliseconds.
    oldest_at: int | None
    #: Accounts whose last attempt failed, the longest run of failures, and its reason.
    accounts_failing: int
    attempts: int
    last_error: str | None
    #: The next attempt for any of these, in milliseconds.
    next_attempt_at: int | None


class OutboxState(Protocol):
    """What is waiting to be told: for metrics and for operators."""

    async def reports(self) -> list[SinkReport]:
        """One for each sink, in their order. Raises StoreError."""


# ---------------------------------------------------------------- routes


REQUEST_ID = "spl.request_id"
"""Where a request's scope has its id."""

Gate = Literal["public", "caller", "inference", "owner", "operator", "records:read", "records:write"]
"""Who may call an endpoint: anyone without looking (`public`), any caller that is authenticated, anonymous ones where
that tier exists included (`caller`), or a bearer with the named scope."""


class Shape(msgspec.Struct, frozen=True):
    """What an endpoint takes and answers, for the API's own document: any types that msgspec has a JSON schema of."""

    #: Of the request's body; None: it takes none.
    body: Any = None
    #: Of a success's body; None: an object of any kind.
    answer: Any = None
    #: Those of a success, and of whatever else has its body.
    statuses: tuple[int, ...] = (200,)
    #: A struct each of whose fields is a parameter of the query.
    query: type[msgspec.Struct] | None = None
    #: The same for headers; their names as `rename` writes them.
    headers: type[msgspec.Struct] | None = None
    #: Refusals beside those that the gate, the path and the body imply.
    errors: tuple[type[GatewayError], ...] = ()
    #: What a success can be besides JSON, e.g. "text/html".
    also: tuple[str, ...] = ()
    #: Headers beside those of every answer: "tier", "cost", "limits", "replayed".
    sends: tuple[str, ...] = ()


class Endpoint(msgspec.Struct, frozen=True):
    """One route with its gate. `handler(request, principal)`; the principal is None only where the gate is public."""

    method: str
    path: str
    gate: Gate
    handler: Callable[[Request, Principal | None], Awaitable[Response]]
    #: One line for the API's documentation.
    summary: str
    #: None: a page for people, which the API's document leaves out.
    shape: Shape | None = Shape()
