"""`[providers.NAME]` with `plugin = "provider-gemini"`, and what follows from it."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from gateway_core.errors import ConfigError
from gateway_core.upstream.provider_settings import check_base_url, checked_headers, checked_key, plain_headers
from spl_provider_gemini.rules import ModelRules, changed

_BEGINNING = re.compile(r"(https|gs)://[^/]+/")
_VERSION = "v1beta"


class GeminiSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One account at Google."""

    base_url: str = "https://generativelanguage.googleapis.com"
    #: Sent with every request.
    headers: Mapping[str, str] = {}
    #: Ask models that think for a summary of their thoughts, given as `reasoning_content`.
    include_thoughts: bool = True
    #: Harm category → threshold, e.g. HARM_CATEGORY_HARASSMENT = "BLOCK_ONLY_HIGH"; empty: Google's own.
    safety: Mapping[str, str] = {}
    #: Beginnings of addresses that Google is left to fetch by itself, instead of us.
    google_fetches: tuple[str, ...] = ()
    #: Pattern of model names → the fields of its rules that are otherwise than this plugin knows.
    models: Mapping[str, dict[str, Any]] = {}

    def __post_init__(self) -> None:
        """Refuses rules that cannot be, and beginnings of addresses that leave the host open."""
        for beginning in self.google_fetches:
            if not _BEGINNING.match(beginning):
                raise ValueError(f'google_fetches: {beginning!r} must begin with a whole host, e.g. "https://host/"')
        for pattern, fields in self.models.items():
            try:
                changed(ModelRules(), fields)
            except msgspec.ValidationError as error:
                raise ValueError(f'models."{pattern}": {error}') from None


def endpoint(name: str, base_url: str) -> str:
    """The address below which models are asked. Raises ConfigError where `base_url` is no plain http address."""
    check_base_url(name, base_url, "https://generativelanguage.googleapis.com")
    if re.search(r"/v1(beta|alpha)?(/|$)", urlsplit(base_url).path):
        raise ConfigError("must stand without the version: it is added here", where=f"providers.{name}.base_url")
    return f"{base_url.rstrip('/')}/{_VERSION}/"


def address(base: str, model: str, *, stream: bool) -> str:
    """Where one model is asked."""
    path = model if "/" in model else f"models/{model}"
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"{base}{quote(path, safe='/')}:{method}"


def headers(name: str, settings: GeminiSettings, api_key: str | None) -> dict[str, str]:
    """The headers of every request: ours and the configured ones, none of a client's. The key is in one, never in an
    address, which would stand in logs."""
    result = plain_headers()
    if api_key is not None:
        result["x-goog-api-key"] = checked_key(name, api_key)
    return result | checked_headers(name, settings.headers, reserved=("x-goog-api-key",))
