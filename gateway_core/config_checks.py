"""What the shape of a configuration cannot say: addresses, amounts, dates, and names that must exist."""

import ipaddress
import math
import re
from collections.abc import Collection, Mapping
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from gateway_core.config import TIMEOUTS, Config, ModelConfig, PlanConfig, PriceConfig, ServerConfig, UpstreamConfig
from gateway_core.config_decode import KeyPath, Problems, item, nearest
from gateway_core.money import parse_usd, unit_price

OWN_BEARERS = "bearer:instance"
"""The `api_key` of a provider that is a gateway where this instance is registered: it bills what it serves."""

UNLIMITED = "unlimited"
"""An amount that bounds nothing."""

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_ENV = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_API_KEY = re.compile(r"(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|bearer:instance)", re.ASCII)


def check_values(config: Config, problems: Problems) -> None:
    """Notes every value that cannot work, whatever plugins there are."""
    _check_server(config.server, problems)
    if config.limits.loss_usd_per_day != UNLIMITED:
        _check_amount(("limits", "loss_usd_per_day"), config.limits.loss_usd_per_day, problems)
    _check_upstream(config.upstream, problems)
    _check_providers(config.providers, problems)
    for name, model in config.catalogue.items():
        _check_model(("catalogue", name), model, config, problems)
    for name, model in config.models.items():
        _check_model(("models", name), model, config, problems)
        known = config.catalogue.get(name)
        if not model.routes and not (known and known.routes):
            problems.add(("models", name), "has no routes: say which provider serves it, and under what name")
    for name, plan in config.plans.items():
        _check_plan(("plans", name), plan, config.models, problems)
    _check_enabled(config.plugins, problems)


def _check_server(server: ServerConfig, problems: Problems) -> None:
    if not _TOKEN.fullmatch(server.header_prefix):
        problems.add(("server", "header_prefix"), 'expected the beginning of a header\'s name, such as "X-Gateway-"')
    if server.public_url is not None and not is_http_url(server.public_url):
        problems.add(("server", "public_url"), 'expected an address such as "https://gateway.example.com"')
    for index, network in enumerate(server.trusted_proxies):
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            path = ("server", "trusted_proxies", item(index))
            problems.add(path, 'expected an address or a network such as "10.0.0.0/8"')


def _check_upstream(upstream: UpstreamConfig, problems: Problems) -> None:
    if upstream.http2 and upstream.client != "httpx2":
        message = 'needs client = "httpx2" beside it: the native client speaks HTTP/1.1 only'
        problems.add(("upstream", "http2"), message)
    proxy = upstream.proxy
    if proxy is None:
        return
    if not is_http_url(proxy) and not _ENV.fullmatch(proxy):
        # The value is not repeated: it may hold a password.
        message = 'expected an address such as "http://proxy.example.com:3128", or "env:NAME" where it has a password'
        problems.add(("upstream", "proxy"), message)
    if upstream.client != "httpx2":
        problems.add(("upstream", "proxy"), 'needs client = "httpx2" beside it: the native client asks no proxy')


def is_http_url(text: str) -> bool:
    """Whether it is an absolute http(s) address without user, query or fragment."""
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
            and not (parts.username or parts.password or parts.query or parts.fragment)
            and not re.search(r"[\s\x00-\x1f\x7f]", text)
        )
    except ValueError:
        return False


def _check_providers(providers: Mapping[str, Mapping[str, Any]], problems: Problems) -> None:
    for name, table in providers.items():
        plugin, key = table.get("plugin"), table.get("api_key")
        _check_timeouts(name, table, problems)
        if not isinstance(plugin, str):
            problems.add(("providers", name), 'the key "plugin" is missing: say which plugin serves it, in quotes')
        if key is not None and not (isinstance(key, str) and _API_KEY.fullmatch(key)):
            # The value is not repeated: it may be the secret itself.
            problems.add(
                ("providers", name, "api_key"),
                'a key does not stand in a configuration: write "env:NAME" for an environment variable, '
                '"file:PATH" for a file that holds it, or "bearer:instance" for this instance\'s own bearers',
            )
        if "audience" in table and key != OWN_BEARERS:
            problems.add(("providers", name, "audience"), f'only a provider with api_key = "{OWN_BEARERS}" has one')


