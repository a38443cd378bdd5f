"""A row of the table subscriptions ↔ `Subscription`."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway_core.money import Units
from gateway_core.store.rows import json_text
from gateway_core.types import Subscription

SUBSCRIPTION = "id, account_id, plan, status, started_at, ends_at, fee, credit, cap, terms"


class _Terms(msgspec.Struct, frozen=True):
    """What nothing asks the database for."""

    limits: Mapping[str, Mapping[str, int]] = {}
    instance_fee: int = 0


_decode_terms = msgspec.json.Decoder(_Terms).decode


def subscription_row(subscription: Subscription) -> tuple[Any, ...]:
    """The values of SUBSCRIPTION."""
    return (
        subscription.id,
        subscription.account_id,
        subscription.plan,
        subscription.status,
        subscription.started_at,
        subscription.ends_at,
        subscription.fee,
        subscription.credit,
        subscription.cap,
        json_text(_Terms(subscription.limits, subscription.instance_fee)),
    )


def to_subscription(row: Sequence[Any]) -> Subscription:
    """A row of SUBSCRIPTION as the stretch that it is."""
    terms = _decode_terms(row[9])
    return Subscription(
        id=row[0],
        account_id=row[1],
        plan=row[2],
        status=row[3],
        started_at=row[4],
        ends_at=row[5],
        fee=Units(row[6]),
        credit=Units(row[7]),
        cap=None if row[8] is None else Units(row[8]),
        limits=terms.limits,
        instance_fee=Units(terms.instance_fee),
    )
