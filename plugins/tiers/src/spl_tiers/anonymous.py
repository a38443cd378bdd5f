"""The anonymous tier: who shows no bearer is counted by address, and all of them together by day."""

import asyncio
import secrets
from datetime import UTC, datetime
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway_core.errors import PluginError
from gateway_core.hookspecs import API, hookimpl, lasting
from gateway_core.services import Services
from gateway_core.store_ports import DAY_KEY
from gateway_core.types import Call, Credentials, Principal, Terms, Window
from spl_tiers.terms import parse_amount

TIER = "anonymous"
ACCOUNT = "local"
"""Whose thread has the calls: the operator's own."""


class AnonymousSettings(msgspec.Struct, frozen=True):
    """`[tiers.anonymous]`. The table's presence turns the tier on."""

    requests_per_minute: Annotated[int, Meta(ge=1)] = 5
    messages_per_day: Annotated[int, Meta(ge=1)] = 100
    #: All anonymous callers together: what this tier can cost at most.
    messages_per_day_in_all: Annotated[int, Meta(ge=1)] = 10_000
    #: And what they may cost in a day, in USD at customer prices, as text.
    budget_usd_per_day: str = "10"

    def __post_init__(self) -> None:
        """Refuses a budget that is not an amount."""
        parse_amount("budget_usd_per_day", self.budget_usd_per_day)


class Plugin:
    """Names and admits callers without a bearer, where `[tiers.anonymous]` is configured."""

    API = API
    SECTION = f"tiers.{TIER}"
    Settings = AnonymousSettings

    def __init__(self, settings: AnonymousSettings) -> None:
        self._settings = settings
        self._budget = parse_amount("budget_usd_per_day", settings.budget_usd_per_day)
        self._services: Services | None = None
        self._account_id = ""
        #: The UTC day whose key is at hand, and that key.
        self._day, self._day_key = "", ""
        self._day_begins = asyncio.Lock()

    @hookimpl
    async def startup(self, services: Services) -> None:
        """Learns whether the tier is configured, and on whose account its calls are."""
        if TIER not in services.config.tiers:
            return
        account = await services.store.directory.account_named(ACCOUNT)
        if account is None:
            raise PluginError("tier-anonymous", f"there is no account {ACCOUNT!r} for its calls")
        self._account_id = account.id
        self._services = services

    @hookimpl
    @lasting
    async def authenticate(self, credentials: Credentials) -> Principal | None:
        """Who calls without a bearer, by a hash of the address that is another one tomorrow.

        The day's key is random, and retention removes it: afterwards nobody can tie the hash to an address.
        """
        services = self._services
        if services is None or credentials.bearer is not None:
            return None
        key = await self._key_of_today(services)
        digest = services.keyring.digest(f"anonymous:{key}:{_counted(credentials.address)}")
        return Principal(self._account_id, "anonymous", f"anon_{digest[:12].hex()}", frozenset({"inference"}))

    async def _key_of_today(self, services: Services) -> str:
        day = _day_of(services.clock.now_ms())
        if day != self._day:
            async with self._day_begins:
                if day != self._day:
                    name = f"{DAY_KEY} {day}"
                    kept = await services.store.get_state(name)
                    if kept is None:
                        kept = secrets.token_bytes(32)
                        await services.store.put_state(name, kept)
                    self._day, self._day_key = day, kept.hex()
        return self._day_key

    @hookimpl
    @lasting
    def admit(self, call: Call) -> Terms | None:
        """The address's minute and day, and everybody's day in messages and in money."""
        if call.principal.kind != "anonymous" or self._services is None:
            return None
        digest = self._services.keyring.digest(f"anonymous:{_counted(call.address)}")
        return Terms(TIER, _windows(self._settings, f"address:{digest[:16].hex()}"), day_cap=self._budget)


def _windows(settings: AnonymousSettings, key: str) -> tuple[Window, ...]:
    everybody = settings.messages_per_day_in_all
    return (
        Window(key, "requests", settings.requests_per_minute, tier=TIER),
        Window(key, "requests", settings.messages_per_day, day=True, label="messages per day", tier=TIER),
        Window(TIER, "requests", everybody, day=True, label="messages per day by all callers together", tier=TIER),
    )


def _day_of(now_ms: int) -> str:
    """The UTC day, e.g. "2026-11-22"."""
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m-%d")


def _counted(address: str) -> str:
    """What an address is counted under: IPv6 by its /64, since a caller there may use any address in it."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)
