"""Accounts, for operators: found, looked at, limited, and their subscriptions begun and ended."""

from typing import Any
from urllib.parse import quote

import msgspec
from starlette.responses import Response

from gateway_core.errors import GatewayError, InvalidRequest, NotFound
from gateway_core.types import Account
from spl_console.page import Page, Visit
from spl_console.times import day_of
from spl_console.whose import account_called

_SHOWN = 50
_SEARCHED = 20_000
"""Accounts that a search looks at."""


class Act(msgspec.Struct, frozen=True):
    """What an operator can do to an account after being asked whether he means it. `to`: the API's path, with the
    account's id in it; `body`: what is sent there."""

    question: str
    means: str
    button: str
    done: str
    method: str
    to: str
    body: dict[str, Any] | None = None
    danger: bool = True


ACTS = {
    "suspend": Act(
        "Suspend {0}?",
        "All of its keys are refused from the next call on. Nothing is lost, and it can be resumed.",
        "Suspend the account",
        "{0} is suspended.",
        "PATCH",
        "/v1/admin/accounts/{0}",
        {"suspended": True},
    ),
    "resume": Act(
        "Resume {0}?",
        "Its keys work again from the next call on.",
        "Resume the account",
        "{0} may call again.",
        "PATCH",
        "/v1/admin/accounts/{0}",
        {"suspended": False},
        danger=False,
    ),
    "suspend-plan": Act(
        "Suspend the subscription of {0}?",
        "Calls that it pays for are refused. Its fee goes on.",
        "Suspend the subscription",
        "The subscription of {0} is suspended.",
        "POST",
        "/v1/admin/subscriptions/{0}/suspend",
    ),
    "resume-plan": Act(
        "Resume the subscription of {0}?",
        "Calls that it pays for are admitted again.",
        "Resume the subscription",
        "The subscription of {0} is active again.",
        "POST",
        "/v1/admin/subscriptions/{0}/resume",
        danger=False,
    ),
    "cancel-plan": Act(
        "Cancel the subscription of {0}?",
        "It ends at once. The month's fee and credit stay, and it can be begun again.",
        "Cancel the subscription",
        "The subscription of {0} is cancelled.",
        "POST",
        "/v1/admin/subscriptions/{0}/cancel",
    ),
    "reactivate-plan": Act(
        "Begin the subscription of {0} again?",
        "It is the plan that was cancelled, on the plan's terms of today. No second fee or credit in a month.",
        "Begin it again",
        "The subscription of {0} goes on.",
        "POST",
        "/v1/admin/subscriptions/{0}/reactivate",
        danger=False,
    ),
}


async def index(visit: Visit) -> Response:
    """Accounts as they were created, or those whose name or id has what is looked for."""
    return await _index(visit, None)


async def create(visit: Visit) -> Response:
    """A new one."""
    body = {
        "name": visit.field("name"),
        "credit_usd": visit.field("credit").removeprefix("$") or None,
        "cap_usd": visit.field("cap").removeprefix("$") or None,
    }
    try:
        made = await visit.ask("POST", "/v1/admin/accounts", body)
    except GatewayError as error:
        return await _index(visit, error)
    visit.notice(f"The account {made['name']} is there. Mint a key for it, so that it can call.")
    return visit.redirect(f"/accounts/{made['id']}")


async def show(visit: Visit) -> Response:
    """All of one account."""
    return await _show(visit, None)


async def change(visit: Visit) -> Response:
    """Its cap and its credit, or a model's limits."""
    account = await _account(visit)
    try:
        await visit.ask("PATCH", f"/v1/admin/accounts/{quote(account.id, safe='')}", _changes(visit))
    except GatewayError as error:
        return await _show(visit, error)
    visit.notice(f"{account.name} is changed, from the next call on.")
    return visit.redirect(f"/accounts/{account.id}")


async def ask(visit: Visit) -> Response:
    """Are you sure?"""
    account = await _account(visit)
    act, plan = _act(visit), visit.query("plan")
    return visit.render("account_act.html", account=account, act=act, plan=plan, name=visit.request.path_params["act"])


async def do(visit: Visit) -> Response:
    """Does it."""
    account = await _account(visit)
    act = _act(visit)
    body = {"account": account.id, "plan": visit.field("plan")} if act is _START else act.body
    await visit.ask(act.method, act.to.format(quote(account.id, safe="")), body)
    visit.notice(act.done.format(account.name))
    return visit.redirect(f"/accounts/{account.id}")


