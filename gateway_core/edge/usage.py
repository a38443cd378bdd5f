"""/v1/usage and /v1/admin/usage: what was called and what it cost, from the daily rollups."""

import asyncio
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Generic, Literal, NotRequired, TypedDict, TypeVar, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway_core.clock import day_of, month_bounds, month_of
from gateway_core.config_decode import nearest
from gateway_core.edge import answers
from gateway_core.edge.bodies import checked_query, month_name
from gateway_core.edge.host import Host
from gateway_core.edge.names import account_for, find_account
from gateway_core.edge.queries import UsageQuery
from gateway_core.errors import InvalidRequest, NotFound
from gateway_core.invoice import TokenCounts, tokens
from gateway_core.money import usd
from gateway_core.ports import Endpoint, Shape
from gateway_core.store_ports import UsageGroup, UsageRow
from gateway_core.types import Principal, Usage

MOST_DAYS = 366

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)

_OWN: tuple[UsageGroup, ...] = ("day", "model", "key", "tier")
_HOUSE: tuple[UsageGroup, ...] = ("day", "model", "account", "key", "tier")


Row = TypeVar("Row")
Sum = TypeVar("Sum")


class Charged(TokenCounts):
    """What an account sees."""

    calls: int
    cost_usd: str
    credit_used_usd: str
    overage_usd: str


class Kept(TokenCounts):
    """What the house sees: charged to customers, owed to providers at list price, and lost on what nobody paid for."""

    calls: int
    charged_usd: str
    credit_used_usd: str
    overage_usd: str
    owed_usd: str
    lost_usd: str


class Group(TypedDict):
    """What a row is of: the parts that `group_by` names."""

    day: NotRequired[str]
    account: NotRequired[str]
    key: NotRequired[str]
    model: NotRequired[str]
    tier: NotRequired[str]


class ChargedGroup(Group, Charged):
    """A row of an account's totals."""


class KeptGroup(Group, Kept):
    """A row of the house's totals."""


class Totals(msgspec.Struct, Generic[Row, Sum], frozen=True, rename={"since": "from", "until": "to"}):
    """Totals of days, the first and the last included."""

    since: str
    until: str
    group_by: Sequence[str]
    data: Sequence[Row]
    total: Sum
    object: Literal["usage"] = "usage"


class UsageEndpoints:
    """Handlers for totals."""

    def __init__(self, host: Host) -> None:
        self._services = host.services

    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        return [
            Endpoint(
                "GET",
                "/v1/usage",
                "owner",
                self.own,
                "The account's totals by day, model and key.",
                Shape(answer=Totals[ChargedGroup, Charged], query=UsageQuery, errors=(NotFound,)),
            ),
            Endpoint(
                "GET",
                "/v1/admin/usage",
                "operator",
                self.house,
                "What was charged, is owed, and was lost.",
                Shape(answer=Totals[KeptGroup, Kept], query=UsageQuery, errors=(NotFound,)),
            ),
        ]

    async def own(self, request: Request, principal: Principal | None) -> Response:
        """An account's totals, grouped by `group_by`."""
        query = checked_query(request, UsageQuery)
        since, until = self._days(query)
        by = _groups(query.get("group_by", "day,model,key"), _OWN)
        account = await account_for(self._services.store.directory, principal, query.get("account"))
        rows = await self._services.store.reports.totals(account.id, since, until, by)

        def answer() -> Response:
            data: list[ChargedGroup] = [{**_group(row, by), **_charged(row)} for row in rows]
            return answers.json(Totals(since, until, by, data, _charged(_sum(rows))))

        return await asyncio.to_thread(answer)  # a thousand keys' month takes a third of a second

    async def house(self, request: Request, _principal: Principal | None) -> Response:
        """The house's own view, of all accounts or of one."""
        query = checked_query(request, UsageQuery)
        since, until = self._days(query)
        by = _groups(query.get("group_by", "day,model"), _HOUSE)
        account_id = None
        if "account" in query:
            account_id = (await find_account(self._services.store.directory, query["account"], "account")).id
        rows = await self._services.store.reports.totals(account_id, since, until, by)

        def answer() -> Response:
            data: list[KeptGroup] = [{**_group(row, by), **_kept(row)} for row in rows]
            return answers.json(Totals(since, until, by, data, _kept(_sum(rows))))

        return await asyncio.to_thread(answer)

    def _days(self, query: Mapping[str, str]) -> tuple[str, str]:
        """First and last day. Without any the month that goes on."""
        now = self._services.clock.now_ms()
        if "month" in query:
            if "from" in query or "to" in query:
                raise InvalidRequest("Give either 'month' or 'from' and 'to'.", param="month")
            return _month_days(month_name(query["month"]))
        if "from" not in query and "to" not in query:
            return _month_days(month_of(now))
        until = _day(query["to"], "to") if "to" in query else date.fromisoformat(day_of(now))
        since = _day(query["from"], "from") if "from" in query else until.replace(day=1)
        if since > until:
            raise InvalidRequest("'from' must not be after 'to'.", param="from")
        if (until - since).days >= MOST_DAYS:
            raise InvalidRequest(f"Ask for at most {MOST_DAYS} days at once.", param="from")
        return since.isoformat(), until.isoformat()


