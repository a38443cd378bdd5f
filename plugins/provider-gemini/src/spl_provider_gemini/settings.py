"""`[providers.NAME]` with `plugin = "provider-gemini"`, and what follows from it."""

import re
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from gateway_core.errors import ConfigError
from spl_provider_gemini.rules import ModelRules, changed

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_OURS = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "accept-encoding", "connection", "x-goog-api-key"}
)
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
    where = f"providers.{name}.base_url"
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(
            'must be an http or https address such as "https://generativelanguage.googleapis.com"', where=where
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigError("must not hold a user or password: use api_key", where=where)
    if re.search(r"/v1(beta|alpha)?(/|$)", parts.path):
        raise ConfigError("must stand without the version: it is added here", where=where)
    return f"{base_url.rstrip('/')}/{_VERSION}/"


def address(base: str, model: str, *, stream: bool) -> str:
    """Where one model is asked."""
    path = model if "/" in model else f"models/{model}"
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"{base}{quote(path, safe='/')}:{method}"


def headers(name: str, settings: GeminiSettings, api_key: str | None) -> dict[str, str]:
    """The headers of every request: ours and the configured ones, none of a client's. The key is in one, never in an
    address, which would stand in logs."""
    result = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "user-agent": f"spl-gateway/{version('spl-gateway')}",
    }
    if api_key is not None:
        if not _HEADER_VALUE.fullmatch(api_key):
            raise ConfigError("has characters that no header can carry", where=f"providers.{name}.api_key")
        result["x-goog-api-key"] = api_key
    for header, value in settings.headers.items():
        where = f"providers.{name}.headers.{header}"
        if not _HEADER_NAME.fullmatch(header) or not _HEADER_VALUE.fullmatch(value):
            raise ConfigError("has characters that no header can carry", where=where)
        if header.lower() in _OURS:
            raise ConfigError("is set by the gateway itself", where=where)
        result[header.lower()] = value
    return result
