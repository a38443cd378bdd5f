"""No call is charged less than it costs because too little was held: the most that Google may count for a request,
through the whole gateway."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway_core.testing.gemini_fixture import GeminiHandle
from gateway_core.testing.line import Line, events, line

MODEL = "gemini-2.5-flash"
PRICED = """
price = { input = "0.30", cached_input = "0.03", output = "2.50" }
max_output_tokens = 65536
context_tokens = 1048576
features = ["stream", "tools", "vision", "json_schema", "reasoning"]
"""
INPUT, CACHED, OUTPUT = 300_000, 30_000, 2_500_000
"""Units a token."""
PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"0" * 30).decode()
PDF = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.7 of very many empty pages").decode()
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


def _asked(*parts: Any) -> list[Any]:
    return [{"role": "user", "content": [{"type": "text", "text": "?"}, *parts]}]


def _image() -> Any:
    return {"type": "image_url", "image_url": {"url": PNG}}


# What is asked, and the most input, answer and thoughts that it can be counted at: thoughts are in the limit, and
# several candidates have one prompt.
CASES: dict[str, tuple[dict[str, Any], int, int, int]] = {
    "no limit": ({}, 10, 65_536, 0),
    "all of it thought": ({"max_tokens": 3_000, "reasoning_effort": "high"}, 10, 1, 2_999),
    "tools": ({"tools": TOOLS, "max_tokens": 100}, 60, 100, 0),
    "images": ({"messages": _asked(*[_image()] * 3), "max_tokens": 10}, 3 * 1_548, 10, 0),
    "several answers": ({"n": 4, "max_tokens": 10}, 10, 40, 0),
    "a small file of many pages": (
        {"messages": _asked({"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}}), "max_tokens": 10},
        1_000_000,
        10,
        0,
    ),
}


@pytest.fixture(scope="module")
def served(gemini_upstream_process: GeminiHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    home: Path = tmp_path_factory.mktemp("money") / "home"
    with line(home, gemini_upstream_process, plugin="provider-gemini", model=MODEL, priced=PRICED) as running:
        yield running


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_what_it_costs_was_held(served: Line, name: str, cached: bool, stream: bool) -> None:
    asked, input_tokens, answered, thought = CASES[name]
    usage = {"promptTokenCount": input_tokens, "candidatesTokenCount": answered, "thoughtsTokenCount": thought}
    if cached:
        usage["cachedContentTokenCount"] = input_tokens
    usage["totalTokenCount"] = input_tokens + answered + thought
    served.upstream.reset()
    served.upstream.script(MODEL, usage=usage)
    answer = served.call(stream=stream, **asked)
    assert answer.status_code == 200, answer.text
    if stream:
        assert events(answer.text)[-1] == "[DONE]"
    row = served.row(answer.headers["x-request-id"])
    assert (row["input"], row["output"], row["reasoning"]) == (input_tokens, answered + thought, thought)
    assert row["charge"] == row["owed"] == input_tokens * (CACHED if cached else INPUT) + row["output"] * OUTPUT
    assert row["loss"] == 0
    assert row["charge"] <= row["hold_amount"]
