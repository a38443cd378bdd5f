"""One call, from its headers to its settled row. Read it top to bottom.

    who are you → may you → hold the worst case → ask a backend → deliver → settle what was delivered → tell

Nothing reaches the client before the call is on disk, and no answer is whole before its settlement is.
"""

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from gateway_core.attempts import Attempts, Started
from gateway_core.clients import Client, Listener
from gateway_core.delivery import Delivery, whole
from gateway_core.errors import (
    GatewayError,
    InternalError,
    InvalidBearer,
    ProviderError,
    ProviderFault,
    StoreError,
    Unavailable,
)
from gateway_core.gates import Admitted, Gates, not_written
from gateway_core.idempotency import Idempotency
from gateway_core.interrupt import Cut, Interrupt
from gateway_core.live import LiveStream, LiveStreams
from gateway_core.losses import Losses
from gateway_core.money import cents
from gateway_core.outbox import Outbox
from gateway_core.outflow import Gone, Outflow
from gateway_core.ports import Chunks, Clock, Limiter
from gateway_core.settle import GONE, End, Settler
from gateway_core.store_ports import KeptAnswer, Store
from gateway_core.types import Batch, Call, ModelFacts, Route, Settlement, StreamState, Terms, Usage
from gateway_core.usage import UsageCounter
from gateway_core.wire.chat import DONE, ChunkEncoder, answer_id, encode_completion

log = logging.getLogger(__name__)

T = TypeVar("T")

_NOTHING = Usage()


