"""The nouns of a call. Frozen structs; what passes between the core and its plugins.

Amounts are `Units` (1e-12 USD), instants are milliseconds since the epoch (UTC), durations say their unit.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import msgspec

from gateway_core.money import Units

Scope = Literal["inference", "owner", "operator", "records:read", "records:write"]
BearerKind = Literal["user_key", "instance", "self_host", "gateway", "anonymous", "operator"]
InstanceKind = Literal["instance", "self_host", "gateway"]
"""instance: provisioned by us; self_host: a customer's own, registered; gateway: one that sends us records."""
StreamState = Literal[
    "completed", "client_disconnect", "provider_error", "key_revoked", "gateway_shutdown", "gateway_restart"
]
SubscriptionStatus = Literal["active", "suspended", "cancelled"]
AdjustmentKind = Literal["refund", "credit_note", "reversal"]
"""A refund and a credit note lower what is due; a reversal takes an earlier one of them back."""
Outcome = Literal["ok", "cut", "failed"]
"""ok: everything was delivered; cut: something was; failed: nothing was, and nothing is charged."""

AUDIT_THREAD = "th_audit_api_usage"
"""One record a call, and nothing else: the sum of their costs is what inference cost."""

ADJUSTMENTS_THREAD = "th_audit_adjustments"
"""One record an adjustment."""

OUTPUT_TOKENS = 16_384
"""The most that a model answers of which nothing else is configured."""

ROUTED_FIELDS = ("model", "stream", "stream_options", "max_tokens", "max_completion_tokens")
"""The request's fields that the gateway may change on the way to an OpenAI-compatible upstream."""


class Credentials(msgspec.Struct, frozen=True, dict=True):
    """What a caller showed. `bearer` is the Authorization header's token (None: no header at all),
    `address` the client's, after trusted proxies."""

    bearer: str | None
    address: str

    @cached_property
    def slot(self) -> bytes:
        """What the bearer is remembered under: hashed, so that a dump of that memory holds no bearer."""
        return hashlib.sha256((self.bearer or "").encode()).digest()


class Principal(msgspec.Struct, frozen=True):
    """Who calls, by a verified bearer. The account comes from our registration, never from a claim."""

    account_id: str
    kind: BearerKind
    #: Key id, instance id or hashed address: what records name as `key_id`.
    bearer_id: str
    scopes: frozenset[Scope]
    #: The models this bearer may name; None for all its tier allows.
    models: frozenset[str] | None = None
    #: The bearer's own monthly cap; None for none.
    cap: Units | None = None
    expires_at: int | None = None


class TokenRates(msgspec.Struct, frozen=True):
    """Customer price in units a token, by class, and where it comes from.

    `provider_*` are the list prices that the house owes. A class that a list price does not name costs what
    `input` costs.
    """

    price_id: str
    markup: str
    input: Units
    cached_input: Units
    cache_write: Units
    output: Units
    provider_input: Units
    provider_cached_input: Units
    provider_cache_write: Units
    provider_output: Units


class Rates(TokenRates, frozen=True, kw_only=True, cache_hash=True):
    """What a model's calls cost. A prompt of more than `long_above` tokens makes the whole call cost what `long` says,
    where that is."""

    long_above: int = 0
    long: TokenRates | None = None


class Usage(msgspec.Struct, frozen=True):
    """Tokens by class. `cached` and `cache_write` are parts of `input`; `reasoning` is a part of `output`."""

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    #: The counts are not exact: no tokenizer is published, or the provider's report was missing or absurd.
    estimated: bool = False


class Cost(msgspec.Struct, frozen=True):
    """What a usage costs the customer (`charge`) and what the house owes for it (`owed`)."""

    charge: Units
    owed: Units
    rates: Rates


class Deadlines(msgspec.Struct, frozen=True):
    """Seconds that an attempt may take: to connect, to the answer's first event, between two of them, in all."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 60.0
    total: float = 900.0


class Route(msgspec.Struct, frozen=True):
    """One way to serve a model: a configured provider, the model's name there, how long it may take, and how many
    output tokens are held for a call that names no limit: where the provider's API wants one, it is this at most."""

    provider: str
    model: str
    deadlines: Deadlines = Deadlines()
    max_output_tokens: int | None = None


