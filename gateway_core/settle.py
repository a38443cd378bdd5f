"""Hold, settle, recover: how a call's money moves. Contract section 3; design section 4.

A hold is the worst case of a call, taken before anything is spent. A settlement charges what was delivered, never
more than the hold, and is made exactly once. What a dead process left open is settled at the next start.
"""

import asyncio
import logging
from contextlib import suppress

import msgspec

from gateway_core.clock import month_of
from gateway_core.dispatch import Dispatch
from gateway_core.errors import Conflict, InternalError, InvalidRequest, QuotaExceeded, StoreError, Unwritable
from gateway_core.money import MAX_AMOUNT, Units
from gateway_core.ports import Clock
from gateway_core.pricing import BILLED_UPSTREAM, cost, rates_at, worst_case
from gateway_core.request_policy import refuse_unpriced
from gateway_core.standing import Standing
from gateway_core.store_ports import KeptAnswer, OpenCall, Store
from gateway_core.tokens import Tokens
from gateway_core.types import (
    Adjustment,
    Call,
    ChatRequest,
    Hold,
    ModelFacts,
    Outcome,
    Rates,
    Route,
    Settled,
    Settlement,
    StreamState,
    Usage,
)

log = logging.getLogger(__name__)

_NOTHING = Units(0)
UNKNOWN = "the answer was withheld, because its ledger row was not known to be written"
GONE = "the client was gone when its answer was ready"
"""Why a charge is given back."""

RECOVERED_AT_ONCE = 256
LEAST_OUTPUT = 16
"""A cap that affords fewer output tokens than this refuses the call rather than cutting its answer to nothing."""


class End(msgspec.Struct, frozen=True):
    """How a call ended: what was delivered of it (`usage`), and what its provider made (`generated`)."""

    usage: Usage
    generated: Usage
    outcome: Outcome
    #: Who served it; None where nobody did.
    route: Route | None = None
    stream_state: StreamState | None = None
    error_code: str | None = None
    #: Bytes of a cut stream that its client acknowledged, where that is known.
    acknowledged_bytes: int | None = None
    ttft_ms: int | None = None


