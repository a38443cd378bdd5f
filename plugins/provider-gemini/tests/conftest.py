"""The provider under test, on the strict upstream, over both clients."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from spl_provider_gemini import Plugin
from spl_provider_gemini.given import Given
from spl_provider_gemini.provider import GeminiProvider
from spl_provider_gemini.request import encode_request
from spl_provider_gemini.rules import rules_of

from gateway_core.config import UpstreamConfig
from gateway_core.ports import Upstream
from gateway_core.testing.gemini_fixture import GeminiHandle
from gateway_core.testing.gemini_rules import check
from gateway_core.testing.provider_parts import PlainMemory, TableMedia, parts
from gateway_core.testing.provider_suite import chat
from gateway_core.upstream.httpx_upstream import HttpxUpstream
from gateway_core.upstream.native import NativeUpstream

Make = Callable[..., GeminiProvider]


@pytest.fixture(params=[NativeUpstream, HttpxUpstream], ids=["native", "httpx2"])
async def upstream(request: pytest.FixtureRequest) -> AsyncIterator[Upstream]:
    upstream: Upstream = request.param(UpstreamConfig())
    yield upstream
    await upstream.close()


@pytest.fixture
def memory() -> PlainMemory:
    return PlainMemory()


@pytest.fixture
def media() -> TableMedia:
    return TableMedia()


@pytest.fixture
def make(gemini_upstream: GeminiHandle, upstream: Upstream, memory: PlainMemory, media: TableMedia) -> Make:
    """make(**settings) → a provider for the strict upstream."""
    (kind,) = Plugin().register_providers()

    def make(api_key: str | None = gemini_upstream.key, **settings: Any) -> GeminiProvider:
        built: GeminiProvider = kind.build(
            kind.settings(**{"base_url": gemini_upstream.base_url, **settings}),
            parts("mine", api_key, upstream=upstream, memory=memory, media=media),
        )
        return built

    return make


@pytest.fixture
def provider(make: Make) -> GeminiProvider:
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
