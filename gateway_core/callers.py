"""Who calls, and for which account: what `authenticate` said of a bearer, kept as long as it lasts.

So a bearer that was seen a moment ago is one look-up, and no hook is asked. It is asked again when a minute is over,
when the bearer ends, and after any change to an account, a key or an instance.
"""

from gateway_core.clock import DAY_MS, month_of
from gateway_core.dispatch import Dispatch
from gateway_core.errors import AccountSuspended, InsufficientScope, InvalidBearer
from gateway_core.store_ports import Store
from gateway_core.types import Account, Credentials, Principal

LASTS_MS = 60_000
"""How long an answer of `authenticate` lasts at most."""

_MOST_KEPT = 65_536


class Caller:
    """A bearer that may call models, and its account, on one UTC day."""

    __slots__ = ("account", "generations", "month", "principal", "since", "until")

    def __init__(self, principal: Principal, account: Account, generations: tuple[int, int], since: int) -> None:
        self.principal = principal
        self.account = account
        self.generations = generations
        #: From when on and until when it is kept, in milliseconds.
        self.since = since
        ends = principal.expires_at
        until = min(since + LASTS_MS, since - since % DAY_MS + DAY_MS)
        self.until = until if ends is None else min(ends, until)
        #: That day's month, e.g. "2026-11".
        self.month = month_of(since)


class Callers:
    """Everybody who called lately."""

    def __init__(self, dispatch: Dispatch, store: Store) -> None:
        self._dispatch = dispatch
        self._store = store
        self._keeps = "authenticate" in dispatch.lasting
        self._kept: dict[bytes, Caller] = {}

    def known(self, credentials: Credentials, now: int) -> Caller | None:
        """Whoever was found before, and is that still; None: ask `find`."""
        if credentials.bearer is None:
            return None
        caller = self._kept.get(credentials.slot)
        if caller is None or not caller.since <= now < caller.until:
            return None
        store = self._store
        return caller if caller.generations == (store.directory.generation, store.instances.generation) else None

    async def find(self, credentials: Credentials, now: int) -> Caller:
        """Whose bearer it is. Raises InvalidBearer, InsufficientScope, AccountSuspended."""
        store = self._store
        # Read before anybody is asked: a change in between makes the answer stale, never too fresh.
        generations = store.directory.generation, store.instances.generation
        principal = await self._dispatch.authenticate(credentials)
        if principal is None:
            raise InvalidBearer
        if "inference" not in principal.scopes:
            raise InsufficientScope("This needs a key with the scope `inference`.")
        account = await store.directory.account(principal.account_id)
        if account is None:
            raise InvalidBearer
        if account.suspended:
            raise AccountSuspended("This account is suspended; ask its operator.")
        caller = Caller(principal, account, generations, now)
        if self._keeps and credentials.bearer is not None:
            slot = credentials.slot
            if self._kept.pop(slot, None) is None and len(self._kept) >= _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[slot] = caller
        return caller
