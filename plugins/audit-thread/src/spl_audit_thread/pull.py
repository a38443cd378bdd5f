"""Records from elsewhere: fetched from the gateway where this instance is registered, for one behind NAT."""

import asyncio
import logging
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway_core.errors import ConfigError, InvalidRequest, ProviderFault, StoreError
from gateway_core.ports import UpstreamRequest
from gateway_core.services import Services
from gateway_core.types import Account, Deadlines

log = logging.getLogger("spl_audit_thread")

_PAGE = 200
_MOST_BYTES = 16 * 1024 * 1024
_LONGEST_PAUSE = 300.0
_DEADLINES = Deadlines(connect=5.0, first_byte=30.0, idle=15.0, total=60.0)


class _Pulled(msgspec.Struct, frozen=True):
    """One record as the gateway sends it; its body is kept as the bytes that came."""

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_\-]{1,80}$")]
    thread: Annotated[str, Meta(pattern=r"^th_[a-z0-9_]{1,60}$")]
    sequence: Annotated[int, Meta(ge=1)]
    body: msgspec.Raw


class _Page(msgspec.Struct, frozen=True):
    data: list[_Pulled]
    has_more: bool = False


class Puller:
    """Asks a gateway for this instance's records again and again, and keeps how far it has got in the store."""

    def __init__(self, services: Services, gateway: str, audience: str | None, account: str, seconds: float) -> None:
        self._services = services
        self._gateway = gateway.rstrip("/").removesuffix("/v1")
        self._account_name = account
        self._seconds = seconds
        self._state = f"audit-pull {self._gateway}"
        known_as = (audience or self._gateway).rstrip("/").removesuffix("/v1")
        self._bearer = services.signer.source("records", known_as, "records:read")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins. Raises ConfigError where there is no such account."""
        account = await self._services.store.directory.account_named(self._account_name)
        if account is None:
            raise ConfigError(
                f'there is no account "{self._account_name}": create it, or name another',
                where="plugins.audit-thread.pull_account",
            )
        self._task = asyncio.create_task(self._run(account), name="audit pull")

    async def stop(self) -> None:
        """Ends; what has not come yet comes after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, account: Account) -> None:
        pause = self._seconds
        while True:
            try:
                more = await self._pull(account)
            except (ProviderFault, StoreError, InvalidRequest, msgspec.MsgspecError, UnicodeError) as error:
                # The error's own text names no address and no bearer.
                why = error if isinstance(error, (ProviderFault, StoreError)) else "sent something that is no page"
                pause = min(pause * 2, _LONGEST_PAUSE)
                log.warning("records could not be fetched: the gateway %s; next attempt in %gs", why, pause)
            else:
                pause = 0.0 if more else self._seconds
            await asyncio.sleep(pause)
            pause = pause or self._seconds

    async def _pull(self, account: Account) -> bool:
        """One page. Whether there may be more."""
        store = self._services.store
        after = int(await store.get_state(self._state) or b"0")
        page = await self._fetch(after)
        if not page.data:
            return False
        # Begun in their order, so stored in it, and all in one commit; a record that is there already stays as it is.
        stored = [
            store.records.append(account.id, each.thread, each.id, bytes(each.body), self._gateway)
            for each in page.data
        ]
        await asyncio.gather(*stored)
        place = max(after, page.data[-1].sequence)
        await store.put_state(self._state, str(place).encode())
        return page.has_more and place > after  # who repeats himself is asked again later

    async def _fetch(self, after: int) -> _Page:
        response = await self._services.upstream.send(
            UpstreamRequest(
                url=f"{self._gateway}/v1/audit/records?after={after}&limit={_PAGE}",
                headers={"authorization": f"Bearer {self._bearer()}", "accept": "application/json"},
                body=b"",
                deadlines=_DEADLINES,
                method="GET",
            )
        )
        try:
            if response.status != 200:
                raise ProviderFault(f"answered {response.status}")
            return msgspec.json.decode(await response.read(_MOST_BYTES), type=_Page)
        finally:
            await response.close()
