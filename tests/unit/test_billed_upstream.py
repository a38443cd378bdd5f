"""Models that another gateway bills: all of their providers are such gateways, and they cost nothing here."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway_core.config_file import from_tables
from gateway_core.errors import ConfigError
from gateway_core.models import resolve_models
from gateway_core.money import Units
from gateway_core.pricing import BILLED_UPSTREAM
from gateway_core.settle import End, Settler
from gateway_core.standing import Standing
from gateway_core.store.sqlite import SqliteStore
from gateway_core.testing import samples
from gateway_core.testing.clock import ManualClock
from gateway_core.types import ModelFacts, Route, Terms, Usage

GATEWAY = {"plugin": "provider-openai", "base_url": "https://g.example/v1", "api_key": "bearer:instance"}
VENDOR = {"plugin": "provider-openai", "api_key": "env:K"}


def tables(*providers: str) -> dict[str, Any]:
    routes = [{"provider": name, "model": "m"} for name in providers]
    return {"providers": {"one": GATEWAY, "two": GATEWAY, "vendor": VENDOR}, "models": {"m": {"routes": routes}}}


def test_a_model_s_bill_has_one_writer() -> None:
    live: Any = {name: SimpleNamespace(tokenizer=lambda _: None) for name in ("one", "two", "vendor")}
    for providers, billed in ((("one", "two"), True), (("vendor",), False)):
        config = from_tables(tables(*providers), name="f.toml").config
        assert resolve_models(config, live)["m"].billed_upstream is billed
    with pytest.raises(ConfigError, match=r"f\.toml: models\.m\.routes: either all of its providers"):
        from_tables(tables("one", "vendor"), name="f.toml")


def test_only_a_gateway_has_an_audience() -> None:
    given = {"providers": {"vendor": {**VENDOR, "audience": "https://g.example"}}}
    with pytest.raises(ConfigError, match=r"f\.toml: providers\.vendor\.audience: only a provider with"):
        from_tables(given, name="f.toml")


@pytest.mark.parametrize(
    ("facts", "terms"),
    [
        (ModelFacts("demo", (Route("one", "m"),), billed_upstream=True), Terms("self-host", cap=Units(1))),
        (ModelFacts("demo", (Route("vendor", "m"),)), Terms("hosted", cap=Units(1), unmetered=True)),
    ],
    ids=["by its provider", "by its tier"],
)
async def test_it_is_held_and_settled_at_nothing_whatever_the_price_book_says(
    facts: ModelFacts, terms: Terms, tmp_path: Path
) -> None:
    clock, unused = ManualClock(), Any
    store = SqliteStore(tmp_path / "store.sqlite3", clock)
    await store.open()
    await store.directory.create_account(samples.account(), "test")
    dispatch: Any = SimpleNamespace(price=lambda _call, _usage: pytest.fail("nobody is asked for a price"))
    settler = Settler(store, dispatch, unused, clock)  # type: ignore[arg-type]  # nothing is counted here
    call = samples.call(principal=samples.principal(cap=Units(1)))
    hold = settler.hold_now(call, Standing(call, facts, facts.routes, terms))
    assert hold is not None
    assert (hold.amount, hold.account_cap, hold.bearer_cap) == (0, None, None)
    await store.ledger.open(hold)
    usage = Usage(input=1000, output=1000)
    settled = await settler.settle(hold, End(usage=usage, generated=usage, outcome="ok", route=facts.routes[0]))
    row = await store.ledger.find(call.id)
    assert row is not None
    assert (row.settlement.owed, row.settlement.loss, row.settlement.billed_by) == (0, 0, "upstream")
    assert (row.settlement.hold.rates, row.settlement.usage) == (BILLED_UPSTREAM, usage)
    assert (settled.charge, settled.sequence) == (0, 0)
    assert (await store.records.head(row.settlement.hold.account_id))[0] == 0
    assert await store.ledger.reconcile() == []
    await store.close()
