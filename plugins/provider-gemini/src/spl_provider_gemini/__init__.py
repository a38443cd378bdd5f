"""Google's Gemini API as a provider: OpenAI's Chat Completions in, generateContent out, and back."""

from gateway_core.hookspecs import API, hookimpl
from gateway_core.ports import ProviderKind
from spl_provider_gemini.provider import GeminiProvider
from spl_provider_gemini.settings import GeminiSettings


class Plugin:
    """Brings the provider kind `provider-gemini`."""

    API = API

    def __init__(self, settings: object = None) -> None:
        del settings  # each provider has its own

    @hookimpl
    def register_providers(self) -> list[ProviderKind]:
        """One kind, off without a key."""
        return [ProviderKind("provider-gemini", GeminiSettings, GeminiProvider)]
