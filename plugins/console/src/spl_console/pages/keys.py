"""API keys: all of an account's, a new one shown once, and the end of one."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from gateway_core.errors import GatewayError, InvalidRequest, NotFound
from spl_console.page import Page, Visit

_PATH = "/v1/keys"
_SPANS = {"": None, "7d": "7d", "30d": "30d", "90d": "90d", "365d": "365d"}
_SHOWN = 200
_SCOPES = {"inference": "Call models", "owner": "Call models, manage keys and see the bill"}

_UNTYPED: dict[str, Any] = {**dict.fromkeys(("name", "cap", "expires", "until", "scope"), ""), "models": []}


async def index(visit: Visit) -> Response:
    """The keys, and the form for a new one."""
    return await _index(visit, {}, None)


async def mint(visit: Visit) -> Response:
    """Mints one and shows it on the next page, once."""
    try:
        made = await visit.ask("POST", _PATH, _wanted(visit))
    except InvalidRequest as error:
        # What was typed stays, beside what is wrong with it.
        kept = {name: visit.field(name) for name in ("name", "cap", "expires", "until", "scope")}
        return await _index(visit, {**kept, "models": visit.fields("models")}, error)
    visit.session.shown_once["key"] = made
    return visit.redirect("/keys/minted")


async def minted(visit: Visit) -> Response:
    """The secret of the key that was minted just now. Loaded again, it is gone."""
    made = visit.session.shown_once.pop("key", None)
    if made is None:
        visit.notice("A key's secret is shown once, when it is minted. If it is lost, mint another.", "plain")
        return visit.redirect("/keys")
    models = made["models"] or sorted(visit.services.models)
    return visit.render(
        "key_minted.html", key=made, model=models[0] if models else "", base_url=f"{visit.services.site.url}/v1"
    )


async def ask_revoke(visit: Visit) -> Response:
    """Are you sure?"""
    return visit.render("key_revoke.html", key=await _key(visit), owner=visit.query("account"))


async def revoke(visit: Visit) -> Response:
    """Revokes it. Who revokes the key that he is signed in with signs out with it."""
    key = await visit.ask("DELETE", f"{_PATH}/{quote(visit.request.path_params['id'], safe='')}")
    visit.notice(f"The key {key['name']} ({key['hint']}) is revoked. The next call with it is refused.")
    return visit.redirect("/keys" + _of(visit.field("account")))


async def _index(visit: Visit, typed: dict[str, Any], error: GatewayError | None) -> Response:
    owner = visit.query("account") or visit.field("account")
    after = visit.query("after")
    query = (
        f"limit={_SHOWN}" + (f"&account={quote(owner)}" if owner else "") + (f"&after={quote(after)}" if after else "")
    )
    page = await visit.ask("GET", f"{_PATH}?{query}")
    keys = page["data"]
    for key in keys:
        key["state"] = _state(key, visit.now_ms)
    keys.sort(key=lambda key: key["state"] in {"revoked", "expired"})
    return visit.render(
        "keys.html",
        200 if error is None else error.status,
        keys=keys,
        following=page["next_after"],
        owner=owner,
        models=sorted(visit.services.models),
        scopes=_SCOPES,
        typed={**_UNTYPED, **typed},
        error=error,
    )


def _wanted(visit: Visit) -> dict[str, Any]:
    """The API's request, from the form."""
    expires = visit.field("expires")
    if expires != "date" and expires not in _SPANS:
        raise InvalidRequest("Choose when the key expires.", param="expires")
    until = visit.field("until")
    if expires == "date" and not until:
        raise InvalidRequest("Say on which day the key expires.", param="expires")
    chosen = visit.fields("models")
    return {
        "name": visit.field("name"),
        "account": visit.field("account") or None,
        "cap_usd": visit.field("cap").removeprefix("$") or None,
        "expires": until if expires == "date" else _SPANS[expires],
        "models": chosen if chosen and visit.field("which") == "some" else None,
        "scopes": [visit.field("scope") or "inference"],
    }


async def _key(visit: Visit) -> Any:
    """The key that the path names, where it is one of the visitor's, or an operator asks."""
    key = await visit.services.store.directory.key(visit.request.path_params["id"])
    if key is None or (key.account_id != visit.principal.account_id and not visit.may("operator")):
        raise NotFound("There is no such key.")
    return key


def _state(key: dict[str, Any], now_ms: int) -> str:
    if key["revoked_at"] is not None:
        return "revoked"
    ends = key["expires_at"]
    if ends is not None and datetime.fromisoformat(ends) <= datetime.fromtimestamp(now_ms / 1000, UTC):
        return "expired"
    return "works"


def _of(owner: str) -> str:
    return f"?account={quote(owner)}" if owner else ""


PAGES = (
    Page("GET", "/keys", "owner", index, "An account's keys, and a form for a new one."),
    Page("POST", "/keys", "owner", mint, "Mints a key."),
    Page("GET", "/keys/minted", "owner", minted, "A new key's secret, once."),
    Page("GET", "/keys/{id}/revoke", "owner", ask_revoke, "Asks whether to revoke a key."),
    Page("POST", "/keys/{id}/revoke", "owner", revoke, "Revokes a key."),
)
