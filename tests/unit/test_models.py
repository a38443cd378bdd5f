"""Catalogue and configuration → the facts of what is served."""

import logging
from typing import Any, cast

import msgspec
import pytest

from gateway_core.config import Config
from gateway_core.config_file import from_tables
from gateway_core.errors import ConfigError
from gateway_core.models import deadlines, merged, resolve_models
from gateway_core.types import OUTPUT_TOKENS, Deadlines, ModelFacts, Route


class Live:
    """A provider that is on."""

    def __init__(self, vocabulary: str | None = None) -> None:
        self.vocabulary = vocabulary

    def tokenizer(self, model: str) -> str | None:
        return self.vocabulary


def config(models: dict[str, Any], catalogue: dict[str, Any] | None = None) -> Config:
    providers = {name: {"plugin": "x"} for name in ("one", "two")}
    return from_tables({"providers": providers, "models": models, "catalogue": catalogue or {}}).config


def routes(*providers: str) -> list[dict[str, str]]:
    return [{"provider": name, "model": f"m-{name}"} for name in providers]


def resolve(made: Config, **live: Live) -> dict[str, ModelFacts]:
    return resolve_models(made, cast("Any", live))


def test_what_a_model_says_wins_over_the_catalogue_and_that_over_defaults() -> None:
    known = {"context_tokens": 5000, "max_output_tokens": 600, "family": "f", "features": ["stream", "tools"]}
    made = config({"m": {"routes": routes("one"), "max_output_tokens": 70, "tiers": ["paid"]}}, {"m": known})
    facts = resolve(made, one=Live())["m"]
    assert (facts.context_tokens, facts.max_output_tokens, facts.output_reservation) == (5000, 70, 4096)
    assert (facts.family, facts.features, facts.tiers) == ("f", frozenset({"stream", "tools"}), frozenset({"paid"}))
    assert facts.routes == (Route("one", "m-one", max_output_tokens=70),)


def test_an_empty_list_said_on_purpose_stays() -> None:
    made = config({"m": {"routes": routes("one"), "features": [], "tiers": []}}, {"m": {"features": ["tools"]}})
    facts = resolve(made, one=Live())["m"]
    assert (facts.features, facts.tiers) == (frozenset(), frozenset())


def test_routes_may_come_from_the_catalogue() -> None:
    made = config({"m": {}}, {"m": {"routes": routes("one")}})
    assert resolve(made, one=Live())["m"].routes == (Route("one", "m-one", max_output_tokens=OUTPUT_TOKENS),)


def test_only_routes_whose_provider_is_on_are_kept_in_order() -> None:
    made = config({"m": {"routes": routes("two", "one")}})
    assert resolve(made, one=Live(), two=Live())["m"].routes == (
        Route("two", "m-two", max_output_tokens=OUTPUT_TOKENS),
        Route("one", "m-one", max_output_tokens=OUTPUT_TOKENS),
    )
    assert resolve(made, one=Live())["m"].routes == (Route("one", "m-one", max_output_tokens=OUTPUT_TOKENS),)


def test_a_model_without_a_live_route_is_not_served_and_a_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = config({"m": {"routes": routes("one", "two")}, "n": {"routes": routes("two")}})
    assert list(resolve(made, one=Live())) == ["m"]
    assert "not served, because two is off: n" in caplog.text


def test_the_vocabulary_is_the_configured_one_or_the_provider_s() -> None:
    made = config({"m": {"routes": routes("one")}, "n": {"routes": routes("one"), "tokenizer": "cl100k_base"}})
    facts = resolve(made, one=Live("o200k_base"))
    assert (facts["m"].tokenizer, facts["n"].tokenizer) == ("o200k_base", "cl100k_base")


def test_a_model_that_the_catalogue_does_not_know_is_itself() -> None:
    made = config({"m": {"routes": routes("one")}})
    assert merged(made, "m") is made.models["m"]


def test_a_models_deadlines_win_over_its_providers_and_those_over_the_upstreams() -> None:
    config = msgspec.convert(
        {
            "upstream": {"connect_timeout": 1, "first_byte_timeout": 2, "idle_timeout": 3, "total_timeout": 4},
            "providers": {"p": {"plugin": "x", "first_byte_timeout": 20, "idle_timeout": 30, "total_timeout": 40}},
            "catalogue": {"m": {"idle_timeout": 300, "total_timeout": 400}},
            "models": {"m": {"routes": [{"provider": "p", "model": "n"}], "total_timeout": 4000}},
        },
        Config,
    )
    assert deadlines(config, "p", merged(config, "m")) == Deadlines(connect=1, first_byte=20, idle=300, total=4000)


def test_a_vocabulary_that_nobody_ships_is_refused_at_the_start() -> None:
    made = config({"m": {"routes": routes("one")}, "n": {"routes": routes("one"), "tokenizer": "cl100k_base"}})
    with pytest.raises(
        ConfigError, match=r'^\[providers.one\]: .* counts m by the vocabulary "p50k_base"; shipped are'
    ):
        resolve(made, one=Live("p50k_base"))
    assert resolve(made, one=Live("o200k_base"))["m"].tokenizer == "o200k_base"
