"""No call is charged less than it costs because too little was held: the most that Anthropic may count for a request,
through the whole gateway."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway_core.testing.anthropic_fixture import AnthropicHandle
from gateway_core.testing.line import Line, events, line

MODEL = "claude-sonnet-4-5"
PRICED = """
price = { input = "3.00", cached_input = "0.30", cache_write = "3.75", output = "15.00" }
max_output_tokens = 64000
context_tokens = 200000
media_tokens = 5120
overhead_tokens = 1024
features = ["stream", "tools", "vision", "json_schema"]
"""
PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 30).decode()
PDF = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.7 of very many empty pages").decode()
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


def _asked(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": [{"type": "text", "text": "?"}, *parts]}]


def _image(url: str) -> Any:
    return {"type": "image_url", "image_url": {"url": url}}


def _file(data: str) -> Any:
    return {"type": "file", "file": {"file_data": data, "filename": "a.pdf"}}


# What is asked, and the most input and output that each of its answers can be counted at.
CASES: dict[str, tuple[dict[str, Any], int, int]] = {
    "no limit": ({}, 10, 64_000),
    "all that it may think": ({"max_tokens": 3_000, "reasoning_effort": "high"}, 10, 3_000),
    "tools and what they add": ({"tools": TOOLS, "max_tokens": 100}, 900, 100),
    "images": ({"messages": _asked(*[_image(PNG)] * 3), "max_tokens": 10}, 3 * 4_784 + 10, 10),
    "several answers": ({"n": 4, "max_tokens": 10}, 900, 10),
    "several answers about images": (
        {"n": 4, "messages": _asked(_image("https://images.example/a.png")), "max_tokens": 10},
        4_784 + 900,
        10,
    ),
    "a small file of many pages": ({"messages": _asked(_file(PDF)), "max_tokens": 10}, 190_000, 10),
    "a file by its address": (
        {"messages": _asked(_file("https://files.example/a.pdf")), "max_tokens": 10},
        190_000,
        10,
    ),
    "several answers about a file": ({"n": 2, "messages": _asked(_file(PDF)), "max_tokens": 10}, 190_000, 10),
}


@pytest.fixture(scope="module")
def served(anthropic_upstream_process: AnthropicHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    home: Path = tmp_path_factory.mktemp("money") / "home"
    with line(home, anthropic_upstream_process, plugin="provider-anthropic", model=MODEL, priced=PRICED) as running:
        yield running


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["fresh", "cached", "written"])
@pytest.mark.parametrize("name", CASES)
def test_what_it_costs_was_held(served: Line, name: str, kind: str, stream: bool) -> None:
    asked, input_tokens, output_tokens = CASES[name]
    counts = {"fresh": 0, "cached": 0, "written": 0, kind: input_tokens}
    served.upstream.reset()
    served.upstream.script(
        MODEL,
        usage={
            "input_tokens": counts["fresh"],
            "cache_read_input_tokens": counts["cached"],
            "cache_creation_input_tokens": counts["written"],
            "output_tokens": output_tokens,
        },
    )
    answer = served.call(stream=stream, **asked)
    assert answer.status_code == 200, answer.text
    if stream:
        assert events(answer.text)[-1] == "[DONE]"
    row = served.row(answer.headers["x-request-id"])
    answers = asked.get("n", 1)
    assert (row["input"], row["output"]) == (input_tokens * answers, output_tokens * answers)
    each = {"fresh": 3_000_000, "cached": 300_000, "written": 3_750_000}[kind]
    assert row["charge"] == row["owed"] == (input_tokens * each + output_tokens * 15_000_000) * answers
    assert row["loss"] == 0
    assert row["charge"] <= row["hold_amount"]
