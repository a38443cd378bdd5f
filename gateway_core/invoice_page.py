"""An invoice as a page that prints well: one HTML file that asks nobody for anything."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1rem; margin: 2rem 0 .25rem; }
p { margin: .25rem 0; }
.status { border: 1px solid; border-radius: 1em; padding: 0 .6em; font-size: .8rem; }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .25rem .5rem .25rem 0; border-bottom: 1px solid #8884; }
th { font-weight: 600; font-size: .85rem; }
.n { text-align: right; font-variant-numeric: tabular-nums; padding-right: 0; padding-left: .5rem; }
tfoot td, .due td { font-weight: 600; }
.due td { font-size: 1.1rem; border-bottom: 0; }
small { opacity: .75; overflow-wrap: anywhere; }
@media print {
  :root { color-scheme: light; }
  body { margin: 0; max-width: none; font-size: 11pt; }
  tr, h2 { break-inside: avoid; break-after: auto; }
  h2 { break-after: avoid; }
  thead { display: table-header-group; }
}
"""

_NUMBER = ' class="n"'


def page(invoice: Mapping[str, Any]) -> str:
    """The page of an invoice as the API gives it."""
    title = f"Invoice {invoice['month']} – {invoice['account']}"
    period = f"{invoice['begins']} to {invoice['ends']}, in {invoice['currency']}"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style></head><body>",
            f'<h1>Invoice {escape(invoice["month"])} <span class="status">{escape(invoice["status"])}</span></h1>',
            f"<p>{escape(invoice['account'])} <small>{escape(invoice['account_id'])}</small></p>",
            f"<p><small>{escape(period)}</small></p>",
            _fixed(invoice),
            _inference(invoice),
            _adjustments(invoice),
            _sums(invoice),
            "</body></html>",
            "",
        ]
    )


def _fixed(invoice: Mapping[str, Any]) -> str:
    rows = [
        (_named(line["description"], line["subject"] if line["kind"] == "instance" else ""), line["amount_usd"])
        for line in invoice["fixed_lines"]
    ]
    return _table("Fixed", ("", "USD"), rows, invoice["fixed_usd"])


def _inference(invoice: Mapping[str, Any]) -> str:
    columns = ("calls", "tokens_input", "tokens_cached", "tokens_output")
    rows = [
        (escape(line["model"]), *(f"{line[column]:,}" for column in columns), line["amount_usd"])
        for line in invoice["inference_lines"]
    ]
    titles = ("Model", "Calls", "Input tokens", "of these cached", "Output tokens", "USD")
    return _table("Inference", titles, rows, invoice["inference_usd"])


def _adjustments(invoice: Mapping[str, Any]) -> str:
    rows = [
        (_named(line["why"], f"{line['kind'].replace('_', ' ')} {line['refers_to'] or ''}"), line["amount_usd"])
        for line in invoice["adjustments"]
    ]
    return _table("Adjustments", ("", "USD"), rows, invoice["adjustments_usd"]) if rows else ""


def _sums(invoice: Mapping[str, Any]) -> str:
    minus = "" if invoice["credit_used_usd"] == "0" else "−"
    sums = [
        ("Fixed", invoice["fixed_usd"]),
        ("Inference", invoice["inference_usd"]),
        (f"Credit used, of {escape(invoice['credit_granted_usd'])}", minus + invoice["credit_used_usd"]),
        ("Adjustments", invoice["adjustments_usd"]),
        ("Total, exact", invoice["total_usd"]),
    ]
    rows = "".join(f'<tr><td>{name}</td><td class="n">{escape(amount)}</td></tr>' for name, amount in sums)
    due = f'<tr class="due"><td>Amount due</td><td class="n">{escape(invoice["amount_due_usd"])}</td></tr>'
    return f"<h2>Sum</h2>\n<table><tbody>{rows}{due}</tbody></table>"


def _named(name: str, detail: str) -> str:
    return f"{escape(name)}<br><small>{escape(detail)}</small>" if detail else escape(name)


def _table(title: str, titles: Sequence[str], rows: Sequence[Sequence[str]], total: str) -> str:
    """A table with its sum. The first cell of a row is HTML, the others are numbers."""
    if not rows:
        return f"<h2>{title}</h2>\n<p>None.</p>"
    head = "".join(f"<th{_NUMBER if index else ''}>{name}</th>" for index, name in enumerate(titles))
    body = "".join(
        f"<tr><td>{row[0]}</td>" + "".join(f"<td{_NUMBER}>{escape(cell)}</td>" for cell in row[1:]) + "</tr>\n"
        for row in rows
    )
    foot = f'<tr><td colspan="{len(titles) - 1}">Sum</td><td{_NUMBER}>{escape(total)}</td></tr>'
    return (
        f"<h2>{title}</h2>\n<table><thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}</tbody>\n<tfoot>{foot}</tfoot></table>"
    )
