"""What the tiers have in common: terms from a tier's own settings, the account's facts and its subscription."""

from collections.abc import Mapping

from gateway_core.errors import AccountSuspended, SubscriptionRequired
from gateway_core.money import Units, parse_usd
from gateway_core.types import Account, Call, Subscription, Terms, Window

MINUTE = 60

_MOST_KEPT = 10_000

_NONE: Mapping[str, int] = {}


def refuse_suspended(account: Account) -> None:
    """Raises AccountSuspended where the account may not call."""
    if account.suspended:
        raise AccountSuspended("The account is suspended: ask the gateway's operator.")


def require_subscription(tier: str, account: Account) -> None:
    """Raises SubscriptionRequired where the account has no subscription, or one that is not active."""
    held = account.subscription
    if held is None or held.status != "active":
        state = "has no subscription" if held is None else f"has a subscription that is {held.status}"
        raise SubscriptionRequired(f"This account {state}: an active one is needed.", tier=tier)


def active(account: Account) -> Subscription | None:
    """The account's subscription, where it is active."""
    held = account.subscription
    return held if held is not None and held.status == "active" else None


def account_windows(tier: str, call: Call, requests_per_minute: int | None) -> tuple[Window, ...]:
    """The tier's own window over all models, and those of this model: the account's own, else its plan's.

    Keys name account and model and not the tier, so a change of tier starts no new minute.
    """
    account, model = call.account, call.request.model
    plan = active(account)
    given = plan.limits.get(model, _NONE) if plan is not None else _NONE
    own = account.limits.get(model, _NONE)
    windows = []
    if requests_per_minute is not None:
        windows.append(Window(f"{account.id}:requests", "requests", requests_per_minute, MINUTE, tier=tier))
    if not given and not own:
        return tuple(windows)
    rpm, tpm = own.get("rpm", given.get("rpm")), own.get("tpm", given.get("tpm"))
    if rpm is not None:
        windows.append(Window(f"{account.id}:{model}:requests", "requests", rpm, MINUTE, tier=tier))
    if tpm is not None:
        key = f"{account.id}:{model}:tokens"
        windows.append(Window(key, "tokens", tpm, MINUTE, label="tokens per minute", tier=tier))
    return tuple(windows)


class AccountTerms:
    """Terms of a tier that meters accounts: kept for each account and model while the account is the same."""

    def __init__(self, tier: str, requests_per_minute: int | None, cap: Units | None = None) -> None:
        self._tier = tier
        self._requests_per_minute = requests_per_minute
        self._cap = cap
        self._kept: dict[tuple[str, str], tuple[Account, Terms]] = {}

    def of(self, call: Call) -> Terms:
        """What holds for a call. The store reads an account anew after every change: then it is another object."""
        account = call.account
        place = (account.id, call.request.model)
        kept = self._kept.get(place)
        if kept is not None and kept[0] is account:
            return kept[1]
        windows = account_windows(self._tier, call, self._requests_per_minute)
        terms = Terms(self._tier, windows, self._tightest(account))
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[place] = account, terms
        return terms

    def _tightest(self, account: Account) -> Units | None:
        """An account's own cap replaces the tier's; of that and its subscription's the tighter binds."""
        plan = active(account)
        cap = self._cap if account.cap is None else account.cap
        if plan is not None and plan.cap is not None and (cap is None or plan.cap < cap):
            return plan.cap
        return cap


def parse_amount(name: str, usd: str | None) -> Units | None:
    """An amount as configured; raises ValueError naming the key."""
    if usd is None:
        return None
    try:
        return parse_usd(usd)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
