"""Records of calls as pages and files show them: found, explained to the last unit, and nobody's formulas."""

import asyncio
import csv
import io
import re
import sqlite3
from typing import Any

import pytest
from spl_console.calls import CallBody, in_words
from spl_console.pages.record import lines_of
from spl_console.pages.records import safe

from gateway_core.money import Units
from gateway_core.pricing import cost
from gateway_core.store_ports import CallRow
from gateway_core.testing import samples
from gateway_core.testing.calls import hold, settlement
from gateway_core.types import AUDIT_THREAD, Settled, TokenRates, Usage

RATES = samples.rates(input=Units(4), cached_input=Units(2), cache_write=Units(5), output=Units(9))


async def account_of(bench: Any, name: str = "acme") -> str:
    return str((await bench.operate("GET", f"/v1/admin/accounts/{name}"))["id"])


async def settled(bench: Any, number: int, usage: Usage, charge: int, **changes: Any) -> None:
    """A call of `acme`, on its books."""
    held = hold(f"req_{number:026}", charge + 10_000, account_id=await account_of(bench), rates=RATES)
    made = settlement(held, charge, usage=usage, generated=usage, **changes)
    await bench.gateway.services.store.ledger.settle(made)


def cells(page: str) -> list[str]:
    """The text of each cell, in order."""
    found = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", page, re.DOTALL)
    return [re.sub(r"<[^>]+>|\s+", " ", cell).strip() for cell in found]


# ---------------------------------------------------------------- the charge


async def test_a_charge_is_explained_line_by_line(bench: Any) -> None:
    usage = Usage(input=100, output=50, cached=30, cache_write=20, reasoning=7)
    charge = 50 * 4 + 30 * 2 + 20 * 5 + 50 * 9
    await settled(bench, 1, usage, charge)
    page = (await (await bench.signed_in("owner")).get("/usage/records/1")).text
    text = cells(page)
    for line in (
        ["Input", "50", "4.00", "4", "200"],
        ["Input, from a cache", "30", "2.00", "2", "60"],
        ["Input, written to a cache", "20", "5.00", "5", "100"],
        ["Output, 7 of it reasoning", "50", "9.00", "9", "450"],
    ):
        place = text.index(line[0])
        assert text[place : place + 5] == [line[0], line[1], f"{int(line[3]) / 10**6:.6f}", line[3], line[4]]
    assert "810" in text[text.index("Charged") :][:5]
    assert "Not charged" not in page
    assert "sample×1" in page
    assert "Verified" in page


async def test_what_was_not_charged_is_said(bench: Any) -> None:
    await settled(bench, 1, Usage(input=100, output=50), 500)
    text = cells((await (await bench.signed_in("owner")).get("/usage/records/1")).text)
    assert text[text.index("Not charged: more than was held for the call") :][4] == "−350"


@pytest.mark.parametrize(
    "usage",
    [Usage(100, 5), Usage(100, 5, cached=200), Usage(100, 5, 60, 80), Usage(0, 0), Usage(5000, 1, 10, 10, 1)],
)
def test_the_lines_are_what_the_price_comes_to(usage: Usage) -> None:
    """To the last unit, absurd counts and long prompts included."""
    one = TokenRates("long×1", "1", *[Units(each) for each in (8, 4, 10, 18, 8, 4, 10, 18)])
    rates = samples.rates(input=Units(4), cached_input=Units(2), output=Units(9), long_above=1000, long=one)
    row = CallRow(settlement(hold(rates=rates), 0, usage=usage), Settled("req_1", Units(0), Units(0), Units(0), 1))
    assert sum(line.amount for line in lines_of(row)) == cost(usage, rates).charge


@pytest.mark.parametrize("outcome", ["ok", "cut", "failed", "", "unheard-of"])
@pytest.mark.parametrize("state", [None, "completed", "client_disconnect", "provider_error", "gateway_restart", "new"])
def test_every_outcome_has_words(outcome: str, state: str | None) -> None:
    words = in_words(CallBody(outcome=outcome, stream_state=state))
    assert words.endswith(".")
    assert ("nothing is charged" in words) == (outcome == "failed")


