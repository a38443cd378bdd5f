"""The few interfaces behind which things vary: Clock, Upstream, Provider, Limiter, Sink and Store.

A plugin implements one of them; the core sees nothing else of it. `gateway_core.testing` has a contract suite for each.
"""

from asyncio import Future
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway_core.types import (
    Account,
    Adjustment,
    ChatRequest,
    Checkpoint,
    Chunk,
    Completion,
    Deadlines,
    Hold,
    Instance,
    Key,
    LimitState,
    Principal,
    Record,
    Reservation,
    Route,
    Settled,
    Settlement,
    Subscription,
    SubscriptionStatus,
    Usage,
    Window,
)


class Clock(Protocol):
    """Time, so that tests can turn it."""

    def now_ms(self) -> int:
        """Wall time, milliseconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds that never go backwards."""


# ---------------------------------------------------------------- upstream


class UpstreamRequest(msgspec.Struct, frozen=True):
    """One HTTP request to a provider. `url` is absolute; the client's own headers never get here."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    #: None: the upstream's own, as configured.
    deadlines: Deadlines | None = None
    method: str = "POST"


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

    def events(self) -> AsyncIterator[Sequence[bytes]]:
        """The body as server-sent events: the data of those that each read completed, in one sequence.

        An event beyond the configured size raises Unavailable.
        """

    async def close(self, *, finished: bool = False) -> None:
        """Gives the connection back, or cuts it where the body was not read to its end.

        `finished`: the provider has said its last word, so the body's end is waited for, a moment only.
        """


class Upstream(Protocol):
    """Connections to providers: pools, deadlines, caps. Raises only `ProviderFault`s."""

    #: What a request gets that brings none of its own.
    deadlines: Deadlines

    async def send(self, request: UpstreamRequest) -> UpstreamResponse:
        """Sends it and waits for the answer's head."""

    async def close(self) -> None:
        """Closes every connection."""


class OutsideAnswer(msgspec.Struct, frozen=True):
    """What an address answered: its status and its whole body."""

    status: int
    body: bytes


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


# ---------------------------------------------------------------- providers


class Chunks(Protocol):
    """A streamed answer as it comes in. An async generator is one."""

    def __aiter__(self) -> "AsyncIterator[Sequence[Chunk]]": ...
    async def __anext__(self) -> Sequence[Chunk]: ...
    async def aclose(self) -> None: ...


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


class ProviderKind(msgspec.Struct, frozen=True):
    """What `register_providers` gives: how to build providers of one kind from `[providers.NAME]` tables.

    `settings` is a msgspec struct type for the table's own keys; `plugin` and `api_key` are the core's.
    """

    name: str
    settings: type[msgspec.Struct]
    #: build(name, settings, api_key, upstream) → Provider. `api_key` is None where none is configured.
    build: Any
    #: Without a key the provider is off, and start-up says which variable would turn it on.
    needs_key: bool = True
    #: `build` also takes a KeySource as `api_key`, and asks it for each call: what "bearer:instance" needs.
    fresh_keys: bool = False


# ---------------------------------------------------------------- limits


class Limiter(Protocol):
    """Windows that never admit more than their limit, whatever the order of calls."""

    async def reserve(self, windows: Sequence[Window], tokens: int) -> Reservation:
        """Takes 1 request and `tokens` tokens from each window, or nothing at all and raises RateLimited."""

    def settle(self, reservation: Reservation, tokens: int) -> None:
        """Says what was used of the reserved tokens; an overrun becomes a debt in the window."""

    def cancel(self, reservation: Reservation) -> None:
        """Gives back all of it: a later gate refused the call."""

    async def peek(self, windows: Sequence[Window]) -> tuple[LimitState, ...]:
        """The windows as they stand, taking nothing."""

    async def close(self) -> None:
        """Puts the windows where a restart finds them."""


class LimiterKind(msgspec.Struct, frozen=True):
    """What `register_limiters` gives: which `[limits] url` scheme it serves. build(url, store, clock) → Limiter."""

    scheme: str
    build: Any


# ---------------------------------------------------------------- store


class OpenCall(msgspec.Struct, frozen=True):
    """A call that was opened by an owner that is gone, with its last checkpoint."""

    hold: Hold
    checkpoint: Checkpoint | None


class CallRow(msgspec.Struct, frozen=True):
    """One ledger row as it reads back: the settlement, its split and its place."""

    settlement: Settlement
    settled: Settled


class MonthTotals(msgspec.Struct, frozen=True):
    """An account's month: what is settled, what is held, and the credit granted and used of it."""

    settled: int
    held: int
    credit_granted: int
    credit_used: int
    #: Calls of the month that have begun and are not settled.
    open: int = 0


