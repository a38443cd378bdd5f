"""The gates that a call passes before anything is spent: who are you, may you, and is there enough to hold.

Read it top to bottom: `identify` is everything up to a call that is known and well-formed, `admit` everything up to
its hold.
"""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from gateway_core.callers import Caller, Callers
from gateway_core.clients import Client, Listener
from gateway_core.clock import month_of
from gateway_core.dispatch import Dispatch
from gateway_core.errors import GatewayError, InternalError
from gateway_core.losses import Losses
from gateway_core.ports import LARGE_REQUEST, Clock, Limiter
from gateway_core.request_policy import of_one_tenant, refuse_unpriced
from gateway_core.settle import Settler
from gateway_core.standing import Standings
from gateway_core.store_ports import Store
from gateway_core.types import Call, ChatRequest, Hold, ModelFacts, Reservation, Route, Terms
from gateway_core.usage import UsageCounter
from gateway_core.wire.chat import decode_request

ENDPOINT = "/v1/chat/completions"

_UNREAD = ChatRequest(model="", body={}, size=0)
"""What is known of a request whose body was not read: it names no model."""


class Admitted(msgspec.Struct, frozen=True):
    """A call that passed every gate and holds its worst case."""

    call: Call
    facts: ModelFacts
    routes: Sequence[Route]
    reservation: Reservation
    hold: Hold
    #: An output limit to send upstream, where a cap binds.
    output_limit: int | None


class Gates:
    """All of them, in order."""

    def __init__(
        self,
        *,
        dispatch: Dispatch,
        store: Store,
        limiter: Limiter,
        settler: Settler,
        counter: UsageCounter,
        models: Mapping[str, ModelFacts],
        losses: Losses,
        clock: Clock,
        managed: bool = False,
    ) -> None:
        self._dispatch = dispatch
        self._callers = Callers(dispatch, store)
        self._standings = Standings(dispatch, models)
        self._store = store
        self._limiter = limiter
        self._settler = settler
        self._counter = counter
        self._losses = losses
        self._clock = clock
        self._managed = managed

    # ------------------------------------------------------------ who are you, and what do you ask

    async def identify(self, client: Client) -> tuple[Call, bytes, str | None]:
        """The call, its body, and its idempotency key.

        A call that finds its minute full is told so before a byte of its body is read, and before anything that is
        wrong with it. Where the body is here already, and nothing is wrong, `admit` takes its place in the minute
        anyway: a look of its own would be for nothing.
        """
        now = self._clock.now_ms()
        credentials, body = client.credentials, client.here
        caller = self._callers.known(credentials, now) or await self._callers.find(credentials, now)
        looked = body is None and not client.has_body
        if looked:
            await self._look(self._call(client, caller, _UNREAD, now), client)
        try:
            if body is None:
                body = await client.body()
            if len(body) <= LARGE_REQUEST:
                request = self._request(body, caller.account.id)
            else:  # it takes longer than other calls may wait
                request = await asyncio.to_thread(self._request, body, caller.account.id)
            key = client.idempotency_key()
        except GatewayError:
            if not looked:
                await self._look(self._call(client, caller, _UNREAD, now), client)
            raise
        if looked:  # it took its time
            now = self._clock.now_ms()
        call = self._call(client, caller, request, now)
        if key is not None and not looked:
            await self._look(_unread(call), client)  # its answer may be one that is kept: that takes no place
        return call, body, key

    def _request(self, body: bytes, account_id: str) -> ChatRequest:
        request = decode_request(body, account_id)
        if self._managed:
            refuse_unpriced(request)
            request = of_one_tenant(request)
        return request

    def _call(self, client: Client, caller: Caller, request: ChatRequest, now: int) -> Call:
        month = caller.month if caller.since <= now < caller.until else month_of(now)  # it ends with its day
        address = client.credentials.address
        return Call(client.request_id, caller.principal, caller.account, request, ENDPOINT, now, month, address)

    async def _look(self, unread: Call, client: Listener) -> None:
        """Refuses a call that finds its minute full; takes nothing.

        Only the windows that hold for every model are known here. What else a tier refuses is said in its turn.
        """
        try:
            terms = self._dispatch.admit(unread)
        except GatewayError:
            return
        if terms is None:
            return
        client.tier = terms.tier
        windows = [window for window in terms.windows if window.unit == "requests"]
        if not windows:
            return
        client.limits = await self._limiter.peek(windows)
        for state in client.limits:
            if state.remaining < 1 and not state.window.day:
                # The limiter knows how long to wait; where a moment made room after all, it is given back.
                self._limiter.cancel(await self._limiter.reserve(windows, 0))
                return

    # ------------------------------------------------------------ may you, and the hold

    async def admit(self, call: Call, client: Listener) -> Admitted:
        """The call with what it took: of its windows, and of its caps."""
        limiter = self._limiter
        try:
            standing = self._standings.of(call)
            terms = standing.terms
            client.tier = terms.tier
            if self._losses.any:
                self._losses.check(call, terms.tier)
            if not self._store.fresh() and not await self._store.ready():
                raise not_written()
        except GatewayError:
            if not client.limits:
                await self._look(_unread(call), client)
            raise
        windows = terms.windows
        tokens = await self._counter.reservation(call.request, standing.facts) if standing.counts_tokens else 0
        reservation = limiter.reserve_now(windows, tokens) or await limiter.reserve(windows, tokens)
        client.limits = reservation.states
        limit = None
        try:
            hold = self._settler.hold_now(call, standing)
            if hold is None:
                hold, limit = await self._settler.hold(call, standing)
        except BaseException:
            limiter.cancel(reservation)
            client.limits = await limiter.peek(windows)
            raise
        return Admitted(call, standing.facts, standing.routes, reservation, hold, limit)

    def allowed(self, call: Call) -> tuple[ModelFacts, Terms]:
        """The model that a call names and the terms it has there, or the refusal: for endpoints that only look."""
        standing = self._standings.of(call)
        return standing.facts, standing.terms


def not_written() -> InternalError:
    """What is said where a commit cannot be acknowledged."""
    return InternalError(
        "The ledger could not be written, so the answer is withheld and nothing is charged.", retry_after=5
    )


def _unread(call: Call) -> Call:
    return msgspec.structs.replace(call, request=_UNREAD)
