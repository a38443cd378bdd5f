"""A full minute and the OpenAI SDK: its own retries, and the published retry loop, succeed once it has passed.

Nobody waits for a minute: between two runs of the gateway the saved windows are aged, as if most of it had passed.
"""

import json
import math
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletion

from gateway_core.config_file import shipped_folder
from gateway_core.testing.server import ServedGateway, serving

PROFILE = ["--config", str(shipped_folder() / "synaptiq.toml")]
QUESTION: list[Any] = [{"role": "user", "content": "Explain quantum entanglement"}]
RPM = 60
STARTS = 4
"""What is left of the minute after ageing: a few times as long as a start takes on this machine."""


def age(home: Path, seconds: float) -> None:
    """Makes the saved windows that much older, by both clocks."""
    with closing(sqlite3.connect(home / "store.sqlite3")) as store, store:
        (saved,) = store.execute("SELECT value FROM state WHERE name = 'limits.memory'").fetchone()
        head, _, windows = saved.partition(b"\n")
        fields = json.loads(head)
        fields["wall_ms"] -= int(seconds * 1000)
        fields["monotonic_us"] -= int(seconds * 1_000_000)
        aged = json.dumps(fields).encode() + b"\n" + windows
        store.execute("UPDATE state SET value = ? WHERE name = 'limits.memory'", (aged,))


@pytest.fixture
def full_minute(tmp_path: Path) -> Iterator[tuple[ServedGateway, int]]:
    """A gateway whose team has used all of its minute, nearly a minute ago; seconds that are at most left of it."""
    home = tmp_path / "home"
    started = time.monotonic()
    with serving(home, arguments=PROFILE) as gateway:
        left = 1 + STARTS * (time.monotonic() - started)
        with OpenAI(base_url=gateway.base_url, api_key=gateway.key, max_retries=0) as client:
            began = time.monotonic()
            for _ in range(RPM):
                client.chat.completions.create(model="synaptiq-2", messages=QUESTION, max_tokens=50)
        assert gateway.stop() == 0
    age(home, 60 - left - (time.monotonic() - began))
    with serving(home, arguments=PROFILE) as gateway:
        yield gateway, math.ceil(left)


def test_the_sdks_own_retries_wait_as_long_as_they_are_told(full_minute: tuple[ServedGateway, int]) -> None:
    gateway, left = full_minute
    with OpenAI(base_url=gateway.base_url, api_key=gateway.key) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            client.with_options(max_retries=0).chat.completions.create(model="synaptiq-2", messages=QUESTION)
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= left
        raw = client.chat.completions.with_raw_response.create(model="synaptiq-2", messages=QUESTION)
    assert raw.retries_taken == 1
    assert raw.parse().choices[0].message.content


def test_the_published_retry_loop_succeeds(full_minute: tuple[ServedGateway, int]) -> None:
    """As the page has it, with today's name of the error; and without the SDK's own retries before it."""
    gateway, _ = full_minute
    client = OpenAI(api_key=gateway.key, base_url=gateway.base_url, max_retries=0)
    met = []

    def make_request_with_retry(max_retries: int = 5) -> ChatCompletion:
        retries = 0
        while True:
            try:
                return client.chat.completions.create(model="synaptiq-2", messages=QUESTION)
            except openai.RateLimitError as e:
                met.append(e)
                retries += 1
                if retries >= max_retries:
                    raise
                time.sleep((2**retries) + random.random())  # noqa: S311  # as the page has it

    with client:
        assert make_request_with_retry().choices[0].message.content
    assert met
    assert met[0].body == {
        "message": f"Rate limit exceeded: {RPM} requests per minute. Please try again later.",
        "type": "rate_limit_error",
        "param": None,
        "code": "rate_limit_exceeded",
    }
