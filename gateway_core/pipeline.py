"""One call, from its headers to its settled row. Read it top to bottom.

    who are you → may you → hold the worst case → ask a backend → deliver → settle what was delivered → tell

Nothing reaches the client before the call is on disk, and no answer is whole before its settlement is.
"""

import logging
from asyncio import Future
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Protocol, TypeVar

import msgspec

from gateway_core.attempts import Attempts, Started
from gateway_core.clock import month_of
from gateway_core.delivery import Delivery, Taken
from gateway_core.dispatch import Dispatch
from gateway_core.errors import (
    AccountSuspended,
    GatewayError,
    InsufficientScope,
    InternalError,
    InvalidBearer,
    ModelNotFound,
    ProviderError,
    ProviderFault,
    StoreError,
    SubscriptionRequired,
    Unavailable,
)
from gateway_core.idempotency import Idempotency
from gateway_core.interrupt import Cut, Interrupt
from gateway_core.live import LiveStream, LiveStreams
from gateway_core.losses import Losses
from gateway_core.money import Units, cents
from gateway_core.outbox import Outbox
from gateway_core.ports import Chunks, Clock, Limiter
from gateway_core.request_policy import of_one_tenant, refuse_unpriced
from gateway_core.settle import GONE, End, Settler
from gateway_core.store_ports import KeptAnswer, Store
from gateway_core.types import (
    Account,
    Call,
    ChatRequest,
    Chunk,
    Credentials,
    Hold,
    LimitState,
    ModelFacts,
    Principal,
    Reservation,
    Route,
    Settlement,
    StreamState,
    Terms,
    Usage,
)
from gateway_core.usage import UsageCounter
from gateway_core.wire.chat import DONE, ChunkEncoder, answer_id, decode_request, encode_completion

log = logging.getLogger(__name__)

T = TypeVar("T")

ENDPOINT = "/v1/chat/completions"

_NOTHING = Usage()
_UNREAD = ChatRequest(model="", body={}, size=0)
"""What is known of a request whose body was not read: it names no model."""


class Listener(Protocol):
    """Who gets a call's answer."""

    request_id: str
    credentials: Credentials
    #: Set as soon as they are known: the answer's headers name them, an error's too.
    tier: str | None
    limits: Sequence[LimitState]

    def watch(self, interrupt: Interrupt) -> None:
        """From now on, cuts the call when the client goes."""

    def keep(self, data: bytes) -> KeptAnswer | None:
        """What the settlement is to keep of the whole answer, which `data` ends."""

    async def answer(self, body: bytes, charge: Units) -> bool:
        """Sends a whole answer; False where the connection was gone."""

    async def write(self, data: bytes) -> bool:
        """Sends a part of a stream, its head first; False where the connection is gone and nothing was written."""

    def written(self) -> int:
        """Bytes that were given to the connection since it began."""

    def unsent(self) -> int:
        """Bytes written that the kernel has not taken yet."""

    def hang_up(self) -> Taken | None:
        """Ends the connection at once; what the kernel had taken, None where that is not known."""

    async def finish(self, data: bytes) -> None:
        """Sends the last part and ends the stream properly."""


class Client(Listener, Protocol):
    """The caller's end of the connection, as the edge gives it to the pipeline."""

    async def body(self) -> bytes:
        """The request's body; raises RequestTooLarge before reading beyond the cap."""

    def idempotency_key(self) -> str | None:
        """The Idempotency-Key header; raises InvalidRequest for one that is none."""

    def replays(self, request_id: str) -> None:
        """The answer that follows is that call's, and the caller is told so in its head."""


class Admitted(msgspec.Struct, frozen=True):
    """A call that passed every gate and holds its worst case."""

    call: Call
    facts: ModelFacts
    routes: Sequence[Route]
    reservation: Reservation
    hold: Hold
    #: An output limit to send upstream, where a cap binds.
    output_limit: int | None