class ModelFacts(msgspec.Struct, frozen=True):
    """What is known of a model the gateway serves, apart from its price."""

    id: str
    routes: tuple[Route, ...]
    #: Tiers that may use it; None for all but anonymous.
    tiers: frozenset[str] | None = None
    context_tokens: int = 128_000
    max_output_tokens: int = OUTPUT_TOKENS
    #: What TPM reserves where the call names no output limit.
    output_reservation: int = 4_096
    #: The most input tokens that one image or file can cost.
    media_tokens: int = 2_048
    #: Input tokens the provider adds by itself, e.g. its preamble to tools.
    overhead_tokens: int = 64
    features: frozenset[str] = frozenset({"stream"})
    #: The published vocabulary that counts its tokens exactly, e.g. "o200k_base".
    tokenizer: str | None = None
    family: str = ""
    created: int = 0
    #: Its providers are gateways that bill this instance for it: it costs nothing here.
    billed_upstream: bool = False


class ChatRequest(msgspec.Struct, frozen=True):
    """One Chat Completions request, decoded once and checked. `body` holds every field as the client sent it,
    unknown ones too, and is never changed; the attributes are the ones that the core decides by."""

    model: str
    body: Mapping[str, Any]
    #: Bytes of the body as it came: an upper bound for its text's tokens.
    size: int
    #: Every field but ROUTED_FIELDS as one JSON object, encoded anew: for upstreams that speak the same language.
    rest: bytes = b"{}"
    stream: bool = False
    include_usage: bool = False
    #: The larger of max_tokens and max_completion_tokens; None where the client named neither.
    output_limit: int | None = None
    choices: int = 1
    #: Images and files in the messages.
    media: int = 0
    #: Of these the files: a few bytes can be many pages, or the address of any number.
    files: int = 0
    #: Whose call it is: for what a provider remembers between calls, and never sent anywhere.
    account_id: str = ""


class Subscription(msgspec.Struct, frozen=True):
    """One stretch of one plan, with the plan's terms as of its start: a later change of the plan changes none of it."""

    id: str
    account_id: str
    plan: str
    started_at: int
    status: SubscriptionStatus = "active"
    #: When it was cancelled; None while it goes on. Exclusive.
    ends_at: int | None = None
    #: Charged whole to each UTC month that the stretch touches, once a month and plan.
    fee: Units = Units(0)
    #: Credit of each UTC month that the stretch touches.
    credit: Units = Units(0)
    #: Monthly cap in customer prices, credit included; None for none.
    cap: Units | None = None
    #: The plan's limits, model → {"rpm": …, "tpm": …}; the account's own override these.
    limits: Mapping[str, Mapping[str, int]] = {}
    #: Charged to each UTC month for each instance that we provisioned.
    instance_fee: Units = Units(0)


class Account(msgspec.Struct, frozen=True):
    """An account: a team, a bill and a scope of limits at once."""

    id: str
    name: str
    created_at: int
    suspended: bool = False
    #: Monthly cap in customer prices, credit included; None for none.
    cap: Units | None = None
    #: Credit granted to each UTC month.
    monthly_credit: Units = Units(0)
    #: Limits of its own, model → {"rpm": …, "tpm": …}; these override the plan's.
    limits: Mapping[str, Mapping[str, int]] = {}
    #: Its latest subscription, a cancelled one too; None where it never had one. Kept by `store.subscriptions`.
    subscription: Subscription | None = None


class Call(msgspec.Struct, frozen=True):
    """One call that is authenticated and well-formed."""

    id: str
    principal: Principal
    account: Account
    request: ChatRequest
    endpoint: str
    #: When it was admitted: decides its UTC month and its price.
    started_at: int
    month: str
    address: str = ""


