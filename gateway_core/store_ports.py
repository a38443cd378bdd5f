"""The store as the rest sees it: what is durable, in parts that each have one reason to change.

A store plugin implements `Store` and passes the contract suite in `gateway_core.testing.store_suite`.
"""

from asyncio import Future
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from gateway_core.types import (
    Account,
    Adjustment,
    Checkpoint,
    Hold,
    Instance,
    Key,
    Record,
    Settled,
    Settlement,
    Subscription,
    SubscriptionStatus,
    Usage,
)


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
    #: Its place in the log, where it was read from there.
    number: int = 0


class Ledger(Protocol):
    """Holds and settlements. The one durable truth about money."""

    def hold_now(self, hold: Hold) -> bool:
        """`hold`, where nothing must be waited for; False, taking nothing, where something must be."""

    async def hold(self, hold: Hold) -> None:
        """Takes the hold out of the account's and the bearer's month. Raises QuotaExceeded, taking nothing."""

    async def headroom(self, hold: Hold) -> int | None:
        """Units that the tighter of the hold's caps still affords, None where no cap is set."""

    def release(self, hold: Hold) -> None:
        """Forgets a hold that never reached an upstream."""

    def open(self, hold: Hold) -> "Future[Any]":
        """Puts the call that holds this on disk with a group commit soon; the future is done when it is.

        It need not be looked at. A plain call's row may wait for its end: then its future is the settlement's.
        """

    def checkpoint(self, rows: Sequence[Checkpoint]) -> "Future[None]":
        """Puts these, the newest of their calls, among this owner's checkpoints.

        Those that other open calls have there stay as they are. After a failure none need be named: what was to be
        written then is written with the next, and with an empty one.
        """

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


class MemoryEntry(msgspec.Struct, frozen=True):
    """One entry of the providers' memory as it lies on disk. `key` is a digest, `sealed` is encrypted."""

    key: bytes
    expires_at: int
    sealed: bytes


class MemoryBounds(msgspec.Struct, frozen=True):
    """How much may be kept: entries and bytes of one account, and bytes of all. Some hundred bytes are added to each
    entry's own."""

    most_entries: int
    most_bytes: int
    most_bytes_in_all: int


class Memories(Protocol):
    """What providers must be told again in a later call."""

    async def keep(self, account_id: str, entries: Sequence[MemoryEntry], bounds: MemoryBounds) -> None:
        """Keeps them, on disk when it returns, each instead of what was kept under its key.

        What is beyond the bounds gives way in the same write: the account's own that expire first; where it is too
        much in all, those of the account that keeps most.
        """

    async def recall(self, account_id: str, keys: Sequence[bytes], now_ms: int, most_bytes: int) -> list[MemoryEntry]:
        """Those that are there and not expired, the last keys first, until they have more than `most_bytes`."""


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
    async def log_entries(self, limit: int, *, before: int | None = None) -> list[LogEntry]:
        """The newest first; only those before the line of that number."""


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

    async def search(self, search: "RecordSearch") -> "RecordsFound":
        """Records of calls that meet every condition. However rare they are, no more than `search.most` records are
        looked at: what was found so far comes with where to go on."""


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


class RecordSearch(msgspec.Struct, frozen=True):
    """Which records of the calls' thread, the newest first unless `oldest_first`. `since` and `until` are milliseconds,
    `until` exclusive; `key`, `outcome` and `stream_state` are what the bodies say."""

    account_id: str
    #: The `following` of the page before.
    beyond: int | None = None
    oldest_first: bool = False
    limit: int = 50
    most: int = 20_000
    since: int | None = None
    until: int | None = None
    model: str | None = None
    key: str | None = None
    outcome: str | None = None
    #: "plain": a call that was not streamed.
    stream_state: str | None = None


class RecordsFound(msgspec.Struct, frozen=True):
    """What a search found, and where it goes on: None where there is no more."""

    records: list[Record]
    following: int | None


class UsageRow(msgspec.Struct, frozen=True):
    """Sums of daily rollups: of an account's day on one model by one bearer, in one tier, as far as they are named."""

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
        """Sums of [since_day, until_day] of one account or of all, by those fields; what is not named is empty."""


Expiring = Literal["operator_log", "revoked_jtis", "day_keys", "memories"]
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
    memories: Memories
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

    def fresh(self) -> bool:
        """Whether `ready` would say yes without waiting: a commit was acknowledged a moment ago."""

    async def ready(self) -> bool:
        """Whether a commit would be acknowledged now."""

    async def get_state(self, name: str) -> bytes | None:
        """A small named value, e.g. the limiter's windows."""

    async def put_state(self, name: str, value: bytes) -> None: ...


class StoreKind(msgspec.Struct, frozen=True):
    """What `register_stores` gives: which `[store] url` scheme it serves. build(StoreConfig, Home, clock) → Store."""

    scheme: str
    build: Any
