"""What the tiers have in common: terms from a tier's own settings and the account's facts."""

from gateway_core.errors import AccountSuspended
from gateway_core.money import Units, parse_usd
from gateway_core.types import Account, Call, Terms, Window

MINUTE = 60


def refuse_suspended(account: Account) -> None:
    """Raises AccountSuspended where the account may not call."""
    if account.suspended:
        raise AccountSuspended("The account is suspended: ask the gateway's operator.")


def account_windows(tier: str, call: Call, requests_per_minute: int | None) -> tuple[Window, ...]:
    """The tier's own window over all models, and those that the account was given for this model.

    Keys name account and model and not the tier, so a change of tier starts no new minute.
    """
    account, model = call.account, call.request.model
    own = account.limits.get(model)
    if own is None and requests_per_minute is None:
        return ()
    windows = []
    if requests_per_minute is not None:
        windows.append(Window(f"{account.id}:requests", "requests", requests_per_minute, MINUTE, tier=tier))
    rpm, tpm = (own.get("rpm"), own.get("tpm")) if own else (None, None)
    if rpm is not None:
        windows.append(Window(f"{account.id}:{model}:requests", "requests", rpm, MINUTE, tier=tier))
    if tpm is not None:
        key = f"{account.id}:{model}:tokens"
        windows.append(Window(key, "tokens", tpm, MINUTE, label="tokens per minute", tier=tier))
    return tuple(windows)


def account_terms(tier: str, call: Call, requests_per_minute: int | None, cap: Units | None) -> Terms:
    """Terms of a tier that meters an account: the account's own cap replaces the tier's."""
    account = call.account
    return Terms(tier, account_windows(tier, call, requests_per_minute), cap if account.cap is None else account.cap)


def parse_cap(cap_usd: str | None) -> Units | None:
    """A cap as configured; raises ValueError naming the key."""
    if cap_usd is None:
        return None
    try:
        return parse_usd(cap_usd)
    except ValueError as error:
        raise ValueError(f"cap_usd: {error}") from None
