"""What is on an account's books of a month, read from the store in an order that misses nothing."""

from gateway_core.clock import day_of, month_bounds, month_of
from gateway_core.invoice import Books, Invoice, invoice
from gateway_core.store_ports import Store
from gateway_core.types import Account


async def invoice_of(store: Store, account: Account, month: str, now_ms: int) -> Invoice:
    """The account's invoice of a month such as "2026-11", from the rollups."""
    # The open calls first: what is not open any more is then among the rollups.
    totals = await store.ledger.month(account.id, month)
    begins, ends = month_bounds(month)
    books = Books(
        usage=await store.reports.totals(account.id, day_of(begins), day_of(ends - 1), ("model",)),
        credit_granted=totals.credit_granted,
        open_calls=totals.open,
        adjustments=await store.adjustments.of_month(account.id, month),
        stretches=await store.subscriptions.stretches(account.id),
        instances=await store.instances.page(account.id),
    )
    return invoice(account, month, books, now_ms)


def invoiced_months(account: Account, now_ms: int) -> list[str]:
    """The UTC months that the account has invoices of, newest first: from its creation to the one that goes on."""
    now, first = month_of(now_ms), month_of(account.created_at)
    months = [now]
    while months[-1] > first:
        months.append(month_of(month_bounds(months[-1])[0] - 1))
    return months