def _month_days(month: str) -> tuple[str, str]:
    begins, ends = month_bounds(month)
    return day_of(begins), day_of(ends - 1)


def _day(text: str, param: str) -> date:
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidRequest(f"Invalid value for '{param}': give a day such as \"2026-11-22\".", param=param)


def _groups(text: str, known: Collection[UsageGroup]) -> tuple[UsageGroup, ...]:
    names = text.split(",")
    for name in names:
        if name not in known:
            shown = "".join([character if character.isprintable() else "?" for character in name[:50]])
            raise InvalidRequest(f"'{shown}' is nothing to group by{nearest(shown, known)}", param="group_by")
        if names.count(name) > 1:
            raise InvalidRequest(f"'group_by' names {name} twice.", param="group_by")
    return cast("tuple[UsageGroup, ...]", tuple(names))


def _group(row: UsageRow, by: Sequence[UsageGroup]) -> Group:
    values = {
        "day": row.day,
        "account": row.account_id,
        "key": row.bearer_id,
        "model": row.model,
        "tier": row.tier,
    }
    return cast("Group", {name: values[name] for name in by})


def _charged(row: UsageRow) -> Charged:
    return {
        "calls": row.calls,
        **tokens(row.usage),
        "cost_usd": usd(row.charge),
        "credit_used_usd": usd(row.credit_used),
        "overage_usd": usd(row.overage),
    }


def _kept(row: UsageRow) -> Kept:
    return {
        "calls": row.calls,
        **tokens(row.usage),
        "charged_usd": usd(row.charge),
        "credit_used_usd": usd(row.credit_used),
        "overage_usd": usd(row.overage),
        "owed_usd": usd(row.owed),
        "lost_usd": usd(row.loss),
    }


def _sum(rows: Sequence[UsageRow]) -> UsageRow:
    usage = Usage(
        input=sum(row.usage.input for row in rows),
        output=sum(row.usage.output for row in rows),
        cached=sum(row.usage.cached for row in rows),
        cache_write=sum(row.usage.cache_write for row in rows),
        reasoning=sum(row.usage.reasoning for row in rows),
        estimated=any(row.usage.estimated for row in rows),
    )
    return UsageRow(
        day="",
        account_id="",
        bearer_id="",
        model="",
        tier="",
        calls=sum(row.calls for row in rows),
        usage=usage,
        charge=sum(row.charge for row in rows),
        credit_used=sum(row.credit_used for row in rows),
        overage=sum(row.overage for row in rows),
        owed=sum(row.owed for row in rows),
        loss=sum(row.loss for row in rows),
    )