class Pipeline:
    """The straight line. Everything that varies is behind `dispatch` or a port."""

    def __init__(
        self,
        *,
        dispatch: Dispatch,
        store: Store,
        limiter: Limiter,
        settler: Settler,
        attempts: Attempts,
        counter: UsageCounter,
        models: Mapping[str, ModelFacts],
        live: LiveStreams,
        outbox: Outbox,
        idempotency: Idempotency,
        losses: Losses,
        clock: Clock,
        managed: bool = False,
    ) -> None:
        self._dispatch = dispatch
        self._store = store
        self._limiter = limiter
        self._settler = settler
        self._attempts = attempts
        self._counter = counter
        self._models = models
        self._live = live
        self._outbox = outbox
        self._idempotency = idempotency
        self._losses = losses
        self._clock = clock
        self._managed = managed

    async def serve(self, client: Client) -> None:
        """One call. Raises a GatewayError where it is refused or fails: the edge tells the client so, in the
        answer's head or, where a stream has begun, as its last event."""
        call, body = await self._identify(client)
        key = client.idempotency_key()
        if key is None:
            await self._run(call, client)
        else:
            await self._idempotency.serve(client, call, body, key, self._run)

    async def _run(self, call: Call, client: Listener) -> None:
        admitted = await self._admit(call, client)
        if call.request.stream:
            await self._stream(admitted, client)
        else:
            await self._plain(admitted, client)

    # ------------------------------------------------------------ who are you, and what do you ask

    async def _identify(self, client: Client) -> tuple[Call, bytes]:
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
        await self._look(self._call(client, principal, account, _UNREAD), client)
        body = await client.body()
        request = decode_request(body, account.id)
        if self._managed:
            refuse_unpriced(request)
            request = of_one_tenant(request)
        return self._call(client, principal, account, request), body

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

    async def _look(self, unread: Call, client: Client) -> None:
        """Refuses, before a byte of the body is read, a call that finds its minute full; takes nothing.

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

    async def _admit(self, call: Call, client: Listener) -> Admitted:
        request = call.request
        facts, routes = self._backend(call)
        terms = self._terms(call, facts)
        client.tier = terms.tier
        self._losses.check(call, terms.tier)
        if not await self._store.ready():
            raise _not_written()
        tokens = (
            await self._counter.reservation(request, facts) if any(w.unit == "tokens" for w in terms.windows) else 0
        )
        reservation = await self._limiter.reserve(terms.windows, tokens)
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

    # ------------------------------------------------------------ ask a backend

    async def _ask(self, admitted: Admitted, interrupt: Interrupt, answer: Coroutine[None, None, T]) -> T | None:
        """What a backend answers. Where none does, the call is settled at 0; None: nobody waits for it any more."""
        began, asked = self._clock.monotonic(), interrupt.reason is None
        try:
            with interrupt:
                return await answer
        except Cut as cut:
            answer.close()  # where the reason was there first, it was never begun
            await self._fail(admitted, cut.reason, cut.reason, self._unseen(admitted, began) if asked else Usage())
            if cut.reason != "client_disconnect":
                raise _broken_off(cut.reason) from None
            return None
        except GatewayError as error:
            await self._fail(admitted, error.code, "provider_error", Usage())
            raise
        except BaseException:
            await self._fail(admitted, InternalError.code, "provider_error", Usage())
            raise

    def _unseen(self, admitted: Admitted, began: float, delivered: Usage = _NOTHING) -> Usage:
        """What a provider that was asked at `began`, and is cut off now, is taken to charge for."""
        seconds = self._clock.monotonic() - began
        return self._counter.of_cut_provider(admitted.call.request, admitted.facts, admitted.hold, delivered, seconds)

    async def _fail(self, admitted: Admitted, code: str, state: StreamState, generated: Usage) -> None:
        end = End(
            usage=Usage(),
            generated=generated,
            outcome="failed",
            error_code=code,
            stream_state=state if admitted.call.request.stream else None,
        )
        await self._settle(admitted, self._settler.draw_up(admitted.hold, end))

    # ------------------------------------------------------------ settle, answer: a plain call

    async def _plain(self, admitted: Admitted, client: Listener) -> None:
        call, request = admitted.call, admitted.call.request
        self._store.ledger.open(admitted.hold).add_done_callback(_seen)
        interrupt = Interrupt()
        client.watch(interrupt)
        ask = self._attempts.complete(call.id, request, admitted.routes, admitted.output_limit)
        answered = await self._ask(admitted, interrupt, ask)
        if answered is None:
            return
        route, completion = answered
        usage = completion.usage or await self._counter.of_answer(request, admitted.facts, completion.texts)
        if interrupt.reason is not None:  # it left while its answer was counted
            await self._fail(admitted, interrupt.reason, interrupt.reason, usage)
            return
        end = End(usage=usage, generated=usage, outcome="ok", route=route)
        settlement = self._settler.draw_up(admitted.hold, end)
        body = encode_completion(
            completion,
            id=answer_id(completion.id, call.id),
            model=request.model,
            created=completion.created or call.started_at // 1000,
            usage=usage,
            cost_cents=cents(settlement.charge),
        )
        await self._settle(admitted, settlement, client.keep(body))
        if not await client.answer(body, settlement.charge) and settlement.charge:
            with suppress(StoreError):  # it is tried again
                await self._settler.refund(admitted.hold, settlement.charge, GONE)

    # ------------------------------------------------------------ deliver, settle: a stream

    async def _stream(self, admitted: Admitted, client: Listener) -> None:
        call, request = admitted.call, admitted.call.request
        opened = self._store.ledger.open(admitted.hold)
        interrupt = Interrupt()
        client.watch(interrupt)
        delivery = Delivery(request.choices, self._counter.input_estimate(request, admitted.facts))
        expires_at = call.principal.expires_at
        stream = LiveStream(admitted.hold, client, interrupt, delivery, opened, self._clock.monotonic(), expires_at)
        with self._live.track(stream):
            begun = await self._ask(admitted, interrupt, self._begin(admitted, opened))
            if begun is None:
                return
            stream.route, (first, rest) = begun
            encoder = ChunkEncoder(
                id=answer_id(first[0].id if first else None, call.id),
                model=request.model,
                created=(first[0].created if first else None) or call.started_at // 1000,
                include_usage=request.include_usage,
            )
            state = await self._deliver(stream, first, rest, encoder)
        settlement = await self._end_of(admitted, stream, state)
        if state == "completed":
            cost = cents(settlement.charge)
            counted = (
                encoder.usage(settlement.usage, cost, fields=delivery.usage_fields) if request.include_usage else b""
            )
            await self._settle(admitted, settlement, client.keep(counted + DONE))
            await client.finish(counted + DONE)
            return
        await self._settle(admitted, settlement)
        if state != "client_disconnect":
            raise _broken_off(state)

    async def _begin(self, admitted: Admitted, opened: Awaitable[None]) -> tuple[Route, Started]:
        """The first event of an answer, once the call is on disk."""
        call = admitted.call
        begun = await self._attempts.stream(call.id, call.request, admitted.routes, admitted.output_limit)
        try:
            await opened
        except StoreError as error:
            raise _not_written() from error
        return begun

    async def _deliver(
        self, stream: LiveStream, first: Sequence[Chunk], rest: Chunks, encoder: ChunkEncoder
    ) -> StreamState:
        """Writes each event as it comes, and counts it once it was written."""
        client, delivery = stream.client, stream.delivery
        state: StreamState = "completed"
        batch = first
        delivery.last_at = self._clock.monotonic()
        try:
            with stream.interrupt:
                while True:
                    delivery.note_usage(batch)
                    data = encoder.encode(batch)
                    if data:
                        if not await client.write(data):
                            return "client_disconnect"
                        delivery.note_written(batch, data, client.written(), client.unsent(), self._clock.monotonic())
                    batch = await anext(rest)
        except StopAsyncIteration:
            pass  # the provider's own end
        except Cut as cut:
            state = cut.reason
            if state == "provider_error":
                self._broke_off(stream, Unavailable("took too long, or sent no event for too long"))
        except ProviderFault as fault:
            self._broke_off(stream, fault)
            state = "provider_error"
        finally:
            await rest.aclose()
        # What followed the last finish reason could only have been the count.
        return "completed" if delivery.complete else state

    def _broke_off(self, stream: LiveStream, fault: ProviderFault) -> None:
        route = stream.route
        if route is not None:
            log.warning("%s: %s/%s broke off: %s", stream.hold.id, route.provider, route.model, fault.detail)
            self._attempts.broke_off(route, fault)

    async def _end_of(self, admitted: Admitted, stream: LiveStream, state: StreamState) -> Settlement:
        """The settlement of a stream that ended like this, by what was delivered of it."""
        request, facts, delivery = admitted.call.request, admitted.facts, stream.delivery
        generated, taken = delivery.usage, None
        if state == "completed":
            usage = delivery.usage or await self._counter.of_answer(request, facts, delivery.texts)
        else:
            if state == "client_disconnect":
                taken = stream.client.hang_up()
                delivery.forget_unsent(taken)
            usage = await self._counter.of_cut(request, facts, delivery)
            if generated is None and state != "provider_error":
                generated = self._unseen(admitted, stream.started, usage)
        end = End(
            usage=usage,
            generated=generated or usage,
            outcome="ok" if state == "completed" else "cut" if usage.output else "failed",
            stream_state=state,
            error_code=ProviderError.code if state == "provider_error" else None,
            acknowledged_bytes=taken.acknowledged if taken else None,
            route=stream.route,
            ttft_ms=stream.ttft_ms,
        )
        return self._settler.draw_up(admitted.hold, end)

    async def _settle(self, admitted: Admitted, settlement: Settlement, answer: KeptAnswer | None = None) -> None:
        """Settles, gives back what was reserved and not used, and waits until the row is on disk."""
        settled = self._settler.post(settlement, answer)
        self._losses.note(settlement)
        self._limiter.settle(admitted.reservation, settlement.usage.input + settlement.usage.output)
        try:
            row = await settled
        except StoreError as error:
            raise _not_written() from error
        self._outbox.note(admitted.hold.account_id, row.sequence)


def may_use(facts: ModelFacts, tier: str) -> bool:
    """Whether a tier includes a model: where the model names none, every tier but anonymous does."""
    return tier in facts.tiers if facts.tiers is not None else tier != "anonymous"


def _broken_off(state: StreamState) -> GatewayError:
    """What a client is told whose stream ends before its end."""
    if state == "key_revoked":
        return InvalidBearer()
    if state == "gateway_shutdown":
        return InternalError("The gateway is shutting down; what was delivered is settled. Try again.", retry_after=5)
    return ProviderError("The provider broke off in the middle of its answer.")


def _not_written() -> InternalError:
    return InternalError(
        "The ledger could not be written, so the answer is withheld and nothing is charged.", retry_after=5
    )


def _seen(future: Future[None]) -> None:
    """The settlement's own commit decides for a plain call; a failed opening is only looked at."""
    if not future.cancelled():
        future.exception()