class Pipeline:
    """The straight line. Everything that varies is behind `dispatch` or a port."""

    def __init__(
        self,
        *,
        gates: Gates,
        store: Store,
        limiter: Limiter,
        settler: Settler,
        attempts: Attempts,
        counter: UsageCounter,
        live: LiveStreams,
        outbox: Outbox,
        idempotency: Idempotency,
        losses: Losses,
        clock: Clock,
    ) -> None:
        self._gates = gates
        self._store = store
        self._limiter = limiter
        self._settler = settler
        self._attempts = attempts
        self._counter = counter
        self._live = live
        self._outbox = outbox
        self._idempotency = idempotency
        self._losses = losses
        self._clock = clock
        #: Of the calls whose provider is asked for its first word.
        self._asking: set[Interrupt] = set()
        #: Why no provider is asked any more.
        self._over: StreamState | None = None

    async def serve(self, client: Client) -> None:
        """One call. Raises a GatewayError where it is refused or fails: the edge tells the client so, in the
        answer's head or, where a stream has begun, as its last event."""
        call, body, key = await self._gates.identify(client)
        line = self._stream if call.request.stream else self._plain
        if key is None:
            await line(call, client)
        else:
            await self._idempotency.serve(client, call, body, key, line)

    def allowed(self, call: Call) -> tuple[ModelFacts, Terms]:
        """The model that a call names and the terms it has there, or the refusal: for endpoints that only look."""
        return self._gates.allowed(call)

    def cut_all(self, reason: StreamState) -> None:
        """Cuts each call that waits for a provider, each stream, and each call that comes to ask one later: they are
        settled as they stand."""
        self._over = reason
        for interrupt in list(self._asking):
            interrupt.cut(reason)
        self._live.cut_all(reason)

    # ------------------------------------------------------------ ask a backend

    async def _ask(self, admitted: Admitted, interrupt: Interrupt, answer: Coroutine[None, None, T]) -> T | None:
        """What a backend answers. Where none does, the call is settled at 0; None: nobody waits for it any more."""
        if self._over is not None:
            interrupt.cut(self._over)
        began, asked = self._clock.monotonic(), interrupt.reason is None
        self._asking.add(interrupt)
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
        finally:
            self._asking.discard(interrupt)

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

    async def _plain(self, call: Call, client: Listener) -> None:
        admitted, request = await self._gates.admit(call, client), call.request
        self._store.ledger.open(admitted.hold)  # nobody waits for it: the settlement's own commit decides
        interrupt = Interrupt()
        client.watch(interrupt)
        ask = self._attempts.complete(call.id, request, admitted.routes, admitted.output_limit, interrupt.task)
        answered = await self._ask(admitted, interrupt, ask)
        if answered is None:
            return
        route, completion = answered
        try:
            usage = whole(completion.usage or await self._counter.of_answer(request, admitted.facts, completion.texts))
            settlement = self._settler.draw_up(admitted.hold, End(usage, usage, "ok", route))
            body = encode_completion(
                completion,
                id=answer_id(completion.id, call.id),
                model=request.model,
                created=completion.created or call.started_at // 1000,
                usage=usage,
                cost_cents=cents(settlement.charge),
            )
        except BaseException:  # an answer that is none
            await self._fail(admitted, InternalError.code, "provider_error", Usage())
            raise
        if interrupt.reason is not None:  # it left while its answer was counted
            await self._fail(admitted, interrupt.reason, interrupt.reason, usage)
            return
        await self._settle(admitted, settlement, client.keep(body))
        if not await client.answer(body, settlement.charge) and settlement.charge:
            with suppress(StoreError):  # it is tried again
                await self._settler.refund(admitted.hold, settlement.charge, GONE)

    # ------------------------------------------------------------ deliver, settle: a stream

    async def _stream(self, call: Call, client: Listener) -> None:
        admitted, request = await self._gates.admit(call, client), call.request
        opened = self._store.ledger.open(admitted.hold)
        interrupt = Interrupt()
        client.watch(interrupt)
        delivery = Delivery(request.choices, self._counter.input_estimate(request, admitted.facts))
        expires_at = call.principal.expires_at
        stream = LiveStream(admitted.hold, client, interrupt, delivery, opened, self._clock.monotonic(), expires_at)
        with self._live.track(stream):
            begun = await self._ask(admitted, interrupt, self._begin(admitted, opened, interrupt.task))
            if begun is None:
                return
            stream.route, (first, rest), encoder = begun
            state = await self._deliver(stream, first, rest, encoder)
        settlement, last = await self._end_of(admitted, stream, state, encoder)
        if state == "completed":
            await self._settle(admitted, settlement, client.keep(last))
            await client.finish(last)
            return
        await self._settle(admitted, settlement)
        if state != "client_disconnect":
            raise _broken_off(state)

    async def _begin(
        self, admitted: Admitted, opened: Awaitable[None], task: asyncio.Task[Any]
    ) -> tuple[Route, Started, ChunkEncoder]:
        """The first event of an answer and what writes it, once the call is on disk."""
        call, request = admitted.call, admitted.call.request
        asked = self._attempts.stream(call.id, request, admitted.routes, admitted.output_limit, task)
        route, started = await asked
        first = started[0][0] if started[0] else None
        try:
            await opened
            encoder = ChunkEncoder(
                id=answer_id(first.id if first else None, call.id),
                model=request.model,
                created=(first.created if first else None) or call.started_at // 1000,
                include_usage=request.include_usage,
            )
        except BaseException as error:
            await started[1].aclose()  # nobody else knows of it: its connection's place would stay taken for good
            if isinstance(error, StoreError):
                raise not_written() from error
            raise
        return route, started, encoder

    async def _deliver(self, stream: LiveStream, first: Batch, rest: Chunks, encoder: ChunkEncoder) -> StreamState:
        """Writes each event as it comes, and counts it once it was written."""
        state: StreamState = "completed"
        outflow = Outflow(stream.client, stream.delivery, encoder, stream.interrupt, self._clock)
        try:
            with stream.interrupt:
                await outflow.pour(first, rest)
        except Gone:
            return "client_disconnect"
        except Cut as cut:
            state = cut.reason
            if state == "provider_error":
                self._broke_off(stream, Unavailable("took too long, or sent no event for too long"))
        except ProviderFault as fault:
            self._broke_off(stream, fault)
            state = "provider_error"
        except Exception as error:  # noqa: BLE001  # whatever failed, what was delivered is settled
            _tell(stream, error)
            state = "provider_error"
        finally:
            try:
                await rest.aclose()
            except Exception as error:  # noqa: BLE001  # as above
                _tell(stream, error)
        # What followed the last finish reason could only have been the count.
        return "completed" if stream.delivery.complete else state

    def _broke_off(self, stream: LiveStream, fault: ProviderFault) -> None:
        route = stream.route
        if route is not None:
            log.warning("%s: %s/%s broke off: %s", stream.hold.id, route.provider, route.model, fault.detail)
            self._attempts.broke_off(route, fault)

    async def _end_of(
        self, admitted: Admitted, stream: LiveStream, state: StreamState, encoder: ChunkEncoder
    ) -> tuple[Settlement, bytes]:
        """The settlement of a stream that ended like this, by what was delivered of it; and, where it was completed,
        its last events."""
        request, delivery, taken = admitted.call.request, stream.delivery, None
        if state == "client_disconnect":
            taken = stream.client.hang_up()
            delivery.forget_unsent(taken)

        def ended(usage: Usage, generated: Usage) -> tuple[Settlement, bytes]:
            end = End(
                usage=usage,
                generated=generated,
                outcome="ok" if state == "completed" else "cut" if usage.output else "failed",
                stream_state=state,
                error_code=ProviderError.code if state == "provider_error" else None,
                acknowledged_bytes=taken.acknowledged if taken else None,
                route=stream.route,
                ttft_ms=stream.ttft_ms,
            )
            settlement = self._settler.draw_up(admitted.hold, end)
            if not request.include_usage:
                return settlement, DONE
            return settlement, encoder.usage(usage, cents(settlement.charge), fields=delivery.usage_fields) + DONE

        try:
            return ended(*await self._counted(admitted, stream, state))
        except Exception as error:  # noqa: BLE001  # what its plugin gave cannot be counted: its hold would stay taken
            _tell(stream, error)
            delivery.usage_fields = None
            usage = self._counter.at_a_glance(request, admitted.facts, admitted.hold, delivery.texts)
            return ended(usage, usage)

    async def _counted(self, admitted: Admitted, stream: LiveStream, state: StreamState) -> tuple[Usage, Usage]:
        """What was delivered of a stream, and what its provider made."""
        request, facts, delivery = admitted.call.request, admitted.facts, stream.delivery
        generated = delivery.usage
        if state == "completed":
            usage = generated or await self._counter.of_answer(request, facts, delivery.texts)
        else:
            usage = await self._counter.of_cut(request, facts, delivery)
            if (generated is None or generated.estimated) and state != "provider_error":
                generated = self._unseen(admitted, stream.started, usage)
        return whole(usage), whole(generated or usage)

    async def _settle(self, admitted: Admitted, settlement: Settlement, answer: KeptAnswer | None = None) -> None:
        """Settles, gives back what was reserved and not used, and waits until the row is on disk."""
        if settlement.loss:
            self._losses.note(settlement)
        try:
            self._limiter.settle(admitted.reservation, settlement.usage.input + settlement.usage.output)
        except Exception:  # a window that counts wrong must not keep a call from its ledger
            log.exception("%s: the limiter failed", admitted.hold.id)
        try:
            row = await self._store.ledger.settle(settlement, answer)
        except StoreError as error:
            self._settler.doubt(settlement, answer)
            raise not_written() from error
        self._outbox.note(admitted.hold.account_id, row.sequence)


def _tell(stream: LiveStream, error: Exception) -> None:
    """Logs where a stream failed, without the exception's own text: that may repeat an answer."""
    where = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    by = f"{stream.route.provider}/{stream.route.model}" if stream.route else "nobody"
    log.error("%s: %s: the stream failed: %s\n%s", stream.hold.id, by, type(error).__name__, where)


def _broken_off(state: StreamState) -> GatewayError:
    """What a client is told whose stream ends before its end."""
    if state == "key_revoked":
        return InvalidBearer()
    if state == "gateway_shutdown":
        return InternalError("The gateway is shutting down; what was delivered is settled. Try again.", retry_after=5)
    return ProviderError("The provider broke off in the middle of its answer.")