def _check_timeouts(name: str, table: Mapping[str, Any], problems: Problems) -> None:
    for key in TIMEOUTS:
        value = table.get(key, 1)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 < value < math.inf:
            problems.add(("providers", name, key), "expected a number of seconds, more than 0")


def billed_upstream(config: Config, model: ModelConfig) -> bool:
    """Whether a model's calls are billed by the gateways that serve it, and so cost nothing here."""
    return any(_is_gateway(config, route.provider) for route in model.routes)


def _is_gateway(config: Config, provider: str) -> bool:
    return config.providers.get(provider, {}).get("api_key") == OWN_BEARERS


def _check_model(path: KeyPath, model: ModelConfig, config: Config, problems: Problems) -> None:
    for index, route in enumerate(model.routes):
        if route.provider not in config.providers:
            here = (*path, "routes", item(index), "provider")
            problems.unknown(here, config.providers, "provider", name=route.provider)
    if billed_upstream(config, model) and not all(_is_gateway(config, route.provider) for route in model.routes):
        message = f'either all of its providers have api_key = "{OWN_BEARERS}" or none: else it is unclear who bills'
        problems.add((*path, "routes"), message)
    if isinstance(model.price, PriceConfig):
        _check_price((*path, "price"), model.price, problems)
    elif isinstance(model.price, tuple):
        _check_dated_prices((*path, "price"), model.price, problems)


def _check_dated_prices(path: KeyPath, prices: tuple[PriceConfig, ...], problems: Problems) -> None:
    if not prices:
        problems.add(path, 'an empty list is no price: write "free" where that is meant')
    days = [price.valid_from for price in prices]
    for index, price in enumerate(prices):
        _check_price((*path, item(index)), price, problems)
        if price.valid_from in days[:index]:
            problems.add((*path, item(index)), "two prices are valid from the same day")


def _check_price(path: KeyPath, price: PriceConfig, problems: Problems) -> None:
    for name in ("input", "output", "cached_input", "cache_write"):
        text = getattr(price, name)
        if text is not None:
            _check_amount((*path, name), text, problems, per_token=True)
        if price.long is not None and (text := getattr(price.long, name)) is not None:
            _check_amount((*path, "long", name), text, problems, per_token=True)
    if price.valid_from is not None:
        try:
            date.fromisoformat(price.valid_from)
        except ValueError:
            problems.add((*path, "valid_from"), 'expected a day such as "2026-01-31"')


def _check_amount(path: KeyPath, text: str, problems: Problems, *, per_token: bool = False) -> None:
    try:
        if per_token:
            unit_price(text)
        else:
            parse_usd(text)
    except ValueError as error:
        problems.add(path, str(error))


def _check_plan(path: KeyPath, plan: PlanConfig, models: Mapping[str, ModelConfig], problems: Problems) -> None:
    for name in ("fee_usd", "credit_usd", "cap_usd", "instance_fee_usd"):
        text = getattr(plan, name)
        if text is not None:
            _check_amount((*path, name), text, problems)
    for model in plan.limits:
        if model not in models:
            problems.unknown((*path, "limits", model), models, "model")


def _check_enabled(plugins: Mapping[str, Any], problems: Problems) -> None:
    enabled = plugins.get("enabled", [])
    if not isinstance(enabled, list) or not all(isinstance(name, str) for name in enabled):
        problems.add(("plugins", "enabled"), "expected a list of plugins' names")
    elif len(set(enabled)) < len(enabled):
        problems.add(("plugins", "enabled"), "names a plugin twice")
    for name, table in plugins.items():
        if name != "enabled" and not isinstance(table, dict):
            problems.add(("plugins", name), "expected a table with the plugin's settings")


def check_names(config: Config, tiers: Collection[str], problems: Problems) -> None:
    """Notes tiers that are named and that no plugin provides."""
    if config.bearers.user_key not in tiers:
        message = f'no plugin that is on provides the tier "{config.bearers.user_key}"'
        problems.add(("bearers", "user_key"), message + nearest(config.bearers.user_key, tiers))
    for section, models in (("catalogue", config.catalogue), ("models", config.models)):
        for name, model in models.items():
            for tier in model.tiers or ():
                if tier not in tiers:
                    path = (section, name, "tiers")
                    problems.add(path, f'no plugin that is on provides the tier "{tier}"{nearest(tier, tiers)}')
