"""What a plugin may use of the gateway that it runs in."""

from collections.abc import Mapping
from logging import Logger
from pathlib import Path

import msgspec

from gateway_core.config import Config
from gateway_core.keyring import Keyring
from gateway_core.ports import Clock, Limiter, Provider, Store, Upstream
from gateway_core.types import ModelFacts


class Services(msgspec.Struct, frozen=True):
    """The running gateway as a plugin sees it. Built once; two gateways in one process have two of these."""

    config: Config
    home: Path
    keyring: Keyring
    store: Store
    limiter: Limiter
    upstream: Upstream
    providers: Mapping[str, Provider]
    models: Mapping[str, ModelFacts]
    clock: Clock
    log: Logger
