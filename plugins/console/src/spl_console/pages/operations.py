"""The state of things, for operators: providers, limits, errors, outbox, plugins and the log. Live parts are asked for
again every few seconds."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.responses import Response

from gateway_core.errors import GatewayError
from spl_console.page import Page, Visit
from spl_console.render import plural
from spl_console.whose import account_called, key_names

Facts = Callable[[Visit], Awaitable[dict[str, Any]]]

_LOG = 50


class Watched(msgspec.Struct, frozen=True):
    """A page whose facts change while somebody looks: the page, and its live part by itself."""

    path: str
    template: str
    summary: str
    facts: Facts

    def pages(self) -> tuple[Page, ...]:
        """Both."""
        return (
            Page("GET", self.path, "operator", self.show, self.summary),
            Page("GET", f"{self.path}/now", "operator", self.now, f"{self.summary} Its live part.", script=True),
        )

    async def show(self, visit: Visit) -> Response:
        """The whole page."""
        return visit.render(f"{self.template}.html", live=f"{self.path}/now", **await self.facts(visit))

    async def now(self, visit: Visit) -> Response:
        """What changes of it."""
        return visit.render(f"part/{self.template}.html", alone=True, **await self.facts(visit))


async def _providers(visit: Visit) -> dict[str, Any]:
    rows = (await visit.ask("GET", "/v1/admin/providers"))["data"]
    aside = [f"{row['provider']}/{row['model']}" for row in rows if row["state"] != "closed"]
    said = (
        f"{plural(len(rows), 'route')}, all of them asked." if not aside else f"Left alone for now: {', '.join(aside)}."
    )
    return {"rows": rows, "said": said}


async def _limits(visit: Visit) -> dict[str, Any]:
    rows = (await visit.ask("GET", "/v1/admin/limits?limit=50"))["data"]
    for row in rows:
        who, _, rest = row["key"].partition(":")
        account = await account_called(visit, who) if who.startswith("acct_") or who == "local" else None
        row["account"] = account
        row["who"] = row["key"] if account is None else account.name
        row["model"] = rest.rpartition(":")[0] if account is not None else ""
        row["taken"] = row["limit"] - row["remaining"]
    full = sum(row["remaining"] == 0 for row in rows)
    return {
        "rows": rows,
        "said": f"{plural(full, 'limit is', 'limits are')} reached." if full else "No limit is reached.",
    }


async def _errors(visit: Visit) -> dict[str, Any]:
    code = visit.query("code")
    found = await visit.ask("GET", "/v1/admin/errors?limit=100" + (f"&code={quote(code, safe='')}" if code else ""))
    counts = found["counts"]
    said = f"{plural(sum(counts.values()), 'error')} since the start." if counts else "No error since the start."
    return {"rows": found["data"], "counts": counts, "code": code, "said": said}


async def _outbox(visit: Visit) -> dict[str, Any]:
    rows = (await visit.ask("GET", "/v1/admin/outbox"))["data"]
    behind = sum(row["records_behind"] for row in rows)
    said = f"{plural(behind, 'record')} not delivered yet." if behind else "Everything is delivered."
    return {"rows": rows, "behind": behind, "said": said}


async def retry(visit: Visit) -> Response:
    """Asks one sink again, or all."""
    sink = visit.field("sink")
    try:
        await visit.ask("POST", "/v1/admin/outbox/retry", {"sink": sink or None})
    except GatewayError as error:
        visit.notice(error.message, "bad")
        return visit.redirect("/outbox")
    visit.notice(f"{sink or 'Every sink'} is asked again now.")
    return visit.redirect("/outbox")


async def sink(visit: Visit) -> Response:
    """The accounts that one sink is behind on."""
    name, after = visit.request.path_params["sink"], visit.query("after")
    query = "?limit=100" + (f"&after={quote(after, safe='')}" if after else "")
    page = await visit.ask("GET", f"/v1/admin/outbox/{quote(name, safe='')}{query}")
    return visit.render("sink.html", sink=name, rows=page["data"], following=page["next_after"])


async def plugins(visit: Visit) -> Response:
    """What was found, what is in use, and why the rest is not."""
    return visit.render("plugins.html", rows=(await visit.ask("GET", "/v1/admin/plugins"))["data"])


async def operators_log(visit: Visit) -> Response:
    """Who did what to what, newest first."""
    after = visit.query("after")
    query = f"?limit={_LOG}" + (f"&after={quote(after, safe='')}" if after else "")
    page = await visit.ask("GET", f"/v1/admin/log{query}")
    rows = page["data"]
    subjects: dict[str, str] = {}
    for each in {row["subject"] for row in rows}:
        account = await visit.services.store.directory.account(each)
        subjects[each] = "" if account is None else account.name
    keys = {row["subject"] for row in rows if row["subject"].startswith("key_")}
    names = await key_names(visit, {row["actor"] for row in rows if row["actor"]} | keys)
    return visit.render(
        "log.html", rows=rows, names=names, subjects=subjects, following=page["next_after"], first=not after
    )


PAGES = (
    *Watched("/providers", "providers", "Routes to providers, and how they do.", _providers).pages(),
    *Watched("/limits", "limits_near", "Who is nearest to a limit.", _limits).pages(),
    *Watched("/errors", "errors", "The latest errors, by code.", _errors).pages(),
    *Watched("/outbox", "outbox", "How far each sink is behind.", _outbox).pages(),
    Page("POST", "/outbox/retry", "operator", retry, "Asks sinks again at once."),
    Page("GET", "/outbox/sinks/{sink}", "operator", sink, "The accounts that a sink is behind on."),
    Page("GET", "/plugins", "operator", plugins, "Plugins and their state."),
    Page("GET", "/log", "operator", operators_log, "Who minted, granted and revoked what."),
)