class Finding(msgspec.Struct, frozen=True):
    """One difference that reconciliation found: where, what was expected and what is there."""

    where: str
    what: str
    expected: str
    found: str


class LogEntry(msgspec.Struct, frozen=True):
    """One line of the operators' log: who did what to what, and why."""

    at: int
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any] = {}


class Ledger(Protocol):
    """Holds and settlements. The one durable truth about money."""

    async def hold(self, hold: Hold) -> None:
        """Takes the hold out of the account's and the bearer's month. Raises QuotaExceeded, taking nothing."""

    async def headroom(self, hold: Hold) -> int | None:
        """Units that the tighter of the hold's caps still affords, None where no cap is set."""

    def release(self, hold: Hold) -> None:
        """Forgets a hold that never reached an upstream."""

    def open(self, hold: Hold) -> "Future[None]":
        """Puts the call on disk with the next group commit; the future is done when it is."""

    def checkpoint(self, rows: Sequence[Checkpoint]) -> "Future[None]":
        """Replaces this owner's packed checkpoint row."""

    def settle(self, settlement: Settlement, answer: "KeptAnswer | None" = None) -> "Future[Settled]":
        """Ledger row, credit split, chained record, balances and rollups in one transaction; idempotent by hold id.

        `answer` is kept in that very transaction, where it is the one that settles the call and there is room.
        """

    async def orphans(self) -> list[OpenCall]:
        """Open calls that no living owner holds."""

    async def find(self, request_id: str) -> CallRow | None:
        """One call by its request id."""

    async def lost(self, account_id: str, since: int) -> int:
        """Units that an account's calls from `since` on have cost the house, those delivered whole left out."""

    async def month(self, account_id: str, month: str) -> MonthTotals:
        """An account's totals for "2026-11"."""

    async def reconcile(self) -> list[Finding]:
        """Recomputes every balance, rollup and chain from the ledger's rows; empty means they agree."""


class AnswerPlace(msgspec.Struct, frozen=True):
    """The place of one Idempotency-Key: the call that it stands for, and that call's answer where it is kept.

    `scope` is the bearer's id, `key` and `body_hash` are keyed digests, `answer` is sealed.
    """

    scope: str
    key: str
    account_id: str
    body_hash: bytes
    request_id: str
    created_at: int
    #: From then on the place is free. Milliseconds, as `created_at`.
    expires_at: int
    answer: bytes | None = None


class KeptAnswer(msgspec.Struct, frozen=True):
    """What a settlement puts into a place, unless its account has so much already."""

    place: AnswerPlace
    sealed: bytes
    #: The account's bounds: answers, and their bytes together.
    most_answers: int
    most_bytes: int


class Answers(Protocol):
    """Answers kept for Idempotency-Keys. They are put there by `Ledger.settle`."""

    async def claim(self, place: AnswerPlace) -> AnswerPlace | None:
        """Takes the place, on disk when this returns None. Where it is taken (and not expired at `place.created_at`),
        returns what is there and changes nothing."""

    def forget(self, scope: str, key: str, request_id: str) -> "Future[None]":
        """Frees the place, if it is still that call's."""

    async def prune(self, now_ms: int, limit: int) -> int:
        """Removes at most `limit` places that have expired; gives their number."""


class Directory(Protocol):
    """Accounts and keys. Reads on the path of a call are from memory."""

    #: Rises with every change to an account or a key, before the change is acknowledged: what was verified under a
    #: lower number is looked up again. A key's last use is no change.
    generation: int

    async def create_account(self, account: Account, actor: str) -> None: ...
    async def account(self, account_id: str) -> Account | None: ...
    async def account_named(self, name: str) -> Account | None: ...
    async def accounts(self, *, after: str = "", limit: int = -1) -> list[Account]:
        """In the order of their ids, those after `after`; at most `limit`, all where it is negative."""

    async def update_account(self, account: Account, actor: str, action: str) -> None: ...
    async def add_key(self, key: Key, digest: bytes, actor: str) -> None: ...
    async def key(self, key_id: str) -> Key | None: ...
    async def key_by_digest(self, digest: bytes) -> Key | None: ...
    async def keys(self, account_id: str, *, after: str = "", limit: int = -1) -> list[Key]:
        """An account's keys in the order of their ids, those after `after`; at most `limit`, all where negative."""

    async def expire_key(self, key_id: str, at: int, actor: str) -> None: ...
    async def revoke_key(self, key_id: str, at: int, actor: str) -> None: ...
    def touch_key(self, key_id: str, at: int) -> None:
        """Notes a key's last use; written with a later commit, at most once a minute."""

    async def log(self, entry: LogEntry) -> None: ...
    async def log_entries(self, limit: int, *, skip: int = 0) -> list[LogEntry]:
        """The newest first, after `skip` of them."""


