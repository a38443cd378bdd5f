"""`[providers.NAME]` with `plugin = "provider-anthropic"`, and what follows from it."""

import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import msgspec

from gateway_core.errors import ConfigError
from spl_provider_anthropic.models import ModelRules

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")
_OURS = frozenset({
    "host", "content-length", "content-type", "transfer-encoding", "accept-encoding", "connection", "x-api-key",
    "anthropic-version",
})  # fmt: skip
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
    where = f"providers.{name}.base_url"
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError('must be an http or https address such as "https://api.anthropic.com"', where=where)
    if parts.username is not None or parts.password is not None:
        raise ConfigError("must not hold a user or password: use api_key", where=where)
    return base_url.rstrip("/").removesuffix("/v1") + "/v1/messages"


def headers(name: str, settings: AnthropicSettings, api_key: str | None) -> dict[str, str]:
    """The headers of every request: ours and the configured ones, none of a client's."""
    result = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "user-agent": f"spl-gateway/{version('spl-gateway')}",
        "anthropic-version": settings.version,
    }
    if api_key is not None:
        if not _HEADER_VALUE.fullmatch(api_key):
            raise ConfigError("has characters that no header can carry", where=f"providers.{name}.api_key")
        result["x-api-key"] = api_key
    for header, value in settings.headers.items():
        where = f"providers.{name}.headers.{header}"
        if not _HEADER_NAME.fullmatch(header) or not _HEADER_VALUE.fullmatch(value):
            raise ConfigError("has characters that no header can carry", where=where)
        if header.lower() in _OURS:
            raise ConfigError("is set by the gateway itself", where=where)
        result[header.lower()] = value
    return result
