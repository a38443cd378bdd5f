"""The invoice of one account and UTC month: a pure function of what is on its books.

due = fixed lines + inference lines − credit used + adjustments, exact; rounded once, half up, to whole cents.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, TypedDict

import msgspec

from gateway_core.clock import iso, month_bounds
from gateway_core.money import Units, round_cents, usd, usd_to_cent
from gateway_core.store_ports import UsageRow
from gateway_core.types import Account, Adjustment, AdjustmentKind, Instance, Subscription, Usage


class FixedLine(msgspec.Struct, frozen=True):
    """What is due whatever was called: a plan's fee, or an instance's. `subject` is the plan's name or the
    instance's id."""

    kind: Literal["plan", "instance"]
    subject: str
    description: str
    amount: Units


class InferenceLine(msgspec.Struct, frozen=True):
    """One model's calls: the sum of their charges, credit included."""

    model: str
    calls: int
    usage: Usage
    amount: int


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's month has on the books."""

    #: By model, of the calls that were admitted in the month.
    usage: Sequence[UsageRow] = ()
    credit_granted: int = 0
    #: Calls of the month that are not settled.
    open_calls: int = 0
    adjustments: Sequence[Adjustment] = ()
    #: All that the account ever had, in the order in which they began.
    stretches: Sequence[Subscription] = ()
    #: All that the account ever had.
    instances: Sequence[Instance] = ()


class Invoice(msgspec.Struct, frozen=True):
    """A month's bill. Totals are added up in Python's integers: they may pass 64 bits."""

    account: Account
    month: str
    #: open until the month has passed and none of its calls is open.
    status: Literal["open", "final"]
    fixed: tuple[FixedLine, ...]
    inference: tuple[InferenceLine, ...]
    adjustments: tuple[Adjustment, ...]
    credit_granted: int
    credit_used: int

    @property
    def fixed_total(self) -> int:
        """Fees."""
        return sum(line.amount for line in self.fixed)

    @property
    def inference_total(self) -> int:
        """What all calls cost, credit included."""
        return sum(line.amount for line in self.inference)

    @property
    def overage(self) -> int:
        """What calls cost beyond the credit."""
        return self.inference_total - self.credit_used

    @property
    def adjustments_total(self) -> int:
        """Below 0 where more was given back than reversed."""
        return sum(line.amount for line in self.adjustments)

    @property
    def total(self) -> int:
        """What is due, exactly; below 0 where the account has something coming."""
        return self.fixed_total + self.overage + self.adjustments_total

    @property
    def amount_due_cents(self) -> int:
        """What is due in whole cents: rounded half up, here and nowhere else."""
        return round_cents(self.total)


def invoice(account: Account, month: str, books: Books, now_ms: int) -> Invoice:
    """The invoice of a month such as "2026-11", as of now."""
    ended = now_ms >= month_bounds(month)[1]
    return Invoice(
        account=account,
        month=month,
        status="final" if ended and not books.open_calls else "open",
        fixed=(*_plan_lines(month, books.stretches), *_instance_lines(month, books)),
        inference=tuple(InferenceLine(row.model, row.calls, row.usage, row.charge) for row in books.usage),
        adjustments=tuple(books.adjustments),
        credit_granted=books.credit_granted,
        credit_used=sum(row.credit_used for row in books.usage),
    )


def _plan_lines(month: str, stretches: Sequence[Subscription]) -> Iterator[FixedLine]:
    """A fee is charged whole, once a month and plan: that of the plan's first stretch in it."""
    begins, ends = month_bounds(month)
    charged: set[str] = set()
    for stretch in stretches:
        if stretch.plan not in charged and _touches(stretch.started_at, stretch.ends_at, begins, ends):
            charged.add(stretch.plan)
            yield FixedLine("plan", stretch.plan, f"Plan {stretch.plan}", stretch.fee)


def _instance_lines(month: str, books: Books) -> Iterator[FixedLine]:
    """Each instance that we provisioned and that lived while a subscription with a fee for it did."""
    begins, ends = month_bounds(month)
    paid = [stretch for stretch in books.stretches if stretch.instance_fee]
    for instance in books.instances:
        if instance.kind != "instance":
            continue
        for stretch in paid:
            since = max(begins, stretch.started_at)
            until = ends if stretch.ends_at is None else min(ends, stretch.ends_at)
            if since < until and _touches(instance.created_at, instance.revoked_at, since, until):
                yield FixedLine("instance", instance.id, f"Instance {instance.name}", stretch.instance_fee)
                break


