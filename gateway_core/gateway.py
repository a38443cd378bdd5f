"""The gateway: assembled once, started, drained, stopped. It owns all state, so two can live in one process."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gateway_core.attempts import Attempts
from gateway_core.bearers import local_account
from gateway_core.clock import SystemClock
from gateway_core.config_checks import UNLIMITED
from gateway_core.config_file import LoadedConfig
from gateway_core.dispatch import Dispatch
from gateway_core.edge.app import App, build_app
from gateway_core.edge.inside import Inside
from gateway_core.edge.recent_errors import RecentErrors
from gateway_core.errors import PluginError, SplError, StoreError
from gateway_core.gates import Gates
from gateway_core.home import Home
from gateway_core.idempotency import Idempotency
from gateway_core.keyring import Keyring
from gateway_core.live import PULSE, LiveStreams
from gateway_core.losses import Losses
from gateway_core.media import FetchedMedia
from gateway_core.memory import MemorySeal, ProviderMemory
from gateway_core.models import resolve_models
from gateway_core.money import parse_usd
from gateway_core.outbox import Outbox
from gateway_core.pipeline import Pipeline
from gateway_core.plugins import PluginSet, load
from gateway_core.ports import Clock, ProviderParts
from gateway_core.providers import build_providers
from gateway_core.retention import Retention
from gateway_core.route_health import Health
from gateway_core.sealing import Seal
from gateway_core.services import Services, Site
from gateway_core.settle import Settler
from gateway_core.signing import Signer
from gateway_core.stand_ins import StandIns
from gateway_core.tokens import Tokens
from gateway_core.upstream.choice import upstream_for
from gateway_core.upstream.outside import GuardedOutside
from gateway_core.usage import UsageCounter

log = logging.getLogger(__name__)

CUT_SECONDS = 10.0
"""What calls get to settle after they were cut."""


class Gateway:
    """One running gateway. `assemble` does no I/O but for plugins' imports and the home's secrets."""

    def __init__(self, config: LoadedConfig, home: Home, plugins: PluginSet, clock: Clock) -> None:
        self.config = config.config
        self.loaded = config
        self.home = home
        self.plugins = plugins
        self.dispatch = Dispatch(plugins)
        self.tokens = Tokens()
        self.inside = Inside(self.config.server, self.dispatch, clock)
        self.errors = RecentErrors(clock)
        #: Set once a shutdown has begun: new calls are refused, `/readyz` says so.
        self.draining = False
        self._calls = 0
        self._idle = asyncio.Event()
        self._pulse: asyncio.Task[None] | None = None
        store = plugins.store(config, home, clock)
        limiter = plugins.limiter(config, store, clock)
        upstream = upstream_for(self.config.upstream)
        keyring = Keyring(home)
        signer = Signer(keyring, home, clock)
        outside = GuardedOutside(allow_private=self.config.bearers.allow_private_addresses)
        self.media = media = FetchedMedia.configured(self.config.media)
        memory = ProviderMemory(store, MemorySeal(keyring), self.config.memory, clock)
        providers = build_providers(
            config,
            plugins,
            lambda name, key: ProviderParts(name, key, upstream, media, memory),
            bearers=lambda audience: signer.source("inference", audience, "inference"),
        )
        models = resolve_models(self.config, providers)
        self.outbox = Outbox(store, self.dispatch.emit_audit, clock, self.dispatch.wants_audit)
        self.retention = Retention(store, self.outbox, self.config.retention, clock)
        self.services = Services(
            config=self.config,
            home=home.path,
            keyring=keyring,
            signer=signer,
            stand_ins=StandIns(),
            site=Site(self.config.server.public_url),
            store=store,
            limiter=limiter,
            upstream=upstream,
            outside=outside,
            inside=self.inside,
            tokens=self.tokens,
            providers=providers,
            models=models,
            outbox=self.outbox,
            clock=clock,
            log=logging.getLogger("spl"),
        )
        self.settler = settler = Settler(store, self.dispatch, self.tokens, clock)
        self.idempotency = Idempotency(store, settler, Seal(keyring), self.config.idempotency, clock)
        bound = self.config.limits.loss_usd_per_day
        self.losses = Losses(store, None if bound == UNLIMITED else parse_usd(bound), clock)
        self.live = LiveStreams(store, self.dispatch, clock, self.config.server.keep_alive_seconds)
        self.health = Health(self.config.upstream, models, clock)
        self.pipeline = self._line()
        self.app: App = build_app(self)

    @classmethod
    def assemble(cls, config: LoadedConfig, home: Home, *, clock: Clock | None = None) -> "Gateway":
        """Builds a gateway from a checked configuration. Raises ConfigError and PluginError."""
        return cls(config, home, load(config), clock or SystemClock())

    def _line(self) -> Pipeline:
        """What every call goes through."""
        services, counter = self.services, UsageCounter(self.tokens)
        gates = Gates(
            dispatch=self.dispatch,
            store=services.store,
            limiter=services.limiter,
            settler=self.settler,
            counter=counter,
            models=services.models,
            losses=self.losses,
            clock=services.clock,
            managed=self.config.server.managed,
        )
        return Pipeline(
            gates=gates,
            store=services.store,
            limiter=services.limiter,
            settler=self.settler,
            attempts=Attempts(services.providers, self.config.upstream.retries, self.health),
            counter=counter,
            live=self.live,
            outbox=self.outbox,
            idempotency=self.idempotency,
            losses=self.losses,
            clock=services.clock,
        )

    # ------------------------------------------------------------ start

    async def start(self) -> None:
        """Opens the store, starts the plugins, settles what the last run left open. The caller has the home's lock."""
        services = self.services
        await services.store.open()
        await local_account(services.store.directory, services.clock.now_ms())
        for name, startup in self.dispatch.startup:
            await _blaming(name, "startup", startup(services))
        await self.settler.recover()
        await self.losses.load()
        await self.outbox.start()
        await self.retention.start()
        self._pulse = asyncio.create_task(self._beat(), name="pulse")

    async def _beat(self) -> None:
        """Once a second, until it is cancelled: one task for everything that is due that often."""
        while True:
            await asyncio.sleep(PULSE)
            try:
                await self.settler.retry()
                await self.live.beat()
                await self.idempotency.beat()
            except StoreError as error:
                log.warning("the store cannot be written: %s", error)
            except Exception:  # whatever one beat fails by, the next one must come
                log.exception("the pulse failed")

    # ------------------------------------------------------------ calls that are under way

    def enter(self) -> None:
        """A call begins."""
        self._calls += 1

    def leave(self) -> None:
        """A call is over, its settlement included."""
        self._calls -= 1
        if self.draining and not self._calls:
            self._idle.set()

    # ------------------------------------------------------------ stop

    def begin_drain(self) -> None:
        """From now on new calls are refused with 503."""
        self.draining = True
        if not self._calls:
            self._idle.set()

    async def drain(self) -> None:
        """Waits for the calls under way; after the grace period they are cut, and settled as they stand."""
        self.begin_drain()
        if not await self._settled_within(self.config.server.grace_seconds):
            await self.cut()

    async def cut(self) -> None:
        """Cuts the calls under way, and waits until they are settled as they stand."""
        self.pipeline.cut_all("gateway_shutdown")
        if not await self._settled_within(CUT_SECONDS):
            log.error("%d calls go on; what is not settled when this process ends, the next start settles", self._calls)

    async def _settled_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Drains where that was not begun before, stops the plugins in reverse order, and closes the store last."""
        if not self.draining:
            await self.drain()
        if self._pulse is not None:
            self._pulse.cancel()
            await asyncio.gather(self._pulse, return_exceptions=True)
        await self.retention.stop()
        await self.outbox.stop()
        for name, shutdown in self.dispatch.shutdown:
            await _logged(name, shutdown)
        await self.services.limiter.close()
        self.tokens.close()
        await self.services.upstream.close()
        await self.services.outside.close()
        await self.media.close()
        await self.services.store.close()


async def _blaming(plugin: str, hook: str, running: Awaitable[None]) -> None:
    try:
        await running
    except SplError:
        raise
    except Exception as error:
        raise PluginError(plugin, f"{hook} failed: {type(error).__name__}: {error}") from error


async def _logged(plugin: str, shutdown: Callable[[], Awaitable[None]]) -> None:
    try:
        await shutdown()
    except Exception:
        log.exception("plugin %s: shutdown failed", plugin)
