"""/v1/admin/plans and /v1/admin/subscriptions: which plan an account is on."""

from collections.abc import Mapping
from typing import Literal, TypedDict

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway_core.clock import iso
from gateway_core.config import PlanConfig
from gateway_core.edge import answers
from gateway_core.edge.access import actor_of
from gateway_core.edge.bodies import decoded
from gateway_core.edge.host import Host
from gateway_core.edge.names import find_account
from gateway_core.errors import Conflict, NotFound
from gateway_core.money import parse_usd, usd
from gateway_core.plans import limits_of, subscription_to
from gateway_core.ports import Endpoint, Shape
from gateway_core.store_ports import Subscriptions
from gateway_core.types import Account, Principal, Subscription, SubscriptionStatus

PATH = "/v1/admin/subscriptions"


class NewSubscription(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a start."""

    account: str
    plan: str


class PlanTerms(TypedDict):
    """What a plan costs and allows. Limits are by model: `rpm`, `tpm`."""

    fee_usd: str
    credit_usd: str
    cap_usd: str | None
    instance_fee_usd: str
    limits: Mapping[str, Mapping[str, int]]


class ShownPlan(PlanTerms):
    """A plan as it is for a subscription that begins now."""

    name: str
    object: Literal["plan"]


class ShownSubscription(PlanTerms):
    """A stretch of a plan, with the terms of its beginning."""

    id: str
    object: Literal["subscription"]
    account: str
    account_id: str
    plan: str
    status: SubscriptionStatus
    started_at: str
    ends_at: str | None


class SubscriptionEvent(TypedDict):
    """Who changed what."""

    at: str
    subscription: str
    status: SubscriptionStatus
    actor: str


class SubscriptionHistory(ShownSubscription):
    """The latest stretch, those before it, and who changed what."""

    earlier: list[ShownSubscription]
    history: list[SubscriptionEvent]


class SubscriptionEndpoints:
    """Handlers for plans and subscriptions; a path names an account by name or id."""

    def __init__(self, host: Host) -> None:
        self._services = host.services

    @property
    def _subscriptions(self) -> Subscriptions:
        return self._services.store.subscriptions

    def endpoints(self) -> list[Endpoint]:
        """All of them."""
        one = PATH + "/{account}"
        return [
            Endpoint(
                "GET",
                "/v1/admin/plans",
                "operator",
                self.plans,
                "Plans that the configuration has.",
                Shape(answer=answers.Page[ShownPlan]),
            ),
            Endpoint(
                "POST",
                PATH,
                "operator",
                self.start,
                "Begins a subscription.",
                Shape(body=NewSubscription, answer=ShownSubscription, statuses=(201,), errors=(NotFound, Conflict)),
            ),
            Endpoint(
                "GET",
                one,
                "operator",
                self.show,
                "An account's subscription and all that it was.",
                Shape(answer=SubscriptionHistory),
            ),
            Endpoint(
                "POST",
                one + "/cancel",
                "operator",
                self.cancel,
                "Ends it now; the month's fee and credit stay.",
                Shape(answer=ShownSubscription, errors=(Conflict,)),
            ),
            Endpoint(
                "POST",
                one + "/reactivate",
                "operator",
                self.reactivate,
                "Begins the cancelled plan again.",
                Shape(
                    answer=ShownSubscription,
                    statuses=(201,),
                    errors=(Conflict,),
                ),
            ),
            Endpoint(
                "POST",
                one + "/suspend",
                "operator",
                self.suspend,
                "Refuses what it pays for, until resumed.",
                Shape(answer=ShownSubscription, errors=(Conflict,)),
            ),
            Endpoint(
                "POST",
                one + "/resume",
                "operator",
                self.resume,
                "Takes a suspension back.",
                Shape(answer=ShownSubscription, errors=(Conflict,)),
            ),
        ]

    async def plans(self, _request: Request, _principal: Principal | None) -> Response:
        """Every plan as it is for a subscription that begins now."""
        plans = self._services.config.plans
        return answers.listing([_plan(name, plan) for name, plan in plans.items()])

    async def start(self, request: Request, principal: Principal | None) -> Response:
        """Begins a stretch of a plan, with its terms as they are now, and grants the month's credit once."""
        body = await decoded(request, NewSubscription)
        account = await find_account(self._services.store.directory, body.account, "account")
        return await self._begin(account, body.plan, principal, "subscription.start")

    async def show(self, request: Request, _principal: Principal | None) -> Response:
        """The latest stretch, those before it, and who changed what."""
        account = await self._account(request)
        stretches = await self._subscriptions.stretches(account.id)
        if not stretches:
            raise NotFound(_never(account))
        history = await self._subscriptions.history(account.id)
        changes: list[SubscriptionEvent] = [
            {"at": iso(line.at), "subscription": line.subscription_id, "status": line.status, "actor": line.actor}
            for line in history
        ]
        earlier = [described(each, account) for each in stretches[:-1]]
        shown: SubscriptionHistory = {**described(stretches[-1], account), "earlier": earlier, "history": changes}
        return answers.json(shown)

    async def cancel(self, request: Request, principal: Principal | None) -> Response:
        """Ends it at once. The fee and the credit of the month stay."""
        return await self._change(request, principal, "cancelled")

    async def suspend(self, request: Request, principal: Principal | None) -> Response:
        """What needs an active subscription is refused from now on; its fee goes on."""
        return await self._change(request, principal, "suspended")

    async def resume(self, request: Request, principal: Principal | None) -> Response:
        """Takes a suspension back."""
        return await self._change(request, principal, "active")

    async def reactivate(self, request: Request, principal: Principal | None) -> Response:
        """Begins the plan again that was cancelled last, with its terms as they are now."""
        account = await self._account(request)
        latest = await self._subscriptions.current(account.id)
        if latest is None:
            raise NotFound(_never(account))
        if latest.status != "cancelled":
            resume = " Resume it instead." if latest.status == "suspended" else ""
            raise Conflict(f"The subscription of {account.name} to {latest.plan} is {latest.status} already.{resume}")
        return await self._begin(account, latest.plan, principal, "subscription.reactivate")

    async def _begin(self, account: Account, plan: str, principal: Principal | None, action: str) -> Response:
        now = self._services.clock.now_ms()
        wanted = subscription_to(plan, self._services.config.plans, account.id, now)
        begun = await self._subscriptions.start(wanted, actor_of(principal), action=action)
        return answers.json(described(begun, account), 201)

    async def _change(self, request: Request, principal: Principal | None, status: SubscriptionStatus) -> Response:
        account = await self._account(request)
        changed = await self._subscriptions.change(account.id, status, actor_of(principal))
        return answers.json(described(changed, account))

    async def _account(self, request: Request) -> Account:
        return await find_account(self._services.store.directory, request.path_params["account"])


def described(subscription: Subscription, account: Account) -> ShownSubscription:
    """A subscription as it is shown."""
    return {
        "id": subscription.id,
        "object": "subscription",
        "account": account.name,
        "account_id": account.id,
        "plan": subscription.plan,
        "status": subscription.status,
        **_terms(subscription),
        "started_at": iso(subscription.started_at),
        "ends_at": None if subscription.ends_at is None else iso(subscription.ends_at),
    }


def _terms(subscription: Subscription) -> PlanTerms:
    return {
        "fee_usd": usd(subscription.fee),
        "credit_usd": usd(subscription.credit),
        "cap_usd": None if subscription.cap is None else usd(subscription.cap),
        "instance_fee_usd": usd(subscription.instance_fee),
        "limits": subscription.limits,
    }


def _plan(name: str, plan: PlanConfig) -> ShownPlan:
    return {
        "name": name,
        "object": "plan",
        "fee_usd": usd(parse_usd(plan.fee_usd)),
        "credit_usd": usd(parse_usd(plan.credit_usd)),
        "cap_usd": None if plan.cap_usd is None else usd(parse_usd(plan.cap_usd)),
        "instance_fee_usd": usd(parse_usd(plan.instance_fee_usd)),
        "limits": limits_of(plan),
    }


def _never(account: Account) -> str:
    return f"The account {account.name} never had a subscription."