async def test_a_house_s_loss_is_the_house_s_business(bench: Any) -> None:
    await settled(bench, 1, Usage(100, 50), 850, loss=Units(77), owed=Units(900))
    assert "The house owes" not in (await (await bench.signed_in("owner")).get("/usage/records/1")).text
    shown = await (await bench.signed_in("operator")).get("/usage/records/1?account=acme")
    assert "The house owes" in shown.text


# ---------------------------------------------------------------- its place


async def test_a_record_that_was_changed_is_not_verified(bench: Any) -> None:
    """Somebody has been at the file, past the triggers."""
    for number in range(3):
        await settled(bench, number, Usage(10, 10), 130)
    owner = await bench.signed_in("owner")
    for sequence in (1, 2, 3):
        page = (await owner.get(f"/usage/records/{sequence}")).text
        assert "Verified" in page
        assert ("The chain begins here" in page) == (sequence == 1)
        assert ("The newest record" in page) == (sequence == 3)
    with sqlite3.connect(bench.gateway.home.store_path) as db:
        db.execute("DROP TRIGGER records_no_update")
        (body,) = db.execute("SELECT body FROM records WHERE sequence = 2").fetchone()
        db.execute("UPDATE records SET body = ? WHERE sequence = 2", (body.replace(b"13", b"31"),))
    assert "Not verified: its id, its body or its hash was changed" in (await owner.get("/usage/records/2")).text
    assert "Verified" in (await owner.get("/usage/records/1")).text


async def test_after_retention_the_first_record_is_verified_from_what_was_kept(bench: Any) -> None:
    for number in range(4):
        await settled(bench, number, Usage(10, 10), 130)
    account = await account_of(bench)
    await bench.gateway.services.store.retention.prune_records(account, bench.clock.now_ms() + 10**9, None, 2)
    owner = await bench.signed_in("owner")
    page = (await owner.get("/usage/records/3")).text
    assert "Verified" in page
    assert "removed by retention" in page
    assert (await owner.get("/usage/records/2")).status_code == 404


@pytest.mark.parametrize("sequence", ["0", "-1", "9" * 30, "x", "1.5", "%F0%9F%92%A9"])
async def test_what_is_no_record_is_a_page(bench: Any, sequence: str) -> None:
    assert (await (await bench.signed_in("owner")).get(f"/usage/records/{sequence}")).status_code == 404


async def test_records_of_other_kinds_and_from_elsewhere_are_shown(bench: Any) -> None:
    records, account = bench.gateway.services.store.records, await account_of(bench)
    await records.append(account, AUDIT_THREAD, "rec_1", b'{"cost_usd":"1e9","tokens_input":"many"}', "inst_1")
    await records.append(account, AUDIT_THREAD, "rec_2", b'{"cost_usd":"-1","model":"<script>x</script>"}', "inst_1")
    await records.append(account, "th_other", "rec_3", b'{"why":"<b>","nested":{"a":[1]},"none":null}', "inst_1")
    owner = await bench.signed_in("owner")
    for path in ("/usage/records", *[f"/usage/records/{sequence}" for sequence in (1, 2, 3)], "/usage/records.csv"):
        answer = await owner.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert path.endswith(".csv") or not re.search("<script>x|<b>|&amp;lt;", answer.text)


# ---------------------------------------------------------------- search


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("from=2026-11-23&to=2026-11-22", 400),
        ("from=yesterday", 400),
        ("to=2026-13-40", 400),
        ("beyond=x", 400),
        ("outcome=odd", 400),
        ("state=odd", 400),
        ("request=req_nothing", 404),
        ("from=0001-01-01&to=9999-12-31", 200),
        ("model=%00&key=%F0%9F%92%A9", 200),
        ("beyond=0", 200),
        ("order=sideways", 200),
    ],
)
async def test_odd_searches_are_answered_by_the_page(bench: Any, query: str, status: int) -> None:
    answer = await (await bench.signed_in("owner")).get(f"/usage/records?{query}")
    assert (answer.status_code, "What to look for" in answer.text) == (status, True), answer.text


