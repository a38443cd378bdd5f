"""The whole gateway on a real socket, in front of the strict OpenAI-wire upstream."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from gateway_core.testing.anthropic_fixture import AnthropicHandle
from gateway_core.testing.gemini_fixture import GeminiHandle
from gateway_core.testing.line import events
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE, ServedGateway, serving

CONFIG = """
[server]
grace_seconds = 1

[upstream]
retries = 0
breaker_failures = 0

[providers.itself]
plugin = "provider-openai"
base_url = "{base_url}"
api_key = "env:STRICT_KEY"

[providers.older]
plugin = "provider-openai"
base_url = "{base_url}"
api_key = "env:STRICT_KEY"
limit_field = "max_tokens"
developer_role = "system"
stream_usage = false
omit = ["store"]
"""
MODEL = """
[models."{name}"]
routes = [{{ provider = "{provider}", model = "{name}" }}]
price = "free"
context_tokens = 4000000
"""
MODELS = {"gpt-4o": "itself", "o3": "itself", "gpt-5-mini": "itself", "compat": "itself", "old": "older"}
HELLO = [{"role": "user", "content": "Hello"}]


class Front:
    """A client of the gateway with its first key, and the upstream behind it."""

    def __init__(self, gateway: ServedGateway, upstream: UpstreamHandle, http: httpx2.Client) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.http = http

    def ask(self, model: str = "gpt-4o", **fields: Any) -> httpx2.Response:
        """One call."""
        body = {"model": model, "messages": HELLO, **fields}
        return self.http.post("/v1/chat/completions", json=body)

    def answer(self, model: str = "gpt-4o", **fields: Any) -> dict[str, Any]:
        """One call that goes well: its answer."""
        response = self.ask(model, **fields)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def events(self, model: str = "gpt-4o", **fields: Any) -> list[Any]:
        """One stream: its events, whatever they are."""
        response = self.ask(model, stream=True, **fields)
        assert response.status_code == 200, response.text
        return events(response.text)

    def chunks(self, model: str = "gpt-4o", **fields: Any) -> list[dict[str, Any]]:
        """One stream that goes well: its chunks, without [DONE]."""
        *chunks, done = self.events(model, **fields)
        assert done == "[DONE]"
        return chunks

    def sent(self, model: str = "gpt-4o", **fields: Any) -> dict[str, Any]:
        """One call that goes well: what the upstream got, without what is in every request."""
        self.answer(model, **fields)
        body: dict[str, Any] = self.upstream.log()[-1]["body"]
        assert body.pop("model") == model
        if "messages" not in fields:
            assert body.pop("messages") == HELLO
        return body

    def says(self, *events: Any, model: str = "gpt-4o", **script: Any) -> None:
        """What the upstream streams from now on."""
        data = tuple(one if isinstance(one, str) else json.dumps(one) for one in events)
        self.upstream.script(model, events=data, **script)


@pytest.fixture(scope="session")
def served_fidelity(
    openai_upstream_process: UpstreamHandle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedGateway]:
    """The gateway, one for all."""
    config = CONFIG.format(base_url=openai_upstream_process.base_url)
    config += "".join(MODEL.format(name=name, provider=provider) for name, provider in MODELS.items())
    home = tmp_path_factory.mktemp("fidelity") / "home"
    with serving(home, config=config, env={"STRICT_KEY": openai_upstream_process.key}) as gateway:
        yield gateway


@pytest.fixture
def front(served_fidelity: ServedGateway, openai_upstream: UpstreamHandle) -> Iterator[Front]:
    """The gateway, with scripts and log of its upstream empty."""
    headers = {"Authorization": f"Bearer {served_fidelity.key}"}
    with httpx2.Client(base_url=served_fidelity.url, headers=headers, timeout=PATIENCE) as http:
        yield Front(served_fidelity, openai_upstream, http)


ALL = """
[server]
grace_seconds = 1

