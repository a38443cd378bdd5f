"""What an operator can configure: TOML, checked whole at start, frozen afterwards.

Tables that belong to a plugin (`[tiers.NAME]`, `[pricing]`, `[plugins.NAME]`, the own keys of `[providers.NAME]`)
are kept raw here and checked by the plugin's settings struct.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Table = Mapping[str, Any]
Count = Annotated[int, Meta(ge=1, le=2**53)]
Seconds = Annotated[float, Meta(gt=0)]
Days = Annotated[int, Meta(ge=1, le=36_500)]


class ServerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[server]`: the address, and how answers look."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8700
    #: The `aud` of bearers; default: the address it listens on.
    public_url: str | None = None
    header_prefix: str = "X-Syncropic-"
    error_dialect: Literal["syncropic", "openai"] = "syncropic"
    #: Addresses or networks of proxies whose X-Forwarded-For entry is believed.
    trusted_proxies: tuple[str, ...] = ()
    #: A larger body is refused before it is read whole.
    max_body_bytes: Count = 20 * 1024 * 1024
    #: Seconds that a client may take to send a request's head, and then its body.
    request_timeout: Seconds = 10.0
    #: Seconds of silence after which the client of a stream gets a comment, and its head where it has none yet.
    keep_alive_seconds: Seconds = 15.0
    #: Seconds in which a client may take nothing of what waits for it; then it counts as gone.
    stall_seconds: Seconds = 60.0
    #: Seconds that open streams get at a shutdown before they are cut and settled.
    grace_seconds: Annotated[float, Meta(ge=0)] = 30.0
    #: Bad requests (400) and refused bearers (401), each, after which an address is answered 429 for a while.
    failures_per_minute: Count = 300
    #: Serves many tenants on the operator's provider accounts: refuses what would cross them.
    managed: bool = False


class StoreConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[store]`: where everything durable is."""

    url: str = "sqlite"
    #: Milliseconds that a group commit may gather rows while calls come in fast; a lone call never waits.
    group_window_ms: Annotated[float, Meta(ge=0, le=1000)] = 2.0


class LimitsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[limits]`: where the windows are counted, and how much one account's cut calls may cost the house."""

    url: str = "memory"
    #: USD a UTC day that an account's calls may cost beyond what they were charged; "unlimited": any amount.
    loss_usd_per_day: str = "10"


class IdempotencyConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[idempotency]`: answers that are kept for callers who repeat a call under its Idempotency-Key."""

    hours: Annotated[float, Meta(gt=0, le=24 * 31)] = 24.0
    #: A larger answer is given, and not kept.
    max_answer_bytes: Count = 1024 * 1024
    #: Of one account: answers, and bytes of all of them as they are stored.
    max_answers: Count = 10_000
    max_bytes: Count = 256 * 1024 * 1024


class MemoryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[memory]`: what providers must be told again in a later call and no client gives back: signed thinking."""

    hours: Annotated[float, Meta(gt=0, le=24 * 31)] = 24.0
    #: A larger entry is not kept.
    max_entry_bytes: Count = 512 * 1024
    #: Of one account: entries, and bytes of all of them. The oldest give way.
    max_entries: Count = 20_000
    max_bytes: Count = 128 * 1024 * 1024
    #: Of all accounts; beyond it the account that keeps most loses its oldest.
    max_total_bytes: Count = 2 * 1024 * 1024 * 1024
    #: In this process, so that a tool loop asks no disk.
    cache_bytes: Annotated[int, Meta(ge=0)] = 32 * 1024 * 1024


class MediaConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[media]`: images and files that a request names by address, fetched here where the provider does not."""

    #: Of one request; 0: nothing is fetched.
    max_files: Annotated[int, Meta(ge=0)] = 20
    #: Of one file, and of all files of one request.
    max_bytes: Count = 20 * 1024 * 1024
    max_request_bytes: Count = 32 * 1024 * 1024
    #: For each file, the look-up of its host's name included.
    seconds: Seconds = 10.0
    #: Files that are fetched at the same time, in all and for one account; others wait.
    at_once: Count = 16
    at_once_per_account: Count = 4
    allow_http: bool = False
    #: Loopback and private addresses may be asked: for files in one's own network, where every caller may see them.
    allow_private_addresses: bool = False


class RetentionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[retention]`: days after which something is removed by itself; absent: never. The ledger itself stays."""

    #: Audit records, from the beginning of each chain, and none that a sink is still to be told.
    records_days: Days | None = None
    #: Lines of the operators' log.
    operator_log_days: Days | None = None
    #: After these nobody can tie the hash of an anonymous caller to an address: the day's key is removed.
    anonymous_days: Days = 30


class BearersConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[bearers]`: which tier local keys are on, and where instances may be."""

    user_key: str = "self-host"
    #: JWKS and push URLs of instances may be http, and lead to loopback and private addresses: for instances in
    #: one's own network.
    allow_private_addresses: bool = False