@pytest.mark.parametrize("query", ["days=8", "from=x", "from=2026-01-02&to=2026-01-01", "from=2000-01-01"])
async def test_odd_spans_are_answered_by_the_page(bench: Any, query: str) -> None:
    answer = await (await bench.signed_in("owner")).get(f"/usage?{query}")
    assert (answer.status_code, 'role="alert"' in answer.text) == (400, True)


async def test_pages_of_calls_lead_to_all_of_them(bench: Any) -> None:
    for number in range(120):
        await settled(bench, number, Usage(10, 10), 130, served_at=bench.clock.now_ms())
    owner, path, found = await bench.signed_in("owner"), "/usage/records", []
    for _ in range(5):
        text = (await owner.get(path)).text
        found += re.findall(r'records/(\d+)"', text)
        following = re.search(r'href="([^"]+)" role="button" class="secondary" rel="next"', text)
        if following is None:
            break
        path = "/usage/records" + following[1].replace("&amp;", "&")
    assert [int(each) for each in found] == list(range(120, 0, -1))
    rows = list(csv.DictReader(io.StringIO((await owner.get("/usage/records.csv")).text)))
    assert [row["request_id"] for row in rows] == [f"req_{number:026}" for number in range(119, -1, -1)]
    assert {row["cost_usd"] for row in rows} == {"0.00000000013"}


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_cell_is_a_formula(value: str) -> None:
    assert safe(value) == "'" + value


@pytest.mark.parametrize(
    ("value", "cell"), [(None, ""), (True, "true"), (0, "0"), ("gpt-4o", "gpt-4o"), ("a=b", "a=b")]
)
def test_other_cells_are_what_they_are(value: Any, cell: str) -> None:
    assert safe(value) == cell


async def test_the_file_is_written_in_parts_and_ends_with_the_key(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record a part: when the key is revoked in the middle, what follows is not told."""
    monkeypatch.setattr("spl_console.pages.records._CHUNK", 1)
    for number in range(5):
        await settled(bench, number, Usage(10, 10), 130)
    owner = await bench.signed_in("owner")
    answer = await owner.get("/usage/records.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="calls-acme.csv"'
    assert len(answer.text.splitlines()) == 6
    asked = 0
    identify = bench.gateway.services.inside.identify

    async def revoking(scope: Any, bearer: str) -> Any:
        nonlocal asked
        asked += 1
        if asked == 4:
            rows = (await bench.operate("GET", "/v1/keys?account=acme"))["data"]
            (mine,) = [row["id"] for row in rows if row["name"] == "owner"]
            await bench.operate("DELETE", f"/v1/keys/{mine}")
        return await identify(scope, bearer)

    monkeypatch.setattr(type(bench.gateway.inside), "identify", lambda _self, scope, bearer: revoking(scope, bearer))
    with pytest.raises(AssertionError):  # the transport's: the answer never ends, so the browser knows it was cut
        await owner.get("/usage/records.csv")
    assert asked == 4


async def test_who_does_not_read_his_file_holds_up_nobody_else_s(bench: Any) -> None:
    await settled(bench, 1, Usage(10, 10), 130)
    owner = await bench.signed_in("owner")
    cookies = "; ".join(f"{each.name}={each.value}" for each in owner.http.cookies.jar)
    waiting = asyncio.Semaphore(0)

    async def reads_nothing() -> None:
        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                waiting.release()
                await asyncio.Event().wait()

        scope = {"type": "http", "method": "GET", "path": "/console/usage/records.csv", "query_string": b""}
        scope |= {"headers": [(b"host", b"gateway.test"), (b"cookie", cookies.encode())], "client": ("192.0.2.1", 1)}
        await bench.gateway.app(scope, receive, send)

    idle = [asyncio.create_task(reads_nothing()) for _ in range(5)]
    async with asyncio.timeout(30):
        for _ in idle:
            await waiting.acquire()
        assert len((await owner.get("/usage/records.csv")).text.splitlines()) == 2
    for each in idle:
        each.cancel()
    await asyncio.gather(*idle, return_exceptions=True)