def _touches(started: int, ended: int | None, begins: int, ends: int) -> bool:
    """Whether what started and ended then was there in [begins, ends), if only for an instant."""
    return started < ends and (ended is None or ended > begins or started >= begins)


class TokenCounts(TypedDict):
    """Tokens by class. Cached and written to a cache are parts of input, reasoning is a part of output."""

    tokens_input: int
    tokens_cached: int
    tokens_cache_write: int
    tokens_output: int
    tokens_reasoning: int
    estimated: bool


class ShownFixedLine(TypedDict):
    """A plan's fee, or a provisioned instance's."""

    kind: Literal["plan", "instance"]
    subject: str
    description: str
    amount_usd: str


class ShownInferenceLine(TokenCounts):
    """A model's calls."""

    model: str
    calls: int
    amount_usd: str


class ShownInvoiceAdjustment(TypedDict):
    """A correction, and what it adds to what is due."""

    id: str
    kind: AdjustmentKind
    why: str
    refers_to: str | None
    at: str
    amount_usd: str


class InvoiceSums(TypedDict):
    """The sums of an invoice: exact, and what is due in whole cents."""

    fixed_usd: str
    inference_usd: str
    credit_granted_usd: str
    credit_used_usd: str
    overage_usd: str
    adjustments_usd: str
    total_usd: str
    amount_due_usd: str
    amount_due_cents: str


class InvoiceDocument(InvoiceSums):
    """The invoice of a month."""

    object: Literal["invoice"]
    account: str
    account_id: str
    month: str
    begins: str
    ends: str
    status: Literal["open", "final"]
    currency: Literal["USD"]
    fixed_lines: list[ShownFixedLine]
    inference_lines: list[ShownInferenceLine]
    adjustments: list[ShownInvoiceAdjustment]


def document(made: Invoice) -> InvoiceDocument:
    """The invoice as JSON says it: amounts as text."""
    begins, ends = month_bounds(made.month)
    return {
        "object": "invoice",
        "account": made.account.name,
        "account_id": made.account.id,
        "month": made.month,
        "begins": iso(begins),
        "ends": iso(ends),
        "status": made.status,
        "currency": "USD",
        "fixed_lines": [_fixed_line(line) for line in made.fixed],
        "inference_lines": [_inference_line(line) for line in made.inference],
        "adjustments": [_adjustment(line) for line in made.adjustments],
        **totals(made),
    }


def totals(made: Invoice) -> InvoiceSums:
    """The invoice's sums: exact, and what is due in whole cents."""
    return {
        "fixed_usd": usd(made.fixed_total),
        "inference_usd": usd(made.inference_total),
        "credit_granted_usd": usd(made.credit_granted),
        "credit_used_usd": usd(made.credit_used),
        "overage_usd": usd(made.overage),
        "adjustments_usd": usd(made.adjustments_total),
        "total_usd": usd(made.total),
        "amount_due_usd": usd_to_cent(made.total),
        "amount_due_cents": str(made.amount_due_cents),
    }


def _fixed_line(line: FixedLine) -> ShownFixedLine:
    return {
        "kind": line.kind,
        "subject": line.subject,
        "description": line.description,
        "amount_usd": usd(line.amount),
    }


def _inference_line(line: InferenceLine) -> ShownInferenceLine:
    return {
        "model": line.model,
        "calls": line.calls,
        **tokens(line.usage),
        "amount_usd": usd(line.amount),
    }


def tokens(usage: Usage) -> TokenCounts:
    """Tokens by class as JSON says them."""
    return {
        "tokens_input": usage.input,
        "tokens_cached": usage.cached,
        "tokens_cache_write": usage.cache_write,
        "tokens_output": usage.output,
        "tokens_reasoning": usage.reasoning,
        "estimated": usage.estimated,
    }


def _adjustment(line: Adjustment) -> ShownInvoiceAdjustment:
    return {
        "id": line.id,
        "kind": line.kind,
        "why": line.why,
        "refers_to": line.refers_to,
        "at": iso(line.at),
        "amount_usd": usd(line.amount),
    }
