"""The real OpenAI SDK when the provider behind the gateway fails: what it raises, what it retries, what that costs."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest
from openai import OpenAI

from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import ServedGateway, serving

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
CONFIG = """
[upstream]
retries = 0
breaker_failures = 0

[providers.strict]
plugin = "provider-openai"
base_url = "{base_url}"
api_key = "env:STRICT_KEY"

[models.priced]
routes = [{{ provider = "strict", model = "there" }}]
price = {{ input = "1.00", cached_input = "0.50", output = "10.00" }}
"""


@pytest.fixture(scope="module")
def served(
    openai_upstream_process: UpstreamHandle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedGateway]:
    """The gateway in front of the strict upstream, with no retries of its own."""
    config = CONFIG.format(base_url=openai_upstream_process.base_url)
    home = tmp_path_factory.mktemp("faults") / "home"
    with serving(home, config=config, env={"STRICT_KEY": openai_upstream_process.key}) as gateway:
        yield gateway


@pytest.fixture
def client(served: ServedGateway, openai_upstream: UpstreamHandle) -> Iterator[OpenAI]:
    with OpenAI(base_url=served.base_url, api_key=served.key, max_retries=2) as made:
        yield made


def test_the_cost_is_what_the_usage_makes_it(client: OpenAI, openai_upstream: UpstreamHandle) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}
    openai_upstream.script("there", usage={**usage, "prompt_tokens_details": {"cached_tokens": 400}})
    raw = client.chat.completions.with_raw_response.create(model="priced", messages=HELLO)
    # 600 × $1 + 400 × $0.50 + 10 × $10, each for a million tokens, in cents
    assert Decimal(raw.headers["x-syncropic-cost-cents"]) == Decimal("0.09")
    answer = raw.parse()
    assert answer.usage is not None
    assert getattr(answer.usage, "cost_cents", None) == "0.09"


def test_the_sdk_retries_what_the_provider_failed(client: OpenAI, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script("there", status=500, times=2)
    openai_upstream.script("there", words=3)
    answer = client.chat.completions.create(model="priced", messages=HELLO)
    assert answer.choices[0].message.content
    assert len(openai_upstream.log()) == 3


def test_a_provider_that_keeps_failing(client: OpenAI, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script("there", status=500)
    with pytest.raises(openai.InternalServerError) as caught:
        client.with_options(max_retries=0).chat.completions.create(model="priced", messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (503, "provider_error")


def test_a_refused_key_of_ours_tells_nothing(client: OpenAI, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script("there", status=401)
    with pytest.raises(openai.InternalServerError) as caught:
        client.with_options(max_retries=0).chat.completions.create(model="priced", messages=HELLO)
    shown = f"{caught.value} {dict(caught.value.response.headers)}"
    assert openai_upstream.key not in shown
    assert str(openai_upstream.port) not in shown


def test_a_throttling_provider(client: OpenAI, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script("there", status=429, headers={"retry-after": "7"})
    with pytest.raises(openai.RateLimitError) as caught:
        client.with_options(max_retries=0).chat.completions.create(model="priced", messages=HELLO)
    assert caught.value.code == "provider_rate_limited"
    assert caught.value.response.headers["retry-after"] == "7"


def test_content_that_the_provider_refuses_is_not_retried(client: OpenAI, openai_upstream: UpstreamHandle) -> None:
    refusal = '{"error": {"message": "Too long for me", "type": "invalid_request_error", "param": "messages"}}'
    openai_upstream.script("there", status=400, body=refusal)
    with pytest.raises(openai.BadRequestError, match="Too long for me") as caught:
        client.chat.completions.create(model="priced", messages=HELLO)
    assert caught.value.param == "messages"
    assert len(openai_upstream.log()) == 1


def test_a_stream_that_breaks_off(client: OpenAI, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script("there", words=50, reset_at=4000)
    pieces = []
    with pytest.raises(openai.APIError) as caught:  # noqa: PT012  # what came before the break counts too
        for chunk in client.chat.completions.create(model="priced", messages=HELLO, stream=True):
            pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
    assert pieces
    assert caught.value.code == "provider_error"


def test_a_stream_that_never_began_has_its_status(client: OpenAI, openai_upstream: UpstreamHandle) -> None:
    openai_upstream.script("there", status=500)
    with pytest.raises(openai.InternalServerError):
        client.with_options(max_retries=0).chat.completions.create(model="priced", messages=HELLO, stream=True)
