"""The team tier: requests and tokens per minute on each model, counted per account, by the plan that it is on."""

from collections.abc import Mapping

import msgspec

from gateway_core.errors import AccountSuspended, ConfigError, SubscriptionRequired
from gateway_core.hookspecs import API, hookimpl, lasting
from gateway_core.money import Units
from gateway_core.services import Services
from gateway_core.types import Account, BearerKind, Call, Terms, Window

TIER = "team"
KINDS: frozenset[BearerKind] = frozenset({"user_key", "instance"})

Limits = Mapping[str, Mapping[str, int]]
"""Model → {"rpm": …, "tpm": …}."""

_NONE: Mapping[str, int] = {}


class TeamSettings(msgspec.Struct, frozen=True):
    """`[tiers.team]`."""

    #: The plan of `[plans]` that an account without a subscription is on; without one it is refused.
    plan: str | None = None


class Plugin:
    """Admits user keys and instances, where `[bearers] user_key = "team"` puts them on this tier."""

    API = API
    SECTION = f"tiers.{TIER}"
    Settings = TeamSettings

    def __init__(self, settings: TeamSettings) -> None:
        self._plan = settings.plan
        self._limits: Limits = {}
        self._kinds: frozenset[BearerKind] = frozenset()

    @hookimpl
    async def startup(self, services: Services) -> None:
        """Learns whether local keys are on this tier, and what the plan of those without a subscription allows."""
        if services.config.bearers.user_key != TIER:
            return
        if self._plan is not None:
            self._limits = _limits(services, self._plan)
        self._kinds = KINDS

    @hookimpl
    @lasting
    def admit(self, call: Call) -> Terms | None:
        """The team's windows on this model. SubscriptionRequired where its plan does not include the model."""
        if call.principal.kind not in self._kinds:
            return None
        account, model = call.account, call.request.model
        if account.suspended:
            raise AccountSuspended("The account is suspended: ask the gateway's operator.")
        plan, included, cap = self._terms_of(account)
        given, own = included.get(model), account.limits.get(model)
        if model and included and given is None and own is None:
            raise SubscriptionRequired(f"The model `{model}` is not part of the plan {plan}.", param="model", tier=TIER)
        caps = [each for each in (cap, account.cap) if each is not None]
        return Terms(TIER, _windows(account.id, model, {**(given or _NONE), **(own or _NONE)}), min(caps, default=None))

    def _terms_of(self, account: Account) -> tuple[str, Limits, Units | None]:
        """Plan, its limits and cap: the subscription's as of its start, else those that all are on."""
        held = account.subscription
        if held is not None and held.status == "active":
            return held.plan, held.limits, held.cap
        if held is not None and held.status == "suspended":
            raise SubscriptionRequired("This account has a subscription that is suspended.", tier=TIER)
        if self._plan is None:
            raise SubscriptionRequired("This account has no active subscription.", tier=TIER)
        return self._plan, self._limits, None


def _limits(services: Services, name: str) -> Limits:
    plan = services.config.plans.get(name)
    if plan is None:
        raise ConfigError(f'there is no plan "{name}" in [plans]', where="[tiers.team] plan")
    return {
        model: {unit: limit for unit, limit in (("rpm", limits.rpm), ("tpm", limits.tpm)) if limit is not None}
        for model, limits in plan.limits.items()
    }


def _windows(account_id: str, model: str, limits: Mapping[str, int]) -> tuple[Window, ...]:
    """Counted per account: all its keys together. The keys of windows are those of the other tiers, too."""
    rpm, tpm = limits.get("rpm"), limits.get("tpm")
    windows = []
    if rpm is not None:
        windows.append(Window(f"{account_id}:{model}:requests", "requests", rpm, tier=TIER))
    if tpm is not None:
        key = f"{account_id}:{model}:tokens"
        windows.append(Window(key, "tokens", tpm, label="tokens per minute", tier=TIER))
    return tuple(windows)
