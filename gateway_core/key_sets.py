"""The keys of registered issuers: pinned, or fetched from the one address that was registered.

Nothing that a bearer says names an address. A set is fetched at most once in 30 seconds an issuer, whoever asks;
where that fails, the last good one serves.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway_core import jwt
from gateway_core.errors import OutsideError, StoreError
from gateway_core.ports import Clock, Outside
from gateway_core.store_ports import Instances
from gateway_core.types import Instance

if TYPE_CHECKING:
    from gateway_core.eddsa import Key

log = logging.getLogger(__name__)

FETCH_EVERY = 30.0
"""Seconds between two fetches of one issuer's set."""
FRESH_MS = 300_000
"""A set that is older is fetched anew, beside the calls that it still serves: a key that was withdrawn ends by that."""
MOST_BYTES = 65_536
_REMEMBERED = 10_000


async def fetch(outside: Outside, url: str) -> str:
    """The key set at an address, as it was sent. Raises OutsideError where there is none."""
    answer = await outside.ask("GET", url, {"accept": "application/json"}, limit=MOST_BYTES)
    if answer.status != 200:
        raise OutsideError(f"answered with status {answer.status}")
    try:
        text = answer.body.decode()
        jwt.read_key_set(text)
    except ValueError as error:
        raise OutsideError(f"sent no set of keys: {error}") from None
    return text


class KeySets:
    """Key sets of one gateway's instances."""

    def __init__(self, instances: Instances, outside: Outside, clock: Clock) -> None:
        self._instances = instances
        self._outside = outside
        self._clock = clock
        #: Text → its keys, so that what is stored is parsed once.
        self._parsed: dict[str, Mapping[str, Key]] = {}
        #: Issuer → when its last fetch began; and the one that runs.
        self._began: dict[str, float] = {}
        self._running: dict[str, asyncio.Task[str | None]] = {}

    async def of(self, instance: Instance, kid: str | None) -> "Mapping[str, Key]":
        """An issuer's keys by id; fetched first where the set has no key `kid`. Empty where none were ever had."""
        if instance.jwks_url is None:
            return self._keys(instance.pinned_keys)
        keys = self._keys(instance.jwks)
        if not keys or (kid is not None and kid not in keys):
            fetched = await self._refresh(instance, instance.jwks_url)
            return keys if fetched is None else self._keys(fetched)
        if self._clock.now_ms() - (instance.jwks_fetched_at or 0) >= FRESH_MS:
            self._begin(instance, instance.jwks_url)
        return keys

    async def close(self) -> None:
        """Ends what runs."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _refresh(self, instance: Instance, url: str) -> str | None:
        """Waits for the fetch that runs or may begin; None where there is none, or it fails."""
        task = self._begin(instance, url)
        # Shielded: others wait for it, too.
        return None if task is None else await asyncio.shield(task)

    def _begin(self, instance: Instance, url: str) -> "asyncio.Task[str | None] | None":
        running = self._running.get(instance.id)
        if running is not None:
            return running
        now = self._clock.monotonic()
        if now - self._began.get(instance.id, -FETCH_EVERY) < FETCH_EVERY:
            return None
        if len(self._began) >= _REMEMBERED:
            self._began = {issuer: at for issuer, at in self._began.items() if now - at < FETCH_EVERY}
        self._began[instance.id] = now
        task = asyncio.create_task(self._fetch(instance, url), name=f"jwks {instance.id}")
        self._running[instance.id] = task
        task.add_done_callback(lambda _: self._running.pop(instance.id, None))
        return task

    async def _fetch(self, instance: Instance, url: str) -> str | None:
        try:
            text = jwt.key_set_text(jwt.read_key_set(await fetch(self._outside, url)))
            await self._instances.keep_jwks(instance.id, text, self._clock.now_ms())
        except (OutsideError, StoreError) as error:
            log.warning("the keys of %s could not be fetched: its JWKS URL %s", instance.id, error)
            return None
        return text

    def _keys(self, text: str | None) -> "Mapping[str, Key]":
        if text is None:
            return {}
        keys = self._parsed.get(text)
        if keys is None:
            if len(self._parsed) >= _REMEMBERED:
                self._parsed.clear()
            keys = self._parsed[text] = jwt.read_key_set(text)
        return keys
