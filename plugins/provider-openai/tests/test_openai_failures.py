"""What the server's refusals and failures become."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from spl_provider_openai.provider import OpenAIProvider

from gateway_core.errors import (
    ContentRefused,
    ProviderFault,
    RouteRefused,
    Throttled,
    Unavailable,
)
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.provider_suite import ask, chat

Make = Callable[..., OpenAIProvider]


ERROR = {"message": "it is bad", "type": "invalid_request_error", "param": "temperature", "code": "bad_value"}


async def test_E1_E7_the_upstreams_own_refusal_of_content_comes_through(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle
) -> None:
    with pytest.raises(ContentRefused) as met:
        await ask(provider, chat(stop=["a", "b", "c", "d", "e"]))
    assert met.value.param == "stop"


@pytest.mark.parametrize(
    "error",
    [
        {"message": "API key not valid. Please pass a valid API key.", "code": 400, "status": "INVALID_ARGUMENT"},
        {"message": "x", "code": "invalid_api_key"},
        {"message": "No such organization: org-1", "param": None},
    ],
)
async def test_E1_a_400_about_our_key_is_not_the_clients(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, error: dict[str, Any]
) -> None:
    openai_upstream.script("m", status=400, body=json.dumps({"error": error}))
    with pytest.raises(RouteRefused):
        await ask(provider, chat())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"message": "flat"}', "flat"),
        ('{"detail": "of a framework"}', "of a framework"),
        ('{"detail": [{"loc": ["a"]}]}', "The provider refused the request."),
        ('{"detail": [{"loc": ["body", "messages", 0], "msg": "is bad"}, 5]}', "messages.0: is bad"),
        ('{"detail": [{"loc": ["body"], "msg": "is none"}, {"msg": "is late"}]}', "is none; is late"),
    ],
)
async def test_E7_a_refusals_words_are_found_wherever_they_stand(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, body: str, says: str
) -> None:
    openai_upstream.script("m", status=422, body=body)
    with pytest.raises(ContentRefused) as met:
        await ask(provider, chat())
    assert met.value.message == says


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ('{"error": {"message": "x", "code": 429}}', Throttled),
        ('{"choices": []}', Unavailable),
        ('{"choices": null}', Unavailable),
        ('{"choices": [{}]}', Unavailable),
        ('{"choices": [{"message": "hi"}]}', Unavailable),
    ],
)
async def test_E3_a_200_without_choices_is_a_fault(
    provider: OpenAIProvider,
    openai_upstream: UpstreamHandle,
    body: str,
    kind: type[ProviderFault],
    stream: bool,
) -> None:
    openai_upstream.script("m", body=body)
    with pytest.raises(kind):
        await ask(provider, chat(stream=stream))
