"""`[catalogue]` and `[models]` → the facts of what this gateway serves."""

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway_core.config import TIMEOUTS, Config, ModelConfig
from gateway_core.config_checks import billed_upstream
from gateway_core.errors import ConfigError
from gateway_core.ports import Provider
from gateway_core.tokens import VOCABULARIES
from gateway_core.types import OUTPUT_TOKENS, Deadlines, ModelFacts, Route

log = logging.getLogger(__name__)

_FACTS = (
    "context_tokens",
    "max_output_tokens",
    "output_reservation",
    "media_tokens",
    "overhead_tokens",
    "tokenizer",
    "family",
    "created",
)


def merged(config: Config, name: str) -> ModelConfig:
    """What is configured of a model that is served: its own, then the catalogue's."""
    model, known = config.models[name], config.catalogue.get(name)
    if known is None:
        return model
    values = {
        field: getattr(known, field)
        for field in ModelConfig.__struct_fields__
        if getattr(model, field) is None or (field == "routes" and not model.routes)
    }
    return msgspec.structs.replace(model, **values)


def resolve_models(config: Config, live: Mapping[str, Provider]) -> dict[str, ModelFacts]:
    """Facts of every model that has a route to a provider that is on, in the order of the configuration.

    Those that have none are not served, and a line says so.
    """
    models: dict[str, ModelFacts] = {}
    off: dict[str, list[str]] = {}
    for name in config.models:
        model = merged(config, name)
        most = OUTPUT_TOKENS if model.max_output_tokens is None else model.max_output_tokens
        routes = tuple(
            Route(route.provider, route.model, deadlines(config, route.provider, model), most)
            for route in model.routes
            if route.provider in live
        )
        if routes:
            facts = _facts(name, model, routes, live)
            models[name] = msgspec.structs.replace(facts, billed_upstream=billed_upstream(config, model))
        else:
            off.setdefault(", ".join(dict.fromkeys(route.provider for route in model.routes)), []).append(name)
    for providers, names in off.items():
        log.info("not served, because %s is off: %s", providers, ", ".join(names))
    return models


def deadlines(config: Config, provider: str, model: ModelConfig) -> Deadlines:
    """What a model's calls at a provider may take: the model's own, the provider's, those of `[upstream]`."""
    table = config.providers[provider]

    def seconds(name: str) -> float:
        own: float | None = getattr(model, name)
        return float(table.get(name, getattr(config.upstream, name)) if own is None else own)

    return Deadlines(*map(seconds, TIMEOUTS))


def _published(vocabulary: str | None, model: str, provider: str) -> str | None:
    """Raises ConfigError for a vocabulary that a provider's plugin names and that is not shipped."""
    if vocabulary is None or vocabulary in VOCABULARIES:
        return vocabulary
    raise ConfigError(
        f'its plugin counts {model} by the vocabulary "{vocabulary}"; shipped are {", ".join(sorted(VOCABULARIES))}: '
        f'name one as "tokenizer" of [models."{model}"], or correct the plugin',
        where=f"[providers.{provider}]",
    )


def _facts(name: str, model: ModelConfig, routes: tuple[Route, ...], live: Mapping[str, Provider]) -> ModelFacts:
    known: dict[str, Any] = {field: getattr(model, field) for field in _FACTS}
    if known["tokenizer"] is None:
        known["tokenizer"] = _published(live[routes[0].provider].tokenizer(routes[0].model), name, routes[0].provider)
    given = {field: value for field, value in known.items() if value is not None}
    if model.tiers is not None:
        given["tiers"] = frozenset(model.tiers)
    if model.features is not None:
        given["features"] = frozenset(model.features)
    return ModelFacts(id=name, routes=routes, **given)
