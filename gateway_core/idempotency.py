"""Idempotency-Key: the same call is made once, charged once, and answered as often as it is asked for. docs/api.md.

Two memories. What runs is in this process, where concurrent duplicates join it. What is over is in the store: a place
for each key, taken before anything is asked of anyone, and the answer, put there by the very transaction that settles
its call. A place without an answer means what the ledger says of its call: nothing was delivered, and the key is free;
or something was, and the call is not made again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from gateway_core.config import IdempotencyConfig
from gateway_core.errors import GatewayError, IdempotencyKeyReused, InternalError, StoreError
from gateway_core.ports import Clock
from gateway_core.sealing import Answer, Seal
from gateway_core.settle import Settler
from gateway_core.sharing import SharedAnswer, failed, interrupted, too_large
from gateway_core.store_ports import AnswerPlace, KeptAnswer, Store
from gateway_core.types import Call

if TYPE_CHECKING:
    from gateway_core.clients import Client, Listener

log = logging.getLogger(__name__)

PRUNED_AT_ONCE = 500
"""Places removed in one write: few enough that no call waits for it."""
PRUNE_EVERY = 30.0
"""Seconds between two looks for expired places."""

_HOUR_MS = 3_600_000

Run = Callable[[Call, "Listener"], Awaitable[None]]
"""The rest of the line: admits the call, makes it, settles it."""


class Idempotency:
    """Calls that carry an Idempotency-Key."""

    def __init__(self, store: Store, settler: Settler, seal: Seal, config: IdempotencyConfig, clock: Clock) -> None:
        self._store = store
        self._settler = settler
        self._seal = seal
        self._config = config
        self._clock = clock
        #: Monotonic seconds of the next look for expired places.
        self._prune_at = 0.0
        self._running: dict[tuple[str, str], SharedAnswer] = {}

    async def serve(self, client: "Client", call: Call, body: bytes, key: str, run: Run) -> None:
        """Answers one caller: by making the call, by joining it where it runs, or from what is kept of it.

        Raises IdempotencyKeyReused for another body, Conflict where the answer cannot be given again, and what the
        call itself ended with.
        """
        place = self._place(call, body, key)
        name = (place.scope, place.key)
        while (shared := self._running.get(name)) is not None and shared.abandoned:
            await asyncio.shield(shared.task)
        if shared is not None:
            if shared.place.body_hash != place.body_hash:
                raise _reused()
            await shared.give(client, first=False)
            return
        shared = self._running[name] = SharedAnswer(place, client, self._kept, self._config.max_answer_bytes)
        shared.task = asyncio.create_task(self._lead(shared, call, run), name=f"call {call.id}")
        await shared.give(client, first=True)

    async def beat(self) -> None:
        """Removes some of what has expired: called once a second, looks twice a minute, and goes on while there is
        more."""
        now = self._clock.monotonic()
        if now >= self._prune_at:
            removed = await self._store.answers.prune(self._clock.now_ms(), PRUNED_AT_ONCE)
            self._prune_at = now + (0 if removed == PRUNED_AT_ONCE else PRUNE_EVERY)

    def _place(self, call: Call, body: bytes, key: str) -> AnswerPlace:
        now = self._clock.now_ms()
        return AnswerPlace(
            scope=call.principal.bearer_id,
            key=self._seal.key_digest(key),
            account_id=call.account.id,
            body_hash=self._seal.body_digest(body),
            request_id=call.id,
            created_at=now,
            expires_at=now + round(self._config.hours * _HOUR_MS),
        )

    def _kept(self, place: AnswerPlace, answer: Answer) -> KeptAnswer:
        config = self._config
        return KeptAnswer(place, self._seal.seal(place, answer), config.max_answers, config.max_bytes)

    async def _lead(self, shared: SharedAnswer, call: Call, run: Run) -> None:
        """The call itself, apart from every connection."""
        place = shared.place
        try:
            earlier = await self._claim(place)
            if earlier is None:
                await run(call, shared)
                shared.close()
            else:
                shared.replay(earlier[0], earlier[1])
        except GatewayError as error:
            shared.fail(error)
        except StoreError:
            log.exception("the store could not be used")
            shared.fail(InternalError("The store cannot be used at the moment.", retry_after=5))
        except Exception:
            log.exception("a call failed")
            shared.fail(failed())
        finally:
            del self._running[place.scope, place.key]
            if not shared.delivered:
                # Nothing was delivered, so nothing is charged: whoever asks again asks anew.
                self._store.answers.forget(place.scope, place.key, place.request_id)

    async def _claim(self, place: AnswerPlace) -> tuple[str, Answer] | None:
        """Takes the place for this call; or gives the answer of the call that has it, and that call's id."""
        while (found := await self._store.answers.claim(place)) is not None:
            if self._settler.undecided(found.request_id):
                raise InternalError("It is not known yet whether this call was settled.", retry_after=5)
            if found.answer is None and await self._is_void(found):
                await self._store.answers.forget(found.scope, found.key, found.request_id)
                continue
            if found.body_hash != place.body_hash:
                raise _reused()
            answer = self._seal.open(found)
            if answer is None:
                raise await self._why_not(found.request_id)
            return found.request_id, answer
        return None

    async def _is_void(self, place: AnswerPlace) -> bool:
        """Whether the call that has the place delivered nothing. It does not run in this process."""
        row = await self._store.ledger.find(place.request_id)
        return row is None or row.settlement.outcome == "failed"

    async def _why_not(self, request_id: str) -> GatewayError:
        row = await self._store.ledger.find(request_id)
        if row is not None and row.settlement.outcome == "cut":
            return interrupted(request_id)
        return too_large(request_id, self._config.max_answer_bytes)


def _reused() -> IdempotencyKeyReused:
    return IdempotencyKeyReused(
        "This Idempotency-Key was used with another body; a new call needs a new key.", param="Idempotency-Key"
    )
