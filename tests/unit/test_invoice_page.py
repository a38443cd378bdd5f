"""The page of an invoice: everything is on it, nothing of it is markup by accident, and it asks nobody for anything."""

from html.parser import HTMLParser
from typing import Any

from gateway_core.clock import month_bounds
from gateway_core.invoice import Books, document, invoice
from gateway_core.invoice_page import page
from gateway_core.money import Units, parse_usd
from gateway_core.store_ports import UsageRow
from gateway_core.testing import samples
from gateway_core.types import Adjustment, Instance, Subscription, Usage

BEGINS = month_bounds("2026-11")[0]
NASTY = "<script src=//evil>&\"'"


class Reader(HTMLParser):
    """Reads a page strictly: every tag is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())


def read(found: dict[str, Any]) -> Reader:
    reader = Reader()
    reader.feed(page(found))
    reader.close()
    assert reader.open == []
    return reader


def full() -> dict[str, Any]:
    usage = Usage(1234567, 89, 12)
    charge = parse_usd("12.345000000001")
    row = UsageRow("", "", "", NASTY, "", 4321, usage, charge, parse_usd("10"), charge - parse_usd("10"), 0, 0)
    books = Books(
        usage=[row],
        credit_granted=parse_usd("10"),
        adjustments=[
            Adjustment("adj_1", "a", "2026-11", "credit_note", Units(-(10**12)), NASTY, "ann", BEGINS, "req_1")
        ],
        stretches=[
            Subscription("sub_1", "a", "pro", BEGINS, fee=parse_usd("20"), instance_fee=parse_usd("5")),
        ],
        instances=[Instance("inst_1", "a", "instance", NASTY, BEGINS)],
    )
    return document(invoice(samples.account(name=NASTY), "2026-11", books, BEGINS))


def test_every_line_and_sum_is_on_it() -> None:
    text = read(full()).text
    for shown in (
        "Plan pro",
        f"Instance {NASTY}",
        "inst_1",
        NASTY,
        "4,321",
        "1,234,567",
        "12.345000000001",
        "credit note req_1",
        "-1",
        "−10",
        "26.345000000001",
        "26.35",
        "open",
    ):
        assert shown in text, shown


def test_it_loads_runs_and_links_nothing() -> None:
    reader = read(full())
    assert {tag for tag, _ in reader.tags}.isdisjoint({"script", "link", "img", "iframe", "a", "form", "base"})
    assert not any(name in attributes for _, attributes in reader.tags for name in ("src", "href", "style", "onload"))
    assert "url(" not in page(full())
    assert "@import" not in page(full())


def test_an_empty_month_has_a_page() -> None:
    text = read(document(invoice(samples.account(), "2026-11", Books(), BEGINS))).text
    assert text.count("None.") == 2
    assert "0.00" in text
