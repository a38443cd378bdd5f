"""The paid tier of a managed gateway: bearers of accounts with an active subscription."""

from typing import Annotated

import msgspec
from msgspec import Meta

from gateway_core.hookspecs import API, hookimpl, lasting
from gateway_core.services import Services
from gateway_core.types import BearerKind, Call, Terms
from spl_tiers.terms import AccountTerms, refuse_suspended, require_subscription

TIER = "paid"
KINDS: frozenset[BearerKind] = frozenset({"user_key", "instance"})


class PaidSettings(msgspec.Struct, frozen=True):
    """`[tiers.paid]`."""

    #: Of each account, over all models.
    requests_per_minute: Annotated[int, Meta(ge=1)] = 60


class Plugin:
    """Admits user keys and instances, where `[bearers] user_key = "paid"` puts them on this tier."""

    API = API
    SECTION = f"tiers.{TIER}"
    Settings = PaidSettings

    def __init__(self, settings: PaidSettings) -> None:
        self._terms = AccountTerms(TIER, settings.requests_per_minute)
        self._kinds: frozenset[BearerKind] = frozenset()

    @hookimpl
    async def startup(self, services: Services) -> None:
        """Learns whether local keys are on this tier."""
        if services.config.bearers.user_key == TIER:
            self._kinds = KINDS

    @hookimpl
    @lasting
    def admit(self, call: Call) -> Terms | None:
        """The account's minute, its plan's limits and cap. SubscriptionRequired without an active subscription."""
        if call.principal.kind not in self._kinds:
            return None
        refuse_suspended(call.account)
        require_subscription(TIER, call.account)
        return self._terms.of(call)
