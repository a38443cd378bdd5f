"""Fault 10: the provider accepts and says nothing, or drips: each deadline ends the call and frees its hold."""

import socket
from collections.abc import Iterator

import pytest

from gateway_core.testing.http2_front import asked_by
from gateway_core.testing.line import Line, events, line
from gateway_core.testing.openai_fixture import UpstreamHandle

MODELS = """
[providers.elsewhere]
plugin = "provider-openai"
base_url = "http://127.0.0.1:{port}/v1"
connect_timeout = 0.3
"""
#: Each has the one deadline that it is to meet, and no other that a busy machine might miss.
HASTY = """
[models.{name}]
routes = [{{ provider = "{provider}", model = "priced" }}]
price = {{ input = "1.00", output = "10.00" }}
max_output_tokens = 1000
overhead_tokens = 0
tokenizer = "o200k_base"
{deadline}
"""


@pytest.fixture(scope="module")
def silent() -> Iterator[socket.socket]:
    """A listener whose queue is full: the kernel answers nobody any more."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener
        for one in waiting:
            one.close()


@pytest.fixture(scope="module", params=["native", "httpx2", "http2"])
def hasty(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    openai_upstream_process: UpstreamHandle,
    silent: socket.socket,
) -> Iterator[Line]:
    folder = tmp_path_factory.mktemp("hasty")
    more = MODELS.format(port=silent.getsockname()[1])
    for name, provider, deadline in (
        ("elsewhere", "elsewhere", ""),
        ("mute", "strict", "first_byte_timeout = 0.4"),
        ("gaps", "strict", "idle_timeout = 0.4"),
        ("drips", "strict", "total_timeout = 1.2"),
    ):
        more += HASTY.format(name=name, provider=provider, deadline=deadline)
    with (
        asked_by(request.param, folder, openai_upstream_process) as ((upstream,), how),
        line(folder / "home", upstream, more=more, **how) as made,
    ):
        yield made


@pytest.fixture
def capped(hasty: Line) -> str:
    """A key whose cap affords one call's worst case at a time: a hold that stayed would refuse the next."""
    hasty.upstream.reset()
    return hasty.mint(cap_usd="0.013")


def affords_another(hasty: Line, bearer: str) -> None:
    hasty.upstream.reset()
    assert hasty.call(bearer, max_tokens=1000).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("hang", ["before_head", "after_head"])
def test_10_a_provider_that_says_nothing_is_left_and_the_hold_given_back(
    hasty: Line, capped: str, hang: str, stream: bool
) -> None:
    hasty.upstream.script("priced", hang=hang)
    answer = hasty.call(capped, model="mute", stream=stream, max_tokens=1000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "provider_error")
    row = hasty.row(answer.headers["x-request-id"])
    assert (row["charge"], row["outcome"]) == (0, "failed")
    hasty.upstream.wait_for(lambda log: bool(log) and log[0]["state"] == "client_gone")
    affords_another(hasty, capped)


def test_10_a_provider_that_does_not_accept_is_left(hasty: Line, capped: str) -> None:
    answer = hasty.call(capped, model="elsewhere", max_tokens=1000)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "provider_error")
    assert hasty.row(answer.headers["x-request-id"])["charge"] == 0
    affords_another(hasty, capped)


def test_10_a_gap_between_events_ends_the_stream_with_an_error(hasty: Line, capped: str) -> None:
    hasty.upstream.script("priced", words=50, gap_ms=60_000)
    answer = hasty.call(capped, model="gaps", stream=True, max_tokens=1000)
    assert events(answer.text)[-1]["error"]["code"] == "provider_error"
    assert hasty.row(answer.headers["x-request-id"])["stream_state"] == "provider_error"
    hasty.upstream.wait_for(lambda log: bool(log) and log[0]["state"] == "client_gone")
    affords_another(hasty, capped)


@pytest.mark.parametrize("stream", [False, True])
def test_10_a_provider_that_drips_is_ended_by_the_total(hasty: Line, capped: str, stream: bool) -> None:
    hasty.upstream.script("priced", words=500, split=1, gap_ms=30)
    answer = hasty.call(capped, model="drips", stream=stream, max_tokens=1000)
    error = events(answer.text)[-1] if stream and answer.status_code == 200 else answer.json()
    assert error["error"]["code"] == "provider_error"
    row = hasty.row(answer.headers["x-request-id"])
    assert row["charge"] <= row["hold_amount"]
    hasty.upstream.wait_for(lambda log: bool(log) and log[0]["state"] == "client_gone")
