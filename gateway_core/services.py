"""What a plugin may use of the gateway that it runs in."""

from collections.abc import Mapping
from logging import Logger
from pathlib import Path

import msgspec

from gateway_core.config import Config
from gateway_core.keyring import Keyring
from gateway_core.ports import Clock, Inside, Limiter, OutboxState, Outside, Provider, Tokenizers, Upstream
from gateway_core.signing import Signer
from gateway_core.stand_ins import StandIns
from gateway_core.store_ports import Store
from gateway_core.types import ModelFacts


class Site:
    """Where this gateway answers: what bearers for it have as audience."""

    def __init__(self, public_url: str | None) -> None:
        self._configured = public_url is not None
        #: Without a slash at the end; "" before it is known.
        self.url = (public_url or "").rstrip("/").removesuffix("/v1")

    def listens_at(self, url: str) -> None:
        """The address that it listens on: it is also its public one, where none is configured."""
        if not self._configured:
            self.url = url


class Services(msgspec.Struct, frozen=True):
    """The running gateway as a plugin sees it. Built once; two gateways in one process have two of these."""

    config: Config
    home: Path
    keyring: Keyring
    #: What it signs its own bearers with.
    signer: Signer
    #: Bearers for who has shown a key before, within this process.
    stand_ins: StandIns
    site: Site
    store: Store
    limiter: Limiter
    upstream: Upstream
    #: For addresses that customers named.
    outside: Outside
    #: The gateway's own API, asked from within.
    inside: Inside
    tokens: Tokenizers
    providers: Mapping[str, Provider]
    models: Mapping[str, ModelFacts]
    #: What waits to be told to the sinks.
    outbox: OutboxState
    clock: Clock
    log: Logger
