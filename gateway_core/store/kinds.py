"""What calls alike have in common: a row of `call_kinds` on disk; in memory all that is worked out once for them."""

import sqlite3
from typing import Any

from gateway_core.audit import RecordForm
from gateway_core.clock import DAY_MS, day_of
from gateway_core.store.rows import NO_COUNT, NO_TEXT, json_text
from gateway_core.store.totals import Place, Totals
from gateway_core.types import Rates, Settlement

_REMEMBERED = 8192
"""Kinds that are remembered between transactions."""

_COLUMNS = (
    "account_id, bearer_id, month, model, tier, endpoint, stream, account_cap, bearer_cap, provider, upstream_model, "
    "estimated, generated_estimated, rates, price_id, markup, outcome, stream_state, error_code, billed_by"
)
_PLACES = ", ".join("?" * len(_COLUMNS.split(", ")))
_INSERT = f"INSERT INTO call_kinds ({_COLUMNS}) VALUES ({_PLACES}) RETURNING number"
_SELECT = f"SELECT number FROM call_kinds WHERE ({_COLUMNS}) = ({_PLACES})"


class Kind:
    """What calls alike of one day have in common: their number in `call_kinds`, what they are added up in, and the
    form of their records."""

    __slots__ = ("form", "number", "place")

    def __init__(self, number: int, place: Place, form: RecordForm) -> None:
        self.number = number
        self.place = place
        self.form = form


class Kinds:
    """The kinds that this connection met last."""

    def __init__(self, db: sqlite3.Connection, totals: Totals) -> None:
        self._db = db
        self._totals = totals
        self._kinds: dict[tuple[Any, ...], Kind] = {}
        self._rates: dict[Rates, int] = {}

    def read_from(self, db: sqlite3.Connection) -> None:
        """Another connection; nothing of the one before is believed."""
        self._db = db
        self.forget()

    def forget(self) -> None:
        """Forgets everything."""
        self._kinds.clear()
        self._rates.clear()

    @property
    def full(self) -> bool:
        """Whether more is remembered than should be."""
        return len(self._kinds) > _REMEMBERED

    def of(self, settlement: Settlement) -> Kind:
        """A call's kind on the day that it began on, to be added up: its totals are written at the end."""
        hold = settlement.hold
        key = (
            hold.account_id,
            hold.bearer_id,
            hold.started_at // DAY_MS,
            hold.month,
            hold.model,
            hold.tier,
            hold.endpoint,
            hold.stream,
            hold.account_cap,
            hold.bearer_cap,
            hold.rates,
            settlement.provider,
            settlement.upstream_model,
            settlement.usage.estimated,
            settlement.generated.estimated,
            settlement.outcome,
            settlement.stream_state,
            settlement.error_code,
            settlement.billed_by,
        )
        found = self._kinds.get(key)
        if found is None:
            day = day_of(hold.started_at)
            place = self._totals.place(hold.account_id, hold.bearer_id, hold.month, day, hold.model, hold.tier)
            found = self._kinds[key] = Kind(self._number(settlement), place, RecordForm(settlement))
        self._totals.touched_places[found.place] = None
        return found

    def _number(self, settlement: Settlement) -> int:
        hold, rates = settlement.hold, settlement.hold.rates
        row = (
            hold.account_id,
            hold.bearer_id,
            hold.month,
            hold.model,
            hold.tier,
            hold.endpoint,
            int(hold.stream),
            NO_COUNT if hold.account_cap is None else hold.account_cap,
            NO_COUNT if hold.bearer_cap is None else hold.bearer_cap,
            settlement.provider,
            settlement.upstream_model,
            int(settlement.usage.estimated),
            int(settlement.generated.estimated),
            self._rates_number(rates),
            rates.price_id,
            rates.markup,
            settlement.outcome,
            settlement.stream_state or NO_TEXT,
            settlement.error_code or NO_TEXT,
            settlement.billed_by,
        )
        return self._numbered(_INSERT, _SELECT, row)

    def _rates_number(self, rates: Rates) -> int:
        found = self._rates.get(rates)
        if found is None:
            found = self._rates[rates] = self._numbered(
                "INSERT INTO rates (body) VALUES (?) RETURNING number",
                "SELECT number FROM rates WHERE body = ?",
                (json_text(rates),),
            )
        return found

    def _numbered(self, insert: str, select: str, row: tuple[Any, ...]) -> int:
        number: int = (self._db.execute(select, row).fetchone() or self._db.execute(insert, row).fetchone())[0]
        return number