[upstream]
retries = 0
breaker_failures = 0

[providers.openai]
plugin = "provider-openai"
base_url = "{openai}"
api_key = "env:OPENAI_KEY"

[providers.anthropic]
plugin = "provider-anthropic"
base_url = "{anthropic}"
api_key = "env:ANTHROPIC_KEY"

[providers.gemini]
plugin = "provider-gemini"
base_url = "{gemini}"
api_key = "env:GEMINI_KEY"
"""
ONE_OF_EACH = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}


class Behind(Front):
    """The gateway with one of the providers behind it: the model that is asked, and its upstream."""

    def __init__(self, gateway: ServedGateway, upstream: Any, http: httpx2.Client, provider: str) -> None:
        super().__init__(gateway, upstream, http)
        self.provider = provider
        self.model = ONE_OF_EACH[provider]

    def ask(self, model: str | None = None, **fields: Any) -> httpx2.Response:
        """One call of the provider's model."""
        return super().ask(model or self.model, **fields)

    def answer(self, model: str | None = None, **fields: Any) -> dict[str, Any]:
        """One call that goes well: its answer."""
        return super().answer(model or self.model, **fields)

    def events(self, model: str | None = None, **fields: Any) -> list[Any]:
        """One stream: its events, whatever they are."""
        return super().events(model or self.model, **fields)

    def chunks(self, model: str | None = None, **fields: Any) -> list[dict[str, Any]]:
        """One stream that goes well: its chunks, without [DONE]."""
        return super().chunks(model or self.model, **fields)

    def script(self, **script: Any) -> None:
        """How its upstream answers from now on, in words that all of them know."""
        self.upstream.script(self.model, **script)

    def calls(self, *calls: tuple[str, dict[str, Any]], **script: Any) -> None:
        """Its upstream makes these calls."""
        forms = {
            "openai": [{"name": name, "arguments": json.dumps(arguments)} for name, arguments in calls],
            "anthropic": [{"name": name, "input": arguments} for name, arguments in calls],
            "gemini": [[{"name": name, "args": arguments} for name, arguments in calls]],
        }
        self.script(calls=forms[self.provider], **script)

    def log(self) -> list[dict[str, Any]]:
        """What its upstream was asked."""
        log: list[dict[str, Any]] = self.upstream.log()
        return log


@pytest.fixture(scope="session")
def served_all(
    openai_upstream_process: UpstreamHandle,
    anthropic_upstream_process: AnthropicHandle,
    gemini_upstream_process: GeminiHandle,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ServedGateway]:
    """One gateway in front of all three."""
    upstreams: dict[str, Any] = {
        "openai": openai_upstream_process,
        "anthropic": anthropic_upstream_process,
        "gemini": gemini_upstream_process,
    }
    config = ALL.format(**{name: upstream.base_url for name, upstream in upstreams.items()})
    config += "".join(MODEL.format(name=model, provider=provider) for provider, model in ONE_OF_EACH.items())
    env = {f"{name.upper()}_KEY": upstream.key for name, upstream in upstreams.items()}
    with serving(tmp_path_factory.mktemp("all") / "home", config=config, env=env) as gateway:
        yield gateway


@pytest.fixture(params=list(ONE_OF_EACH))
def behind(
    request: pytest.FixtureRequest,
    served_all: ServedGateway,
    openai_upstream: UpstreamHandle,
    anthropic_upstream: AnthropicHandle,
    gemini_upstream: GeminiHandle,
) -> Iterator[Behind]:
    """The gateway with each provider in turn, its upstream's scripts and log empty."""
    upstreams = {"openai": openai_upstream, "anthropic": anthropic_upstream, "gemini": gemini_upstream}
    headers = {"Authorization": f"Bearer {served_all.key}"}
    with httpx2.Client(base_url=served_all.url, headers=headers, timeout=PATIENCE) as http:
        yield Behind(served_all, upstreams[request.param], http, request.param)
