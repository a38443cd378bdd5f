"""`[providers.NAME]` with `plugin = "provider-anthropic"`, and what follows from it."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway_core.upstream.provider_settings import check_base_url, checked_headers, checked_key, plain_headers
from spl_provider_anthropic.models import ModelRules

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")
_WITHOUT_SAMPLING = "2026-10-21"
"""From this version of the API on temperature, top_p and top_k are no fields of it."""


class AnthropicSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One account at Anthropic, or another server with its API."""

    #: Without /v1, as Anthropic's own SDK takes it.
    base_url: str = "https://api.anthropic.com"
    #: `anthropic-version`.
    version: str = "2023-06-01"
    #: Sent with every request, e.g. `anthropic-beta`.
    headers: Mapping[str, str] = {}
    #: Pattern of a model's name → the rules that differ from those of the table in models.py.
    models: Mapping[str, Mapping[str, Any]] = {}
    #: The most answers (`n`) that one call may ask for: each is a request of its own, with the whole prompt.
    most_choices: int = 4

    def __post_init__(self) -> None:
        """Refuses what cannot work."""
        if not _VERSION.fullmatch(self.version):
            raise ValueError('version: must be a date such as "2023-06-01"')
        if self.most_choices < 1:
            raise ValueError("most_choices: must be at least 1")
        try:
            self.rules()
        except msgspec.ValidationError as error:
            raise ValueError(f"models: {error}") from None

    def rules(self) -> ModelRules:
        """What each model takes."""
        return ModelRules(self.models, sampling=self.version < _WITHOUT_SAMPLING)


def endpoint(name: str, base_url: str) -> str:
    """The address that messages are asked at. Raises ConfigError where `base_url` is no plain http address."""
    check_base_url(name, base_url, "https://api.anthropic.com")
    return base_url.rstrip("/").removesuffix("/v1") + "/v1/messages"


def headers(name: str, settings: AnthropicSettings, api_key: str | None) -> dict[str, str]:
    """The headers of every request: ours and the configured ones, none of a client's."""
    result = {**plain_headers(), "anthropic-version": settings.version}
    if api_key is not None:
        result["x-api-key"] = checked_key(name, api_key)
    return result | checked_headers(name, settings.headers, reserved=("x-api-key", "anthropic-version"))