class Window(msgspec.Struct, frozen=True):
    """One limit of a tier on this call: at most `limit` in any `seconds`, counted under `key`.

    `unit` "requests" takes 1, "tokens" the reserved amount. A window with `day` set counts per UTC day instead.
    """

    key: str
    unit: Literal["requests", "tokens"]
    limit: int
    seconds: int = 60
    day: bool = False
    #: What a 429 says is limited, e.g. "requests per minute".
    label: str = "requests per minute"
    #: The tier whose limit it is, for the 429's message.
    tier: str = ""


class Terms(msgspec.Struct, frozen=True):
    """What a tier allows this call. Every limit None or empty means none."""

    tier: str
    windows: tuple[Window, ...] = ()
    #: The account's monthly cap, credit included; the bearer's own cap stands in the principal.
    cap: Units | None = None
    #: What all of the tier's calls on this account together may cost in a UTC day.
    day_cap: Units | None = None
    #: Inference is paid for elsewhere: settled here at 0, e.g. by a hosted instance's upstream gateway.
    unmetered: bool = False


class LimitState(msgspec.Struct, frozen=True):
    """One window after a reservation, for the x-ratelimit headers. `reset_ms`: until it is whole again."""

    window: Window
    remaining: int
    reset_ms: int


class Reservation(msgspec.Struct, frozen=True):
    """What a call took from the limiter: given back by `Limiter.settle`. `token` is the limiter's own."""

    states: tuple[LimitState, ...] = ()
    token: Any = None


class Hold(msgspec.Struct, frozen=True):
    """The worst case of a call, taken out of its caps before anything is spent. Its id is the call's."""

    id: str
    account_id: str
    bearer_id: str
    month: str
    amount: Units
    input_tokens: int
    output_tokens: int
    rates: Rates
    model: str
    tier: str
    endpoint: str
    started_at: int
    stream: bool
    account_cap: Units | None = None
    bearer_cap: Units | None = None
    #: Of the tier's calls on this account, on the UTC day that this one began on.
    day_cap: Units | None = None


class Checkpoint(msgspec.Struct, frozen=True, array_like=True):
    """How far a stream has got, in counts and never in text."""

    id: str
    provider: str
    upstream_model: str
    input: int
    output: int
    cached: int
    cache_write: int
    reasoning: int
    estimated: bool
    ttft_ms: int | None


class Settlement(msgspec.Struct, frozen=True):
    """The end of a call, complete but for the split between credit and overage, which the ledger's order decides.

    `usage` is what was delivered and is charged; `generated` is the provider's own count where it gave one.
    `charge` is never above the hold; `loss` is what the house pays beyond what it charges at list price.
    """

    hold: Hold
    usage: Usage
    generated: Usage
    charge: Units
    owed: Units
    loss: Units
    outcome: Outcome
    stream_state: StreamState | None
    error_code: str | None
    provider: str
    upstream_model: str
    latency_ms: int
    ttft_ms: int | None
    served_at: int
    billed_by: Literal["gateway", "upstream"] = "gateway"
    #: Bytes the client's kernel acknowledged, where it can be had.
    acknowledged_bytes: int | None = None


class Settled(msgspec.Struct, frozen=True):
    """What the ledger made of a settlement. `first` is False where it had been settled before."""

    id: str
    charge: Units
    credit_used: Units
    overage: Units
    sequence: int
    first: bool = True


class Record(msgspec.Struct, frozen=True):
    """One immutable record in a thread. `body` is the stored bytes, a JSON object; `hash` its place in the chain."""

    id: str
    account_id: str
    thread: str
    sequence: int
    created_at: int
    body: msgspec.Raw
    hash: str


class Adjustment(msgspec.Struct, frozen=True):
    """One correction of an account's bill: a fact that is added, since nothing that was settled ever changes."""

    id: str
    account_id: str
    #: The UTC month whose invoice has it.
    month: str
    kind: AdjustmentKind
    #: What it adds to what is due: below 0 for a refund and a credit note, above 0 for a reversal.
    amount: Units
    why: str
    #: The bearer id of the operator who made it.
    who: str
    at: int
    #: The call that it refunds, or the adjustment that it reverses.
    refers_to: str | None = None
    #: Of its record in the account's chain.
    sequence: int = 0


