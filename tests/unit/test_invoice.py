"""The invoice as a function of the books: which lines there are, in which order money is used, and the one rounding."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_core.billing import invoiced_months
from gateway_core.clock import month_bounds
from gateway_core.invoice import Books, Invoice, document, invoice
from gateway_core.money import MAX_AMOUNT, UNITS_PER_CENT, Units, parse_usd
from gateway_core.store_ports import UsageRow
from gateway_core.testing import samples
from gateway_core.types import Adjustment, Instance, Subscription, Usage

MONTH = "2026-11"
BEGINS, ENDS = month_bounds(MONTH)
DAY = 86_400_000


def row(model: str = "m", charge: int = 0, credit_used: int = 0, calls: int = 1) -> UsageRow:
    """A model's month."""
    return UsageRow(
        day="",
        account_id="",
        bearer_id="",
        model=model,
        tier="",
        calls=calls,
        usage=Usage(input=7, output=3),
        charge=charge,
        credit_used=credit_used,
        overage=charge - credit_used,
        owed=0,
        loss=0,
    )


def stretch(started_at: int, ends_at: int | None = None, **changes: Any) -> Subscription:
    """A stretch of pro at $20."""
    status: Any = "active" if ends_at is None else "cancelled"
    made = Subscription("sub_1", "acct_sample", "pro", started_at, status, ends_at, fee=Units(20))
    return msgspec.structs.replace(made, **changes)


def hosted(created_at: int, revoked_at: int | None = None, **changes: Any) -> Instance:
    """An instance that we provisioned."""
    made = Instance("inst_1", "acct_sample", "instance", "one", created_at, revoked_at=revoked_at)
    return msgspec.structs.replace(made, **changes)


def made(now_ms: int = BEGINS, **books: Any) -> Invoice:
    """November's invoice."""
    return invoice(samples.account(), MONTH, Books(**books), now_ms)


def fixed(**books: Any) -> list[tuple[str, int]]:
    """November's fixed lines."""
    return [(line.subject, line.amount) for line in made(**books).fixed]


# ---------------------------------------------------------------- fixed lines


@pytest.mark.parametrize(
    ("started", "ended", "charged"),
    [
        (BEGINS - DAY, None, True),
        (BEGINS, None, True),
        (ENDS - 1, None, True),
        (ENDS, None, False),
        (BEGINS - DAY, BEGINS, False),
        (BEGINS - DAY, BEGINS + 1, True),
        (BEGINS + DAY, BEGINS + 2 * DAY, True),
        (BEGINS, BEGINS, True),
        (ENDS - 1, ENDS, True),
        (BEGINS - 40 * DAY, ENDS + 40 * DAY, True),
    ],
)
def test_a_fee_is_charged_whole_in_every_month_that_a_stretch_touches(
    started: int, ended: int | None, charged: bool
) -> None:
    assert fixed(stretches=[stretch(started, ended)]) == ([("pro", 20)] if charged else [])


def test_a_fee_is_charged_once_a_plan_at_its_first_stretch() -> None:
    stretches = [
        stretch(BEGINS - DAY, BEGINS + DAY),
        stretch(BEGINS + DAY, BEGINS + 2 * DAY, id="sub_2", fee=Units(99)),
        stretch(BEGINS + 2 * DAY, BEGINS + 3 * DAY, id="sub_3", plan="basic", fee=Units(5)),
        stretch(BEGINS + 4 * DAY, id="sub_4"),
    ]
    assert fixed(stretches=stretches) == [("pro", 20), ("basic", 5)]


def test_a_suspension_does_not_stop_the_fee() -> None:
    assert fixed(stretches=[stretch(BEGINS - DAY, status="suspended")]) == [("pro", 20)]


@pytest.mark.parametrize(
    ("instance", "charged"),
    [
        (hosted(BEGINS - DAY), True),
        (hosted(BEGINS - DAY, BEGINS), False),
        (hosted(BEGINS - DAY, BEGINS + DAY), False),
        (hosted(BEGINS + DAY, BEGINS + 3 * DAY), True),
        (hosted(BEGINS + 3 * DAY, BEGINS + 3 * DAY), True),
        (hosted(BEGINS + 11 * DAY), False),
        (hosted(ENDS), False),
        (hosted(BEGINS, kind="self_host"), False),
        (hosted(BEGINS, kind="gateway"), False),
    ],
)
def test_an_instance_is_charged_where_it_lived_while_its_plan_did(instance: Instance, charged: bool) -> None:
    pro = stretch(BEGINS + 2 * DAY, BEGINS + 10 * DAY, instance_fee=Units(3))
    lines = fixed(stretches=[pro], instances=[instance])
    assert lines == [("pro", 20)] + ([("inst_1", 3)] if charged else [])


