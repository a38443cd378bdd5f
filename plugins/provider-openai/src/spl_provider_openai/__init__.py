"""Any OpenAI-compatible server as a provider: OpenAI, vLLM, Ollama, another gateway like this one."""

from gateway_core.hookspecs import API, hookimpl
from gateway_core.ports import ProviderKind
from spl_provider_openai.provider import OpenAIProvider
from spl_provider_openai.settings import OpenAISettings


class Plugin:
    """Brings the provider kind `provider-openai`."""

    API = API

    def __init__(self, settings: object = None) -> None:
        del settings  # each provider has its own

    @hookimpl
    def register_providers(self) -> list[ProviderKind]:
        """One kind. It needs no key: many local servers want none, and a key that is named but absent turns it off."""
        kind = ProviderKind("provider-openai", OpenAISettings, OpenAIProvider, needs_key=False, fresh_keys=True)
        return [kind]