class Key(msgspec.Struct, frozen=True):
    """A user key as it is stored: never its secret."""

    id: str
    account_id: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: int
    #: The characters that a person recognises it by, e.g. "sk-…x4Qz".
    hint: str
    models: tuple[str, ...] | None = None
    cap: Units | None = None
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None


class Instance(msgspec.Struct, frozen=True):
    """A registered issuer of bearers: another gateway like this one, known by its public keys.

    Its keys are pinned at registration (`pinned_keys`), or fetched from `jwks_url`, of which `jwks` is the last good
    answer; both are JWK Sets as JSON text.
    """

    #: `inst_` and the thumbprint (RFC 7638) of its first key.
    id: str
    account_id: str
    kind: InstanceKind
    name: str
    created_at: int
    pinned_keys: str | None = None
    jwks_url: str | None = None
    jwks: str | None = None
    jwks_fetched_at: int | None = None
    #: Where the account's records are sent to; None: it fetches them itself, or has none.
    push_url: str | None = None
    #: Its own monthly cap; None for none.
    cap: Units | None = None
    revoked_at: int | None = None


class Chunk(msgspec.Struct, frozen=True):
    """One event of a streamed answer, ready to be written.

    `choices` is the JSON array as it goes out. `texts` are the billable pieces in it (content, reasoning, tool
    arguments), `usage` the provider's cumulative count where it came with this event, `extra` the other top-level
    fields to pass on. An event without choices only carries usage or extras.
    """

    choices: msgspec.Raw = msgspec.Raw(b"[]")
    texts: tuple[str, ...] = ()
    #: A finish reason was in it.
    finish: bool = False
    usage: Usage | None = None
    #: The usage object as the provider wrote it, for the usage chunk; None: written from `usage`.
    usage_fields: Mapping[str, msgspec.Raw] | None = None
    id: str | None = None
    created: int | None = None
    extra: Mapping[str, msgspec.Raw] = {}


class Shape(msgspec.Struct, frozen=True):
    """What events have in common that differ in one text alone: their choices before it and behind it, on one line,
    and their other fields."""

    before: bytes
    after: bytes
    extra: Mapping[str, msgspec.Raw] = {}


class Run(msgspec.Struct, frozen=True):
    """Events in a row that differ in one text alone, as most do; each stays an event of its own to the client. `tokens`
    are their texts as JSON on one line, `texts` the same as billed, none empty; `usage`: as of the last one."""

    shape: Shape
    tokens: Sequence[bytes]
    texts: Sequence[str]
    usage: Usage | None = None
    finish: ClassVar[bool] = False
    usage_fields: ClassVar[None] = None
    id: ClassVar[None] = None
    created: ClassVar[None] = None


Batch = Sequence[Chunk | Run]
"""What came at once of a streamed answer."""


def events_of(batch: Batch) -> list[Chunk]:
    """Each event of a batch by itself."""
    events: list[Chunk] = []
    for one in batch:
        if isinstance(one, Chunk):
            events.append(one)
        else:
            before, after, extra = one.shape.before, one.shape.after, one.shape.extra
            for token, text in zip(one.tokens, one.texts, strict=True):
                events.append(Chunk(msgspec.Raw(before + token + after), (text,), extra=extra))
            events[-1] = msgspec.structs.replace(events[-1], usage=one.usage)
    return events


class Completion(msgspec.Struct, frozen=True):
    """A whole answer. `extra` holds the provider's other top-level fields, passed on as they are."""

    choices: msgspec.Raw
    usage: Usage | None
    texts: tuple[str, ...] = ()
    usage_fields: Mapping[str, msgspec.Raw] | None = None
    id: str | None = None
    created: int | None = None
    extra: Mapping[str, msgspec.Raw] = {}
