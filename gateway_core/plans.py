"""Plans as they are configured, and what a subscription takes over of one when it begins."""

from collections.abc import Mapping

from gateway_core.config import PlanConfig
from gateway_core.config_decode import nearest
from gateway_core.errors import InvalidRequest
from gateway_core.ids import new_id
from gateway_core.money import parse_usd
from gateway_core.types import Subscription


def subscription_to(name: str, plans: Mapping[str, PlanConfig], account_id: str, now_ms: int) -> Subscription:
    """A stretch of that plan, beginning now. Raises InvalidRequest where no plan is called that."""
    plan = plans.get(name)
    if plan is None:
        known = nearest(name, plans) or ": the configuration has no [plans]"
        raise InvalidRequest(f"There is no plan of that name{known}", param="plan")
    return Subscription(
        id=new_id("sub_"),
        account_id=account_id,
        plan=name,
        started_at=now_ms,
        fee=parse_usd(plan.fee_usd),
        credit=parse_usd(plan.credit_usd),
        cap=None if plan.cap_usd is None else parse_usd(plan.cap_usd),
        limits=limits_of(plan),
        instance_fee=parse_usd(plan.instance_fee_usd),
    )


def limits_of(plan: PlanConfig) -> dict[str, dict[str, int]]:
    """A plan's limits, model → {"rpm": …, "tpm": …}, without what it does not limit."""
    return {
        model: {unit: limit for unit, limit in (("rpm", limits.rpm), ("tpm", limits.tpm)) if limit is not None}
        for model, limits in plan.limits.items()
    }
