"""The provider under test, on the strict upstream, over both clients."""

from collections.abc import Callable
from typing import Any

import pytest
from spl_provider_gemini import Plugin
from spl_provider_gemini.given import Given
from spl_provider_gemini.request import encode_request
from spl_provider_gemini.rules import rules_of

from gateway_core.ports import Provider, Upstream
from gateway_core.testing.gemini_fixture import GeminiHandle
from gateway_core.testing.gemini_rules import check
from gateway_core.testing.provider_fixtures import Make, maker, media, memory, upstream
from gateway_core.testing.provider_parts import PlainMemory, TableMedia
from gateway_core.testing.provider_suite import chat

__all__ = ["media", "memory", "upstream"]


@pytest.fixture
def make(gemini_upstream: GeminiHandle, upstream: Upstream, memory: PlainMemory, media: TableMedia) -> Make:
    return maker(Plugin, gemini_upstream, upstream, memory, media)


@pytest.fixture
def provider(make: Make) -> Provider:
    return make()


Sent = Callable[..., dict[str, Any]]


@pytest.fixture
def sent() -> Sent:
    """sent(**fields) → the body that reaches the API, which the strict rules have taken.

    `to`: the model; `limit`: the gateway's own; `given`: what was fetched and remembered; `overrides`: of its rules.
    """

    def sent(
        to: str = "gemini-2.5-flash",
        limit: int | None = None,
        given: dict[str, Any] | None = None,
        overrides: dict[str, Any] | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        known = given or {}
        rules = rules_of(to, {"*": overrides or {}})
        raw, _ = encode_request(chat(**fields), Given(model="asked-for", rules=rules, **known), limit)
        return check(raw, to, {*known.get("signatures", {}).values(), "Y2xpZW50"})

    return sent
