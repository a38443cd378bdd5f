"""What the server's refusals and failures become."""

import json
from collections.abc import Callable
from email.utils import formatdate
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
from gateway_core.types import Deadlines, Route

Make = Callable[..., OpenAIProvider]


ERROR = {"message": "it is bad", "type": "invalid_request_error", "param": "temperature", "code": "bad_value"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ContentRefused),
        (413, ContentRefused),
        (422, ContentRefused),
        (401, RouteRefused),
        (402, RouteRefused),
        (403, RouteRefused),
        (404, RouteRefused),
        (429, Throttled),
        (302, Unavailable),
        (408, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (529, Unavailable),
        (201, Unavailable),
    ],
)
async def test_each_status_is_its_fault(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, status: int, kind: type[ProviderFault], stream: bool
) -> None:
    openai_upstream.script("m", status=status, body=json.dumps({"error": ERROR}), headers={"retry-after": "7"})
    with pytest.raises(kind) as met:
        await ask(provider, chat(stream=stream))
    if isinstance(met.value, ContentRefused):
        expected = ("it is bad", 413 if status == 413 else 400, "temperature")
        assert (met.value.message, met.value.status, met.value.param) == expected
    else:
        assert "it is bad" not in met.value.detail
        assert str(status) in met.value.detail
    if status in (429, 503):
        assert met.value.retry_after == 7.0


async def test_the_upstreams_own_refusal_of_content_comes_through(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle
) -> None:
    with pytest.raises(ContentRefused) as met:
        await ask(provider, chat(stop=["a", "b", "c", "d", "e"]))
    assert met.value.param == "stop"


async def test_a_date_in_retry_after(provider: OpenAIProvider, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script("m", status=429, body="{}", headers={"retry-after": formatdate(4e9, usegmt=True)})
    with pytest.raises(Throttled) as met:
        await ask(provider, chat())
    assert met.value.retry_after == 86_400


@pytest.mark.parametrize(
    "error",
    [
        {"message": "API key not valid. Please pass a valid API key.", "code": 400, "status": "INVALID_ARGUMENT"},
        {"message": "x", "code": "invalid_api_key"},
        {"message": "No such organization: org-1", "param": None},
    ],
)
async def test_a_400_about_our_key_is_not_the_clients(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, error: dict[str, Any]
) -> None:
    openai_upstream.script("m", status=400, body=json.dumps({"error": error}))
    with pytest.raises(RouteRefused):
        await ask(provider, chat())


async def test_a_wrong_key_is_the_routes_fault(make: Make) -> None:
    with pytest.raises(RouteRefused) as met:
        await ask(make(api_key="sk-wrong"), chat())
    assert "sk-wrong" not in str(met.value)
    with pytest.raises(RouteRefused):
        await ask(make(api_key=None), chat())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"error": "plain words"}', "plain words"),
        ('{"message": "flat"}', "flat"),
        ('{"detail": "of a framework"}', "of a framework"),
        ('{"detail": [{"loc": ["a"]}]}', "The provider refused the request."),
        ("<html>nginx</html>", "The provider refused the request."),
        ("[" * 5000, "The provider refused the request."),
        ("", "The provider refused the request."),
        ('{"error": {"message": "see http://10.0.0.1:8000/v1/x for\\r\\nmore"}}', "see … for more"),
        ('{"error": {"message": "your key sk-upstream-test is"}}', "your key … is"),
    ],
)
async def test_a_refusals_words_reach_the_client_without_what_is_ours(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, body: str, says: str
) -> None:
    openai_upstream.script("m", status=422, body=body)
    with pytest.raises(ContentRefused) as met:
        await ask(provider, chat())
    assert met.value.message == says


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "content_type", "kind"),
    [
        ("<html>hello</html>", "text/html", Unavailable),
        ("<html>hello</html>", "application/json", Unavailable),
        ('{"error": {"message": "x", "code": 500}}', "application/json", Unavailable),
        ('{"error": {"message": "x", "code": 429}}', "application/json", Throttled),
        ('{"error": "x"}', "application/json", Unavailable),
        ("{}", "application/json", Unavailable),
        ('{"choices": []}', "application/json", Unavailable),
        ('{"choices": null}', "application/json", Unavailable),
        ('{"choices": [{}]}', "application/json", Unavailable),
        ('{"choices": [{"message": "hi"}]}', "application/json", Unavailable),
        ("", "application/json", Unavailable),
        ("[" * 5000, "application/json", Unavailable),
    ],
)
async def test_a_200_that_is_no_answer_is_a_fault(
    provider: OpenAIProvider,
    openai_upstream: UpstreamHandle,
    body: str,
    content_type: str,
    kind: type[ProviderFault],
    stream: bool,
) -> None:
    openai_upstream.script("m", body=body, content_type=content_type)
    with pytest.raises(kind):
        await ask(provider, chat(stream=stream))


@pytest.mark.parametrize("hang", ["before_head", "after_head"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_provider_that_never_answers(
    provider: OpenAIProvider, openai_upstream: UpstreamHandle, hang: str, stream: bool
) -> None:
    openai_upstream.script("m", hang=hang)
    with pytest.raises(Unavailable, match="no first byte within"):
        await ask(provider, chat(stream=stream), Route("mine", "m", Deadlines(first_byte=0.1)))