class Instances(Protocol):
    """Registered issuers of bearers, and the bearers of theirs that were revoked one by one."""

    #: Rises with every change, before it is acknowledged: what was verified under a lower number is looked up again.
    generation: int

    async def add(self, instance: Instance, actor: str) -> None:
        """Raises NotFound for an unknown account, Conflict where the id is taken or the account has a push URL."""

    async def find(self, instance_id: str) -> Instance | None:
        """The instance of that id, from memory where it was read before; revoked ones, too."""

    async def page(self, account_id: str | None = None, *, after: str = "", limit: int = -1) -> list[Instance]:
        """Instances of one account or of all, in the order of their ids, those after `after`; all where negative."""

    async def update(self, instance: Instance, actor: str, action: str) -> None:
        """Replaces name, pinned keys, URLs, cap and revocation. Raises NotFound and Conflict."""

    async def keep_jwks(self, instance_id: str, jwks: str, fetched_at: int) -> None:
        """Keeps the set that was fetched last. Raises the generation only where it differs from the one before."""

    async def home(self, account_id: str) -> Instance | None:
        """The account's instance that records are sent to, from memory where it was asked for before."""

    async def revoke_jti(self, instance_id: str, jti: str, expires_at: int, actor: str) -> None:
        """Ends one bearer before its time; forgotten once it would have expired (milliseconds) anyway."""

    async def is_revoked(self, instance_id: str, jti: str) -> bool: ...


class SubscriptionChange(msgspec.Struct, frozen=True):
    """One line of a subscription's history: the status that it took, when, and by whom."""

    subscription_id: str
    at: int
    status: SubscriptionStatus
    actor: str


class Subscriptions(Protocol):
    """Stretches of plans: at most one of an account's goes on at a time. Every change raises `directory.generation`."""

    async def start(
        self, subscription: Subscription, actor: str, *, action: str = "subscription.start"
    ) -> Subscription:
        """Begins a stretch, after any earlier one, and grants its account the credit of the month it begins in, where
        that month has none. Returns it as it was stored.

        Raises NotFound for an unknown account, Conflict where one goes on already.
        """

    async def change(self, account_id: str, status: SubscriptionStatus, actor: str) -> Subscription:
        """Cancels, suspends or resumes the stretch that goes on. Raises NotFound where the account never had one,
        Conflict where it is cancelled or has that status already."""

    async def current(self, account_id: str) -> Subscription | None:
        """The account's latest stretch, a cancelled one too."""

    async def stretches(self, account_id: str) -> list[Subscription]:
        """All of an account's, in the order in which they began."""

    async def history(self, account_id: str) -> list[SubscriptionChange]:
        """Every change of an account's stretches, the oldest first."""


class Adjustments(Protocol):
    """Corrections of bills: only ever added, each with a record in the account's chain."""

    async def add(self, adjustment: Adjustment) -> Adjustment:
        """Stores it with its record and a line in the operators' log; returns it with its place in the chain.

        Raises NotFound for an account, a call or an adjustment that it refers to and that is not there, Conflict where
        more would be given back than the call cost, or more reversed than was given.
        """

    async def of_month(self, account_id: str, month: str) -> list[Adjustment]:
        """A month's adjustments, in the order in which they were made."""

    async def page(self, account_id: str | None = None, *, after: str = "", limit: int = -1) -> list[Adjustment]:
        """Adjustments of one account or of all, in the order of their ids, those after `after`; all where negative."""


class Records(Protocol):
    """Threads of immutable records, chained per account."""

    async def read(self, query: "RecordQuery") -> list[Record]:
        """At most `query.limit` records after `query.after`, in order."""

    async def append(self, account_id: str, thread: str, record_id: str, body: bytes, origin: str) -> Record:
        """Stores a record sent from elsewhere; a record id that is there already is returned as it stands."""

    async def head(self, account_id: str) -> tuple[int, str]:
        """The chain's last sequence and hash."""

    async def heads(self) -> dict[str, int]:
        """Account → last sequence, for accounts that have any record."""

    async def cursor(self, sink: str, account_id: str) -> int:
        """The last sequence that a sink has taken."""

    async def advance(self, sink: str, account_id: str, sequence: int) -> None:
        """Moves a sink's cursor, never backwards, and forgets its failures."""

    async def postpone(self, sink: str, account_id: str, failure: "SinkFailure") -> None:
        """Notes that a sink did not take an account's next record."""

    async def behind(self, sink: str, *, after: str = "", limit: int = -1) -> "list[Behind]":
        """Accounts with records that a sink has not taken, by id, those after `after`; all where negative."""

    async def ends(self, account_id: str) -> "ChainEnds":
        """Where the account's chain begins by now, and where it ends."""


