"""Anthropic's Messages API as a provider: OpenAI's Chat Completions in and out, Claude behind."""

from gateway_core.hookspecs import API, hookimpl
from gateway_core.ports import ProviderKind
from spl_provider_anthropic.provider import AnthropicProvider
from spl_provider_anthropic.settings import AnthropicSettings


class Plugin:
    """Brings the provider kind `provider-anthropic`."""

    API = API

    def __init__(self, settings: object = None) -> None:
        del settings  # each provider has its own

    @hookimpl
    def register_providers(self) -> list[ProviderKind]:
        """One kind, which is off without a key."""
        return [ProviderKind("provider-anthropic", AnthropicSettings, AnthropicProvider)]
