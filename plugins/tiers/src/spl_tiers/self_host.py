"""The self-host tier: one's own gateway, or a managed one's calls from gateways of its customers.

No per-minute limit and no cap unless configured."""

from typing import Annotated

import msgspec
from msgspec import Meta

from gateway_core.hookspecs import API, hookimpl, lasting
from gateway_core.services import Services
from gateway_core.types import BearerKind, Call, Terms
from spl_tiers.terms import AccountTerms, parse_amount, refuse_suspended, require_subscription

TIER = "self-host"
OWN: frozenset[BearerKind] = frozenset({"self_host", "operator"})
"""Bearers that are on this tier whatever `[bearers] user_key` says."""


class SelfHostSettings(msgspec.Struct, frozen=True):
    """`[tiers.self-host]`. What is absent is not limited."""

    requests_per_minute: Annotated[int, Meta(ge=1)] | None = None
    #: Each account's monthly cap where it has none of its own, in USD as text.
    cap_usd: str | None = None
    #: Accounts pay by their subscription and need an active one; the operator does not.
    needs_subscription: bool = False

    def __post_init__(self) -> None:
        """Refuses a cap that is not an amount."""
        parse_amount("cap_usd", self.cap_usd)


class Plugin:
    """Admits self-host bearers and the operator; user keys and instances where `[bearers] user_key` says so."""

    API = API
    SECTION = f"tiers.{TIER}"
    Settings = SelfHostSettings

    def __init__(self, settings: SelfHostSettings) -> None:
        self._terms = AccountTerms(TIER, settings.requests_per_minute, parse_amount("cap_usd", settings.cap_usd))
        self._needs_subscription = settings.needs_subscription
        self._kinds = OWN

    @hookimpl
    async def startup(self, services: Services) -> None:
        """Learns whether local keys are on this tier."""
        if services.config.bearers.user_key == TIER:
            self._kinds = OWN | {"user_key", "instance"}

    @hookimpl
    @lasting
    def admit(self, call: Call) -> Terms | None:
        """The tier's terms for a bearer of its kinds; None for any other."""
        if call.principal.kind not in self._kinds:
            return None
        refuse_suspended(call.account)
        if self._needs_subscription and call.principal.kind != "operator":
            require_subscription(TIER, call.account)
        return self._terms.of(call)
