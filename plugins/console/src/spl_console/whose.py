"""Whose rows a page shows: the visitor's account, or for an operator the one that `account` names."""

from urllib.parse import quote

from gateway_core.errors import InsufficientScope, NotFound
from gateway_core.types import Account
from spl_console.page import Visit


async def account_of(visit: Visit) -> Account:
    """The account. Raises InsufficientScope where somebody names another than his own, NotFound where there is none."""
    named = visit.query("account") or visit.field("account")
    if not named:
        own = await visit.services.store.directory.account(visit.principal.account_id)
        if own is None:
            raise NotFound("There is no account for this key: choose one under Accounts.")
        return own
    found = await account_called(visit, named)
    if found is not None and found.id == visit.principal.account_id:
        return found
    if not visit.may("operator"):
        raise InsufficientScope("Another account than the key's own needs a key with the scope operator.")
    if found is None:
        raise NotFound("There is no such account.")
    return found


async def account_called(visit: Visit, name: str) -> Account | None:
    """The account of that id or name."""
    directory = visit.services.store.directory
    return await directory.account(name) or await directory.account_named(name)


def cap_of(account: Account) -> int | None:
    """What the account may spend in a month, in units: its own cap or its subscription's, whichever is tighter."""
    plan = account.subscription
    caps = [account.cap, plan.cap if plan is not None and plan.status == "active" else None]
    return min([cap for cap in caps if cap is not None], default=None)


def named(visit: Visit, account: Account) -> str:
    """What a link to another page about the same account carries: nothing for the visitor's own."""
    return "" if account.id == visit.principal.account_id else f"account={quote(account.id, safe='')}"


async def key_names(visit: Visit, ids: set[str]) -> dict[str, str]:
    """What bearers are called: keys and instances by their names, others by what they are."""
    store, found = visit.services.store, dict[str, str]()
    for each in ids:
        if each == "key_operator":
            found[each] = "operator"
        elif each.startswith("inst_"):
            instance = await store.instances.find(each)
            found[each] = each if instance is None else instance.name
        else:
            key = await store.directory.key(each)
            found[each] = each if key is None else key.name
    return found