def test_an_instance_is_charged_once_a_month() -> None:
    first = stretch(BEGINS, BEGINS + DAY, instance_fee=Units(3))
    again = stretch(BEGINS + DAY, id="sub_2", instance_fee=Units(4))
    both = [hosted(BEGINS - DAY), hosted(BEGINS + 2 * DAY, id="inst_2")]
    assert fixed(stretches=[first, again], instances=both) == [("pro", 20), ("inst_1", 3), ("inst_2", 4)]
    assert fixed(stretches=[stretch(BEGINS)], instances=both) == [("pro", 20)]


# ---------------------------------------------------------------- sums


amounts = st.integers(0, MAX_AMOUNT)


@st.composite
def rows(draw: st.DrawFn) -> list[UsageRow]:
    """Models with charges, of which credit paid a part."""
    found = []
    for number in range(draw(st.integers(0, 8))):
        charge = draw(st.integers(0, 10**24))
        found.append(row(f"m{number}", charge, draw(st.integers(0, charge)), draw(st.integers(1, 10**9))))
    return found


@st.composite
def adjustments(draw: st.DrawFn) -> list[Adjustment]:
    """Corrections of either sign."""
    amounts = draw(st.lists(st.integers(-MAX_AMOUNT, MAX_AMOUNT), max_size=5))
    kinds: dict[bool, Any] = {True: "reversal", False: "refund"}
    return [
        Adjustment(f"adj_{number}", "acct_sample", MONTH, kinds[amount > 0], Units(amount), "why", "who", BEGINS)
        for number, amount in enumerate(amounts)
    ]


@given(rows(), adjustments(), amounts, amounts)
def test_the_parts_add_up_exactly_and_are_rounded_once(
    usage: Sequence[UsageRow], corrections: Sequence[Adjustment], fee: int, credit: int
) -> None:
    bill = made(
        usage=usage,
        adjustments=corrections,
        stretches=[stretch(BEGINS, fee=Units(fee))],
        credit_granted=credit,
    )
    inference = sum(each.charge for each in usage)
    assert bill.inference_total == inference
    assert bill.overage == sum(each.overage for each in usage)
    assert bill.total == fee + bill.overage + sum(each.amount for each in corrections)
    half_up = (Decimal(abs(bill.total)) / UNITS_PER_CENT).quantize(Decimal(1), ROUND_HALF_UP)
    assert bill.amount_due_cents == int(half_up) * (-1 if bill.total < 0 else 1)
    text = document(bill)
    assert msgspec.json.decode(msgspec.json.encode(text)) == text
    signed = [text[f"{part}_usd"] for part in ("fixed", "inference", "adjustments", "credit_used")]
    exact = [Decimal(each) for each in signed]
    assert exact[0] + exact[1] + exact[2] - exact[3] == Decimal(text["total_usd"])
    assert sum(Decimal(line["amount_usd"]) for line in text["inference_lines"]) == exact[1]
    assert int(text["amount_due_cents"]) == bill.amount_due_cents


@pytest.mark.parametrize(
    ("total", "due"),
    [
        ("0", "0"),
        ("0.004999999999", "0"),
        ("0.005", "1"),
        ("0.014999999999", "1"),
        ("0.015", "2"),
        ("12.345", "1235"),
        ("12.344999999999", "1234"),
    ],
)
def test_half_a_cent_is_rounded_up(total: str, due: str) -> None:
    text = document(made(usage=[row(charge=parse_usd(total))]))
    assert (text["total_usd"], text["amount_due_cents"]) == (total, due)


def test_lines_are_not_rounded_before_they_are_added() -> None:
    """Two lines of 0.4 cents are 0.8 cents: 1 cent is due, not 0."""
    bill = made(usage=[row("a", parse_usd("0.004")), row("b", parse_usd("0.004"))])
    assert bill.amount_due_cents == 1


# ---------------------------------------------------------------- status and months


@pytest.mark.parametrize(
    ("now", "open_calls", "status"),
    [(BEGINS, 0, "open"), (ENDS - 1, 0, "open"), (ENDS, 1, "open"), (ENDS, 0, "final"), (ENDS + 90 * DAY, 1, "open")],
)
def test_it_is_final_once_the_month_has_passed_and_no_call_of_it_is_open(
    now: int, open_calls: int, status: str
) -> None:
    assert made(now, open_calls=open_calls).status == status


def test_an_account_has_an_invoice_of_each_month_since_it_was_created() -> None:
    account = samples.account(created_at=month_bounds("2027-11")[0])
    assert invoiced_months(account, month_bounds("2028-03")[1] - 1) == [
        "2028-03",
        "2028-02",
        "2028-01",
        "2027-12",
        "2027-11",
    ]
    assert invoiced_months(account, account.created_at) == ["2027-11"]
    assert invoiced_months(account, account.created_at - 1) == ["2027-10"]