class Settler:
    """Takes holds and makes settlements."""

    def __init__(self, store: Store, dispatch: Dispatch, tokens: Tokens, clock: Clock) -> None:
        self._store = store
        self._unsettled: dict[str, tuple[Settlement, KeptAnswer | None]] = {}
        self._refunds: dict[str, Adjustment] = {}
        self._dispatch = dispatch
        self._tokens = tokens
        self._clock = clock

    def hold_now(self, call: Call, standing: Standing) -> Hold | None:
        """Takes the worst case out of the caps, as nearly every call can; None, taking nothing: ask `hold`."""
        if call.request.size > standing.facts.context_tokens:
            return None
        hold = self._worst(call, standing)
        try:
            return hold if self._store.ledger.hold_now(hold) else None
        except QuotaExceeded:
            return None

    async def hold(self, call: Call, standing: Standing) -> tuple[Hold, int | None]:
        """Takes the worst case out of the caps. Raises QuotaExceeded where they do not afford it.

        Also gives the output limit to send upstream, None unless a cap binds where the client named no limit.
        """
        facts = standing.facts
        if call.request.size > facts.context_tokens:
            await self._fits(call, facts)
        hold = self._worst(call, standing)
        try:
            await self._store.ledger.hold(hold)
        except QuotaExceeded:
            return await self._tighter(call, facts, hold)
        return hold, None

    def _worst(self, call: Call, standing: Standing) -> Hold:
        """What a call may cost at most, to be held."""
        request, facts = call.request, standing.facts
        input_tokens = _most_input(request, facts, request.size)
        output_tokens = (request.output_limit or facts.max_output_tokens) * request.choices
        rates = standing.rates
        if rates is None:
            rates = self._rates(call, standing, Usage(input=input_tokens, output=output_tokens))
        if rates.input or rates.output:
            refuse_unpriced(request)
        amount = worst_case(input_tokens, output_tokens, rates)
        if amount > MAX_AMOUNT:
            raise InvalidRequest("The output limit is higher than any call may cost.", param=_limit_field(call))
        account_cap, bearer_cap, day_cap = standing.caps
        return Hold(  # by position, in the struct's order: by name it costs four times as much
            call.id,
            call.account.id,
            call.principal.bearer_id,
            call.month,
            amount,
            input_tokens,
            output_tokens,
            rates,
            request.model,
            standing.terms.tier,
            call.endpoint,
            call.started_at,
            request.stream,
            account_cap,
            bearer_cap,
            day_cap,
        )

    def _rates(self, call: Call, standing: Standing, worst: Usage) -> Rates:
        priced = self._dispatch.price(call, worst)
        if priced is None:
            raise InternalError(f"No price is known for {call.request.model}, so it cannot be served.")
        if "price" in self._dispatch.lasting:
            standing.rates = priced.rates
        return priced.rates

    async def _fits(self, call: Call, facts: ModelFacts) -> None:
        """Refuses what is longer than the model's context: no price is known for it. Asked only of what might be."""
        counted = await self._tokens.count_messages(facts.tokenizer, call.request.body)
        if counted.input > facts.context_tokens:
            raise InvalidRequest(
                f"The messages have {counted.input} tokens; `{facts.id}` takes at most {facts.context_tokens}.",
                param="messages",
            )

    async def _tighter(self, call: Call, facts: ModelFacts, hold: Hold) -> tuple[Hold, int | None]:
        """The bound from bytes did not fit: counts the input, and lets the cap limit an unlimited output."""
        request = call.request
        counted = await self._tokens.count_messages(facts.tokenizer, request.body)
        if not counted.estimated:
            hold = _resized(hold, _most_input(request, facts, counted.input), hold.output_tokens)
        limit = None
        if request.output_limit is None and hold.rates.output:
            headroom = await self._store.ledger.headroom(hold)
            if headroom is not None:
                spare = headroom - worst_case(hold.input_tokens, 0, hold.rates)
                output = rates_at(hold.input_tokens, hold.rates).output
                limit = min(spare // (output * request.choices), facts.max_output_tokens)
                if limit >= LEAST_OUTPUT:
                    hold = _resized(hold, hold.input_tokens, limit * request.choices)
        await self._store.ledger.hold(hold)
        return hold, limit if limit is not None and limit < facts.max_output_tokens else None

    async def settle(self, hold: Hold, end: End) -> Settled:
        """Settles a hold once and for all; on disk when it returns."""
        return await self.post(self.draw_up(hold, end))

    def draw_up(self, hold: Hold, end: End) -> Settlement:
        """What is charged and owed for a call that ended like this."""
        now = self._clock.now_ms()
        delivered = cost(end.usage, hold.rates)
        charge = delivered.charge
        if charge > hold.amount:
            charge = hold.amount
        # What a cap keeps us from charging, and what the provider charges for what nobody received, is ours to bear.
        owed, loss = delivered.owed, delivered.charge - charge
        if end.generated is not end.usage:
            produced = cost(end.generated, hold.rates)
            owed = max(produced.owed, owed)
            loss += max(0, produced.owed - delivered.owed)
        route = end.route
        return Settlement(  # by position, as a hold
            hold,
            end.usage,
            end.generated,
            charge,
            # Bounded: a provider's count may be absurd, and its row must fit all the same.
            owed if owed <= MAX_AMOUNT else Units(MAX_AMOUNT),
            Units(min(loss, MAX_AMOUNT)) if loss else _NOTHING,
            end.outcome,
            end.stream_state,
            end.error_code,
            route.provider if route else "",
            route.model if route else "",
            now - hold.started_at if now > hold.started_at else 0,
            end.ttft_ms,
            now,
            "upstream" if hold.rates == BILLED_UPSTREAM else "gateway",
            end.acknowledged_bytes,
        )

    # ------------------------------------------------------------ a commit whose fate is unknown

    async def post(self, settlement: Settlement, answer: KeptAnswer | None = None) -> Settled:
        """Puts a settlement on the ledger, and with it the answer that is to be kept; on disk when it returns."""
        try:
            return await self._store.ledger.settle(settlement, answer)
        except StoreError:
            self.doubt(settlement, answer)
            raise

    def doubt(self, settlement: Settlement, answer: KeptAnswer | None) -> None:
        """Nobody knows whether a settlement landed: it is tried again under the same id."""
        self._unsettled[settlement.hold.id] = settlement, answer

    def undecided(self, call_id: str) -> bool:
        """Whether a call's settlement may or may not have landed, and is tried again."""
        return call_id in self._unsettled

    async def retry(self) -> None:
        """Settles again, under the same ids, what failed commits left unknown; called once a second.

        The answer of a plain call was withheld then, so it is settled at 0. Where its first settlement has landed
        after all, what it charged is given back by a refund: a row is never changed.
        """
        if not (self._unsettled or self._refunds) or not await self._store.ready():
            return
        with suppress(StoreError):
            for refund in list(self._refunds.values()):
                await self._give_back(refund)
        for settlement, answer in list(self._unsettled.values()):
            hold = settlement.hold
            try:
                settled = await (
                    self._store.ledger.settle(settlement, answer)
                    if hold.stream
                    else self._store.ledger.settle(_withheld(settlement))
                )
                if not hold.stream and settled.charge:
                    await self.refund(hold, settled.charge, UNKNOWN)
                if not hold.stream and answer is not None:
                    await self._store.answers.forget(answer.place.scope, answer.place.key, hold.id)
            except Unwritable:  # nor would it ever be: what it counts is lost, but its hold is not kept for that
                self._unsettled[hold.id] = _uncounted(settlement), None
                continue
            except StoreError:
                return
            del self._unsettled[hold.id]
            log.warning("%s: settled after a failed commit", hold.id)

    async def refund(self, hold: Hold, charge: Units, why: str) -> None:
        """Gives back what a call was charged whose answer nobody got. Tried again where it raises StoreError."""
        refund = Adjustment(
            id=f"adj_{hold.id.removeprefix('req_')}",
            account_id=hold.account_id,
            month=hold.month,
            kind="refund",
            amount=Units(-charge),
            why=why,
            who="gateway",
            at=self._clock.now_ms(),
            refers_to=hold.id,
        )
        self._refunds[refund.id] = refund
        await self._give_back(refund)

    async def _give_back(self, refund: Adjustment) -> None:
        # Only this one: when a thousand clients leave at once, each call's refund would write everybody's.
        now = self._clock.now_ms()
        month = month_of(now)  # the call's own may have passed, and its invoice stays as it is
        try:
            await self._store.adjustments.add(msgspec.structs.replace(refund, month=month, at=now))
        except Conflict:  # an operator has given it back; or a month has ended since: then it is tried again
            if month_of(self._clock.now_ms()) != month:
                return
        self._refunds.pop(refund.id, None)

    # ------------------------------------------------------------ what a dead process left open

    async def recover(self) -> int:
        """Settles what no living owner holds as `gateway_restart`, from its last checkpoint. Gives their number."""
        orphans = await self._store.ledger.orphans()
        for start in range(0, len(orphans), RECOVERED_AT_ONCE):
            await asyncio.gather(*map(self._recovered, orphans[start : start + RECOVERED_AT_ONCE]))
        if orphans:
            log.warning("settled %d calls that the last run left open", len(orphans))
        return len(orphans)

    async def _recovered(self, orphan: OpenCall) -> Settled:
        hold, reached = orphan.hold, orphan.checkpoint
        usage, route, ttft_ms = Usage(), None, None
        if reached is not None:
            route, ttft_ms = Route(reached.provider, reached.upstream_model), reached.ttft_ms
            usage = Usage(
                input=reached.input,
                output=reached.output,
                cached=reached.cached,
                cache_write=reached.cache_write,
                reasoning=reached.reasoning,
                estimated=True,
            )
        end = End(
            usage=usage,
            generated=usage,
            outcome="cut" if reached else "failed",
            stream_state="gateway_restart" if hold.stream else None,
            error_code=None if hold.stream else "gateway_restart",
            route=route,
            ttft_ms=ttft_ms,
        )
        return await self.settle(hold, end)


def _withheld(settlement: Settlement) -> Settlement:
    """A plain call whose answer nobody got: nothing is charged, and what is owed for it is lost."""
    return msgspec.structs.replace(
        settlement,
        usage=Usage(),
        charge=Units(0),
        loss=settlement.owed,
        outcome="failed",
        error_code=InternalError.code,
    )


def _uncounted(settlement: Settlement) -> Settlement:
    """A call of whose counts no row can be made: nothing is charged."""
    nothing = Usage(estimated=True)
    return msgspec.structs.replace(
        settlement,
        usage=nothing,
        generated=nothing,
        charge=_NOTHING,
        owed=_NOTHING,
        loss=_NOTHING,
        outcome="failed",
        error_code=InternalError.code,
    )


def _most_input(request: ChatRequest, facts: ModelFacts, text: int) -> int:
    """The most input tokens that a call can be charged. A file may fill the model's whole context, whatever its bytes;
    and where a provider answers once only, each choice is a request of its own, billed with the whole prompt."""
    most = text + request.media * facts.media_tokens + facts.overhead_tokens
    return (max(most, facts.context_tokens) if request.files else most) * request.choices


def _resized(hold: Hold, input_tokens: int, output_tokens: int) -> Hold:
    amount = worst_case(input_tokens, output_tokens, hold.rates)
    return msgspec.structs.replace(hold, amount=amount, input_tokens=input_tokens, output_tokens=output_tokens)


def _limit_field(call: Call) -> str:
    body = call.request.body
    return (
        "max_completion_tokens"
        if body.get("max_completion_tokens")
        else "max_tokens"
        if body.get("max_tokens")
        else "n"
    )
