"""A model provider that works offline: deterministic, streams word by word, calls tools, writes JSON."""

from gateway_core.hookspecs import API, hookimpl
from gateway_core.ports import ProviderKind, ProviderParts
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


def _build(settings: DemoSettings, parts: ProviderParts) -> DemoProvider:
    return DemoProvider(parts.name, settings)  # it never leaves the process, and remembers nothing