class SinkFailure(msgspec.Struct, frozen=True):
    """That a sink did not take an account's next record: how often in a row, why, and when it is asked again (ms)."""

    attempts: int
    reason: str
    next_attempt_at: int


class Behind(msgspec.Struct, frozen=True):
    """An account with records that a sink has not taken: how many, and when the oldest of them was made (ms)."""

    account_id: str
    records: int
    oldest_at: int
    failure: SinkFailure | None = None


class ChainEnds(msgspec.Struct, frozen=True):
    """A chain's last record, and the last of those that retention has removed: sequence 0 and the genesis hash where
    there is none. Hashes in hex."""

    sequence: int
    hash: str
    pruned_sequence: int
    pruned_hash: str


class RecordQuery(msgspec.Struct, frozen=True):
    """Which records of a thread. `since` and `until` are milliseconds, `until` exclusive."""

    account_id: str
    thread: str | None = None
    after: int = 0
    limit: int = 1000
    since: int | None = None
    until: int | None = None
    model: str | None = None


class UsageRow(msgspec.Struct, frozen=True):
    """One daily rollup: an account's day on one model by one bearer, in one tier."""

    day: str
    account_id: str
    bearer_id: str
    model: str
    tier: str
    calls: int
    usage: Usage
    charge: int
    credit_used: int
    overage: int
    owed: int
    loss: int


UsageGroup = Literal["day", "account", "key", "model", "tier"]


class Reports(Protocol):
    """Totals from the rollups: nothing here scans the ledger."""

    async def totals(
        self, account_id: str | None, since_day: str, until_day: str, by: Sequence[UsageGroup]
    ) -> list[UsageRow]:
        """Sums of [since_day, until_day] by those fields; the fields that are not named are empty."""

    async def usage(self, account_id: str | None, since_day: str, until_day: str) -> list[UsageRow]:
        """Rollups of [since_day, until_day], of one account or of all."""


Expiring = Literal["operator_log", "revoked_jtis", "day_keys"]
DAY_KEY = "day-key"
"""State under this name, a space and a UTC day ("2026-11-22") is a secret of that day, which retention removes: what
was hashed with it can then be tied to nobody any more."""


class Retention(Protocol):
    """Removes what is past its time, a little at a time. Nothing of the ledger is."""

    async def accounts(self, before: int, *, after: str = "", limit: int = 100) -> list[str]:
        """Accounts whose oldest record was made before then (ms), by id, those after `after`."""

    async def prune_records(self, account_id: str, before: int, upto: int | None, limit: int) -> int:
        """Removes at most `limit` records from the beginning of a chain, made before then and none after the sequence
        `upto`; returns how many. The chain is then verified from the last one that was removed."""

    async def prune(self, what: Expiring, before: int, limit: int) -> int:
        """Removes at most `limit` rows of another kind that are older than `before`; returns how many."""


class Store(Protocol):
    """Everything durable. One process has it open."""

    ledger: Ledger
    answers: Answers
    directory: Directory
    instances: Instances
    subscriptions: Subscriptions
    adjustments: Adjustments
    records: Records
    reports: Reports
    retention: Retention

    async def open(self) -> None:
        """Opens, migrates and checks; raises a StoreError that says what to do."""

    async def close(self) -> None:
        """Commits what waits, and closes."""

    async def backup(self, target: Path) -> None:
        """A consistent copy while calls go on."""

    async def ready(self) -> bool:
        """Whether a commit would be acknowledged now."""

    async def get_state(self, name: str) -> bytes | None:
        """A small named value, e.g. the limiter's windows."""

    async def put_state(self, name: str, value: bytes) -> None: ...


class StoreKind(msgspec.Struct, frozen=True):
    """What `register_stores` gives: which `[store] url` scheme it serves. build(StoreConfig, Home, clock) → Store."""

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


Gate = Literal["public", "caller", "inference", "owner", "operator", "records:read", "records:write"]
"""Who may call an endpoint: anyone without looking (`public`), any caller that is authenticated, anonymous ones where
that tier exists included (`caller`), or a bearer with the named scope."""


class Endpoint(msgspec.Struct, frozen=True):
    """One route with its gate. `handler(request, principal)`; the principal is None only where the gate is public."""

    method: str
    path: str
    gate: Gate
    handler: Callable[[Request, Principal | None], Awaitable[Response]]
    #: One line for the API's documentation.
    summary: str