_START = Act(
    "Begin a subscription for {0}?",
    "The plan's terms of today hold for it from now on; the month's credit is granted, and its fee is due.",
    "Begin the subscription",
    "The subscription of {0} has begun.",
    "POST",
    "/v1/admin/subscriptions",
    danger=False,
)


def _act(visit: Visit) -> Act:
    name = visit.request.path_params["act"]
    act = _START if name == "start-plan" else ACTS.get(name)
    if act is None:
        raise NotFound("There is nothing of that name to do.")
    return act


async def _account(visit: Visit) -> Account:
    found = await account_called(visit, visit.request.path_params["id"])
    if found is None:
        raise NotFound("There is no such account.")
    return found


async def _index(visit: Visit, error: GatewayError | None) -> Response:
    sought, after = visit.query("q"), visit.query("after")
    directory, month = visit.services.store.directory, day_of(visit.now_ms)[:7]
    if sought:
        found, more = await _found(visit, sought), False
    else:
        accounts = await directory.accounts(after=after, limit=_SHOWN + 1)
        found, more = accounts[:_SHOWN], len(accounts) > _SHOWN
    months = [await visit.services.store.ledger.month(each.id, month) for each in found]
    return visit.render(
        "accounts.html",
        200 if error is None else error.status,
        rows=list(zip(found, months, strict=True)),
        sought=sought,
        after=after,
        following=found[-1].id if more else "",
        most=_SHOWN,
        error=error,
        typed={name: visit.field(name) for name in ("name", "credit", "cap")},
    )


async def _found(visit: Visit, sought: str) -> list[Account]:
    """Exactly that one first, then those that have it in their name or id."""
    exact = await account_called(visit, sought)
    found, wanted = ([] if exact is None else [exact]), sought.casefold()
    after, looked = "", 0
    while looked < _SEARCHED and len(found) < _SHOWN:
        page = await visit.services.store.directory.accounts(after=after, limit=1000)
        found += [each for each in page if each != exact and (wanted in each.name.casefold() or wanted in each.id)]
        if len(page) < 1000:
            break
        after, looked = page[-1].id, looked + len(page)
    return found[:_SHOWN]


async def _show(visit: Visit, error: GatewayError | None) -> Response:
    account = await _account(visit)
    store, month = visit.services.store, day_of(visit.now_ms)[:7]
    stretches = await store.subscriptions.history(account.id)
    keys = await store.directory.keys(account.id, limit=_SHOWN + 1)
    now = visit.now_ms
    plan = account.subscription
    return visit.render(
        "account.html",
        200 if error is None else error.status,
        account=account,
        month=month,
        totals=await store.ledger.month(account.id, month),
        plan=plan,
        plans=sorted(visit.services.config.plans),
        history=list(reversed(stretches))[:20],
        models=sorted(visit.services.models),
        keys=keys[:_SHOWN],
        more_keys=len(keys) > _SHOWN,
        alive=sum(key.revoked_at is None and not (key.expires_at and key.expires_at <= now) for key in keys),
        error=error,
    )


def _changes(visit: Visit) -> dict[str, Any]:
    """The API's request, from one of the two forms."""
    if visit.field("form") != "limits":
        cap = visit.field("cap").removeprefix("$")
        # What is None is left out of a request: no cap has to be said.
        return {"credit_usd": visit.field("credit").removeprefix("$") or "0", "cap_usd": cap or msgspec.Raw(b"null")}
    model = visit.field("model")
    if not model:
        raise InvalidRequest("Choose a model.", param="limits")
    # The form says both: what is left empty is taken away.
    limits = {unit: _whole(visit.field(unit), unit) if visit.field(unit) else None for unit in ("rpm", "tpm")}
    return {"limits": {model: limits}}


def _whole(text: str, unit: str) -> int:
    cleaned = text.replace(",", "")
    if not (cleaned.isascii() and cleaned.isdigit() and len(cleaned) < 12):
        raise InvalidRequest("A limit is a whole number; leave it empty for none.", param=unit)
    return int(cleaned)


PAGES = (
    Page("GET", "/accounts", "operator", index, "Accounts, searched."),
    Page("POST", "/accounts", "operator", create, "Creates an account."),
    Page("GET", "/accounts/{id}", "operator", show, "An account: limits, caps, keys, spend, subscription."),
    Page("POST", "/accounts/{id}", "operator", change, "Changes an account's cap, credit or limits."),
    Page("GET", "/accounts/{id}/{act}", "operator", ask, "Asks whether to do that to an account."),
    Page("POST", "/accounts/{id}/{act}", "operator", do, "Suspends, resumes, begins or cancels."),
)
