"""The gates that a call passes before anything is spent: who are you, may you, and is there enough to hold.

Read it top to bottom: `identify` is everything up to a call that is known and well-formed, `admit` everything up to
its hold.
"""

from collections.abc import Mapping, Sequence

import msgspec

from gateway_core.clients import Client, Listener
from gateway_core.clock import month_of
from gateway_core.dispatch import Dispatch
from gateway_core.errors import (
    AccountSuspended,
    GatewayError,
    InsufficientScope,
    InternalError,
    InvalidBearer,
    ModelNotFound,
    SubscriptionRequired,
)
from gateway_core.losses import Losses
from gateway_core.ports import Clock, Limiter
from gateway_core.request_policy import of_one_tenant, refuse_unpriced
from gateway_core.settle import Settler
from gateway_core.store_ports import Store
from gateway_core.types import Account, Call, ChatRequest, Hold, ModelFacts, Principal, Reservation, Route, Terms
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
        self._store = store
        self._limiter = limiter
        self._settler = settler
        self._counter = counter
        self._models = models
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
        principal, account = await self._known(client)
        looked = not client.has_body
        if looked:
            await self._look(self._call(client, principal, account, _UNREAD), client)
        try:
            body = await client.body()
            request = decode_request(body, account.id)
            if self._managed:
                refuse_unpriced(request)
                request = of_one_tenant(request)
            key = client.idempotency_key()
        except GatewayError:
            if not looked:
                await self._look(self._call(client, principal, account, _UNREAD), client)
            raise
        call = self._call(client, principal, account, request)
        if key is not None and not looked:
            await self._look(_unread(call), client)  # its answer may be one that is kept: that takes no place
        return call, body, key

    async def _known(self, client: Client) -> tuple[Principal, Account]:
        principal = await self._dispatch.authenticate(client.credentials)
        if principal is None:
            raise InvalidBearer
        if "inference" not in principal.scopes:
            raise InsufficientScope("This needs a key with the scope `inference`.")
        account = await self._store.directory.account(principal.account_id)
        if account is None:
            raise InvalidBearer
        if account.suspended:
            raise AccountSuspended("This account is suspended; ask its operator.")
        return principal, account

    def _call(self, client: Client, principal: Principal, account: Account, request: ChatRequest) -> Call:
        now = self._clock.now_ms()
        return Call(
            id=client.request_id,
            principal=principal,
            account=account,
            request=request,
            endpoint=ENDPOINT,
            started_at=now,
            month=month_of(now),
            address=client.credentials.address,
        )

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
        try:
            facts, routes = self._backend(call)
            terms = self._terms(call, facts)
            client.tier = terms.tier
            self._losses.check(call, terms.tier)
            if not self._store.fresh() and not await self._store.ready():
                raise not_written()
        except GatewayError:
            if not client.limits:
                await self._look(_unread(call), client)
            raise
        tokens = 0
        for window in terms.windows:
            if window.unit == "tokens":
                tokens = await self._counter.reservation(call.request, facts)
                break
        limiter = self._limiter
        reservation = limiter.reserve_now(terms.windows, tokens) or await limiter.reserve(terms.windows, tokens)
        client.limits = reservation.states
        try:
            hold, limit = await self._settler.hold(call, terms, facts)
        except BaseException:
            self._limiter.cancel(reservation)
            client.limits = await self._limiter.peek(terms.windows)
            raise
        return Admitted(call, facts, routes, reservation, hold, limit)

    def allowed(self, call: Call) -> tuple[ModelFacts, Terms]:
        """The model that a call names and the terms it has there, or the refusal: for endpoints that only look."""
        facts, _ = self._backend(call)
        return facts, self._terms(call, facts)

    def _backend(self, call: Call) -> tuple[ModelFacts, Sequence[Route]]:
        name = call.request.model
        routes = self._dispatch.select_backend(call)
        facts = self._models.get(name)
        allowed = call.principal.models
        if not routes or facts is None or (allowed is not None and name not in allowed):
            raise ModelNotFound(f"The model `{name}` does not exist or this key may not use it.", param="model")
        return facts, routes

    def _terms(self, call: Call, facts: ModelFacts) -> Terms:
        terms = self._dispatch.admit(call)
        if terms is None:
            raise SubscriptionRequired("No tier serves this bearer: its account has no active subscription.")
        if not may_use(facts, terms.tier):
            message = f"The model `{facts.id}` is not part of the {terms.tier} tier."
            raise SubscriptionRequired(message, param="model", tier=terms.tier)
        return terms


def may_use(facts: ModelFacts, tier: str) -> bool:
    """Whether a tier includes a model: where the model names none, every tier but anonymous does."""
    return tier in facts.tiers if facts.tiers is not None else tier != "anonymous"


def not_written() -> InternalError:
    """What is said where a commit cannot be acknowledged."""
    return InternalError(
        "The ledger could not be written, so the answer is withheld and nothing is charged.", retry_after=5
    )


def _unread(call: Call) -> Call:
    return msgspec.structs.replace(call, request=_UNREAD)
