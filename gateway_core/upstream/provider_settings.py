"""What the settings of every provider have in common: an address, a key, and headers, checked when it is built."""

import re
from collections.abc import Collection, Mapping
from importlib.metadata import version

from gateway_core.config_checks import is_http_url
from gateway_core.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_OURS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "accept-encoding", "connection"})
_NO_HEADER = "has characters that no header can carry"


def check_base_url(provider: str, base_url: str, example: str) -> None:
    """Raises ConfigError where it is no plain http address; `example` is one that is."""
    if not is_http_url(base_url):
        raise ConfigError(
            f'must be an http or https address such as "{example}", without user, password (use api_key) or query',
            where=f"providers.{provider}.base_url",
        )


def checked_key(provider: str, api_key: str) -> str:
    """The key. Raises ConfigError, without it, where no header can carry it."""
    if not _VALUE.fullmatch(api_key):
        raise ConfigError(_NO_HEADER, where=f"providers.{provider}.api_key")
    return api_key


def plain_headers() -> dict[str, str]:
    """The headers of every request to any provider; none of them is a client's."""
    return {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "user-agent": f"spl-gateway/{version('spl-gateway')}",
    }


def checked_headers(provider: str, configured: Mapping[str, str], reserved: Collection[str] = ()) -> dict[str, str]:
    """The configured headers, their names in lower case.

    Raises ConfigError for one that cannot be, and for one that the gateway sets itself: `reserved` are the API's own.
    """
    checked: dict[str, str] = {}
    for header, value in configured.items():
        where = f"providers.{provider}.headers.{header}"
        if not _NAME.fullmatch(header) or not _VALUE.fullmatch(value):
            raise ConfigError(_NO_HEADER, where=where)
        name = header.lower()
        if name in _OURS or name in reserved:
            raise ConfigError("is set by the gateway itself", where=where)
        checked[name] = value
    return checked
