"""A model provider that works offline: deterministic, streams word by word, calls tools, writes JSON."""

from gateway_core.hookspecs import API, hookimpl
from gateway_core.ports import ProviderKind, Upstream
from spl_provider_demo.provider import DemoProvider, DemoSettings


class Plugin:
    """Brings the provider kind `provider-demo`."""

    API = API

    def __init__(self, settings: object = None) -> None:
        del settings  # each provider has its own

    @hookimpl
    def register_providers(self) -> list[ProviderKind]:
        """One kind, which needs no key."""
        return [ProviderKind(name="provider-demo", settings=DemoSettings, build=_build, needs_key=False)]


def _build(name: str, settings: DemoSettings, api_key: str | None, upstream: Upstream) -> DemoProvider:
    del api_key, upstream  # it never leaves the process
    return DemoProvider(name, settings)
