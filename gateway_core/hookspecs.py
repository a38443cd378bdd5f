"""The contract with plugins: every hook, what it gets, what it answers and when it is called.

A plugin is a class named by an entry point in the group `spl_gateway`. The core builds it with its own settings
and asks for nothing but the hooks it implements:

    from gateway_core.hookspecs import API, hookimpl

    class Plugin:
        API = 1                       # the contract's number that it was written for
        SECTION = "plugins.my-plugin" # optional: the TOML table with its settings
        Settings = MySettings         # optional: a msgspec struct with defaults, checked strictly

        def __init__(self, settings: MySettings) -> None: ...

        @hookimpl
        def price(self, call, usage): ...

In a decision hook None means "not mine" and the next plugin is asked; an exception means "mine, and refused". A
decision that fails in any other way fails closed with an error naming the plugin; observers (`emit_audit`) are
isolated and retried. Implementations are compiled once at start (`gateway_core.dispatch`); hooks marked *pure* must
neither block nor wait.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from gateway_core.types import Call, Cost, Credentials, Principal, Record, Route, Terms, Usage

if TYPE_CHECKING:
    import click

    from gateway_core.ports import Endpoint, LimiterKind, ProviderKind
    from gateway_core.services import Services
    from gateway_core.store_ports import StoreKind

GROUP = "spl_gateway"
"""The entry-point group that plugins are found by."""

API = 1
"""The contract's number. It rises when an existing plugin would have to change."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

LASTING = f"{GROUP}_lasting"

F = TypeVar("F", bound=Callable[..., Any])


def lasting(implementation: F) -> F:
    """Says, below `@hookimpl`, that an implementation's answer lasts, so that it is not asked at each call.

    Of `admit` and `select_backend`: for all calls of one principal to one model on one UTC day, while the account is
    unchanged. Of `price`: its rates do, for just those calls and whatever their usage. Of `authenticate`: for a minute
    at most, until the principal expires or an account, a key or an instance is changed. Refusals are not kept.

    A hook's answers are kept where all of its implementations that are on are lasting.
    """
    setattr(implementation, LASTING, True)
    return implementation


# ---------------------------------------------------------------- start-up: objects are collected


@hookspec
def register_providers() -> "list[ProviderKind]":  # type: ignore[empty-body]  # a specification has no body
    """The kinds of provider this plugin can build from a `[providers.NAME]` table. Synchronous, at start."""


@hookspec
def register_stores() -> "list[StoreKind]":  # type: ignore[empty-body]  # a specification has no body
    """The stores this plugin can open, by the scheme of `[store] url`. Synchronous, at start."""


@hookspec
def register_limiters() -> "list[LimiterKind]":  # type: ignore[empty-body]  # a specification has no body
    """The limiters this plugin can build, by the scheme of `[limits] url`. Synchronous, at start."""


@hookspec
def register_routes(services: "Services") -> "list[Endpoint]":  # type: ignore[empty-body]  # a specification has no body
    """HTTP endpoints of its own, each with its gate. Synchronous, at start.

    The store is not open yet: keep `services` and use it when a request comes.
    """


@hookspec
def register_commands() -> "list[click.Command]":  # type: ignore[empty-body]  # a specification has no body
    """Commands for `spl`. Synchronous; called without a gateway, so keep it cheap."""


@hookspec
async def startup(services: "Services") -> None:
    """The store is open and nothing is served yet. Raise to refuse the start; in the order of configuration."""


@hookspec
async def shutdown() -> None:
    """Nothing is served any more and the store is still open. In reverse order; an error is logged."""


# ---------------------------------------------------------------- every call


@hookspec
async def authenticate(credentials: Credentials) -> Principal | None:
    """Who shows these credentials? Called before the body is read; the first answer wins, in configured order.

    None: not my kind of bearer. `InvalidBearer` and its kin: mine, and refused; nothing falls back to anonymous.
    """


@hookspec
def admit(call: Call) -> Terms | None:
    """The terms of the caller's tier for this call: limits and cap. Pure.

    Also asked while the body is still on its way, then about the model "": the windows that hold for every model are
    looked at, and a refusal waits for its turn.

    None: not my tier. `SubscriptionRequired`, `AccountSuspended`: mine, and refused.
    """


@hookspec
def select_backend(call: Call) -> list[Route] | None:
    """Routes for the call's model, in order of preference; the later ones are fallbacks. Pure.

    None: not my model. Where nobody answers the call is a `ModelNotFound`.
    """


@hookspec
def price(call: Call, usage: Usage) -> Cost | None:
    """What this usage costs, exactly, at the call's own time. Pure; asked at the hold, and settled by its rates.

    None: I know no price. Where nobody does, the call is refused, never given away.
    """


@hookspec
async def emit_audit(record: Record) -> None:
    """Takes one record, in order per account. Called after settlement, from the durable store, never on a call's path.

    Returning means taken, for good. An exception or a time-out means "again later"; other sinks are not held up.
    A record may come twice after a crash: its id makes it one.
    """


@hookspec
async def wants_audit(account_id: str) -> bool:  # type: ignore[empty-body]  # a specification has no body
    """Whether this plugin's `emit_audit` takes this account's records as things are now. Without it: all accounts'.

    Asked before each batch, at the start, and when an instance was registered or changed: answer from memory. What an
    account has by then is told from where this sink stopped, or from its first record.
    """


HOOKS: dict[str, Any] = {
    name: spec for name, spec in list(globals().items()) if getattr(spec, f"{GROUP}_spec", None) is not None
}
"""Every hook by name."""
