"""Settings that cannot work, and what follows from those that can."""

from collections.abc import Callable

import pytest
from spl_provider_openai.provider import OpenAIProvider

from gateway_core.errors import (
    ConfigError,
)

Make = Callable[..., OpenAIProvider]


def test_K1_an_organization_that_no_header_can_carry_is_refused_by_name(make: Make) -> None:
    with pytest.raises(ConfigError, match="openai-organization") as refused:
        make(organization="secret\n")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("model", "vocabulary"),
    [
        ("gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("gpt-4.1-nano", "o200k_base"),
        ("gpt-5", "o200k_base"),
        ("o1", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("o4-mini", "o200k_base"),
        ("openai/gpt-4o", "o200k_base"),
        ("ft:gpt-4o:acme::1", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("llama-3", None),
    ],
)
def test_the_vocabulary_of_a_model(make: Make, model: str, vocabulary: str | None) -> None:
    assert make().tokenizer(model) == vocabulary
    assert make(tokenizer="cl100k_base").tokenizer(model) == "cl100k_base"