TIMEOUTS = ("connect_timeout", "first_byte_timeout", "idle_timeout", "total_timeout")
"""The deadlines that `[upstream]` has, and that a provider and a model may have of their own."""


class UpstreamConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[upstream]`: attempts at providers; a provider or a model may set its own deadlines. Seconds."""

    #: "native": our own connections, HTTP/1.1. "httpx2": also by proxy and HTTP/2, at some ten times the CPU a call.
    client: Literal["native", "httpx2"] = "native"
    #: The address of an HTTP proxy for all providers, "http://host:port" or "env:NAME"; only with client = "httpx2".
    proxy: str | None = None
    #: HTTP/2 to providers whose servers offer it over TLS; only with client = "httpx2". Needs spl-gateway[http2].
    http2: bool = False
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    connect_timeout: Seconds = 5.0
    first_byte_timeout: Seconds = 120.0
    idle_timeout: Seconds = 60.0
    total_timeout: Seconds = 900.0
    max_connections: Count = 1000
    #: The largest answer and the largest single event that is accepted from a provider.
    max_answer_bytes: Count = 64 * 1024 * 1024
    max_event_bytes: Count = 8 * 1024 * 1024
    #: Failed attempts in a row after which a route is left alone for a while; 0: none ever is.
    breaker_failures: Annotated[int, Meta(ge=0)] = 10
    #: The same for a share of failures among the last `breaker_window` attempts.
    breaker_ratio: Annotated[float, Meta(gt=0, le=1)] = 0.5
    breaker_window: Count = 50
    #: How long it is left alone before one call tries it; doubled with every try that fails, up to the longest.
    breaker_seconds: Seconds = 5.0
    breaker_longest_seconds: Seconds = 60.0


class RouteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of a model's `routes`."""

    provider: str
    model: str


class LongPriceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a call costs, its output too, whose prompt has more than `above` tokens, cached ones included."""

    above: Count
    input: str
    output: str
    cached_input: str | None = None
    cache_write: str | None = None


class PriceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A list price: USD per 1M tokens, as text. What is absent costs what `input` costs."""

    input: str
    output: str
    cached_input: str | None = None
    cache_write: str | None = None
    #: The first day (UTC) that it is valid on, "2026-01-31"; default: always.
    valid_from: str | None = None
    #: Where long prompts cost more.
    long: LongPriceConfig | None = None


class ModelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[models."NAME"]`. What is absent comes from the `[catalogue."NAME"]` of an included file, then from defaults."""

    routes: tuple[RouteConfig, ...] = ()
    #: "free", one list price, or several with dates; absent: the price book's.
    price: Literal["free"] | PriceConfig | tuple[PriceConfig, ...] | None = None
    tiers: tuple[str, ...] | None = None
    context_tokens: Count | None = None
    max_output_tokens: Count | None = None
    output_reservation: Count | None = None
    media_tokens: Annotated[int, Meta(ge=0)] | None = None
    overhead_tokens: Annotated[int, Meta(ge=0)] | None = None
    features: tuple[str, ...] | None = None
    tokenizer: Literal["cl100k_base", "o200k_base"] | None = None
    family: str | None = None
    created: Annotated[int, Meta(ge=0)] | None = None
    #: Its own deadlines; absent: its provider's, then those of [upstream].
    connect_timeout: Seconds | None = None
    first_byte_timeout: Seconds | None = None
    idle_timeout: Seconds | None = None
    total_timeout: Seconds | None = None


class LimitConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one model in a plan."""

    rpm: Count | None = None
    tpm: Count | None = None


class PlanConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[plans.NAME]`: what a subscription to it costs, includes and allows. USD as text."""

    fee_usd: str = "0"
    credit_usd: str = "0"
    cap_usd: str | None = None
    #: For each instance that we provisioned, besides the fee.
    instance_fee_usd: str = "0"
    limits: Mapping[str, LimitConfig] = {}


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole configuration, as read and checked."""

    #: Files to read first, relative to this one, or "shipped:prices.toml"; what stands here wins over what stands
    #: there.
    include: tuple[str, ...] = ()
    server: ServerConfig = ServerConfig()
    store: StoreConfig = StoreConfig()
    limits: LimitsConfig = LimitsConfig()
    idempotency: IdempotencyConfig = IdempotencyConfig()
    memory: MemoryConfig = MemoryConfig()
    media: MediaConfig = MediaConfig()
    retention: RetentionConfig = RetentionConfig()
    #: `enabled` and one table a plugin.
    plugins: Table = {}
    bearers: BearersConfig = BearersConfig()
    upstream: UpstreamConfig = UpstreamConfig()
    providers: Mapping[str, Table] = {}
    models: Mapping[str, ModelConfig] = {}
    #: Facts and list prices of models that may be served; `[models]` says which are.
    catalogue: Mapping[str, ModelConfig] = {}
    plans: Mapping[str, PlanConfig] = {}
    pricing: Table = {}
    tiers: Mapping[str, Table] = {}
