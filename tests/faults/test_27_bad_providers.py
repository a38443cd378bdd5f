"""Fault 27, a provider's plugin that fails with what is no fault of a provider's: its call is settled all the same."""

from collections.abc import Iterator

import pytest

from gateway_core.testing.installed import install
from gateway_core.testing.line import Line, events, line
from gateway_core.testing.openai_fixture import UpstreamHandle

PLUGIN = """
import msgspec
from gateway_core.hookspecs import API, hookimpl
from gateway_core.ports import ProviderKind
from spl_provider_demo.provider import DemoProvider, DemoSettings

class Broken(DemoProvider):
    async def complete(self, request, route, output_limit):
        if request.choices == 1:
            raise KeyError("can" + "ary")
        answer = await super().complete(request, route, output_limit)
        return msgspec.structs.replace(answer, usage=None, texts=(42,))

    async def stream(self, request, route, output_limit):
        return broken(await super().stream(request, route, output_limit))

async def broken(chunks):
    number = 0
    async for batch in chunks:
        yield batch
        number += 1
        if number == 3:
            raise KeyError("can" + "ary")

class Plugin:
    API = API

    def __init__(self, settings=None):
        pass

    @hookimpl
    def register_providers(self):
        build = lambda settings, parts: Broken(parts.name, settings)
        return [ProviderKind(name="a-broken-one", settings=DemoSettings, build=build, needs_key=False)]
"""
MORE = """
[providers.broken]
plugin = "a-broken-one"

[models.broken]
routes = [{ provider = "broken", model = "demo" }]
price = { input = "1.00", output = "10.00" }
max_output_tokens = 1000
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, openai_upstream_process: UpstreamHandle) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("broken-provider")
    env = install(folder / "site", "spl-a-broken-one", "a-broken-one = a_broken_one:Plugin", PLUGIN)
    with line(folder / "home", openai_upstream_process, more=MORE, env=env) as made:
        yield made


@pytest.mark.parametrize("choices", [1, 2], ids=["raises", "answers nonsense"])
def test_27_a_plain_call_that_it_fails_costs_nothing(served: Line, choices: int) -> None:
    answer = served.call(model="broken", n=choices)
    assert answer.status_code == 503
    row = served.row(answer.headers["x-request-id"])
    assert (row["outcome"], row["charge"]) == ("failed", 0)


def test_27_a_stream_that_it_breaks_in_the_middle_is_charged_for_what_was_delivered(served: Line) -> None:
    answer = served.call(model="broken", stream=True)
    assert events(answer.text)[-1]["error"]["code"] == "provider_error"
    row = served.row(answer.headers["x-request-id"])
    assert (row["outcome"], row["stream_state"], row["error_code"]) == ("cut", "provider_error", "provider_error")
    assert row["charge"] > 0
    assert served.reconciles()
    log = served.gateway.log.read_text()
    assert "the stream failed: KeyError" in log
    assert "canary" not in log
