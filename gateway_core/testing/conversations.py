"""Conversations as OpenAI's API allows them, for property tests: a hypothesis strategy, and what one of them said.

Every text in a generated body is unique, so that a test can find it again and see its place.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as st

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(20)).decode()
PDF = base64.b64encode(b"%PDF-1.4\n" + bytes(20)).decode()
BLANK = ("", " ", "\n\t ")
"""Texts that say nothing."""

Body = dict[str, Any]

_SCHEMAS: tuple[Any, ...] = (
    None,
    {},
    {"type": "object", "properties": {}},
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    {
        "type": "object",
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}}},
        "properties": {
            "node": {"$ref": "#/$defs/Node"},
            "unit": {"const": "celsius"},
            "days": {"type": ["integer", "null"], "minimum": 1},
            "either": {"oneOf": [{"type": "string"}, {"type": "number"}]},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
        },
        "required": ["node"],
        "additionalProperties": False,
    },
)
_ARGUMENTS = ("{}", "", '{"city": "Zürich"}', '{"a": [1, 2.5, null], "b": {"c": true}}', "[1, 2]", "not json", '"x"')
_RESULTS = ('{"temperature": 21}', "[1, 2]", "17", "null", "sunny")


class _Source:
    """Draws the pieces of one body, each text with a number of its own."""

    def __init__(self, draw: st.DrawFn, *, media: bool, calls: bool) -> None:
        self.draw = draw
        self.media = media
        self.calls = calls
        self._count = 0

    def number(self) -> int:
        """The next one."""
        self._count += 1
        return self._count

    def text(self) -> str:
        """A text that is in the body once, sometimes a blank one."""
        kind = self.draw(st.integers(0, 9))
        if kind == 0:
            return self.draw(st.sampled_from(BLANK))
        end = self.draw(st.sampled_from(("", ".", " ", "\n", " ü漢😀", ' "\\u2028')))
        return f"text-{self.number()}{end}"

    def parts(self, kinds: tuple[str, ...]) -> list[dict[str, Any]]:
        """One to three content parts of these kinds."""
        return [self._part(self.draw(st.sampled_from(kinds))) for _ in range(self.draw(st.integers(1, 3)))]

    def _part(self, kind: str) -> dict[str, Any]:
        if kind == "image":
            urls = (
                f"data:image/png;base64,{PNG}",
                f"data:image/jpeg;base64,{JPEG}",
                f"https://images.example/{self.number()}.png",
            )
            return {"type": "image_url", "image_url": {"url": self.draw(st.sampled_from(urls))}}
        if kind == "file":
            data = f"data:application/pdf;base64,{PDF}"
            return {"type": "file", "file": {"filename": f"file-{self.number()}.pdf", "file_data": data}}
        return {"type": "text", "text": self.text()}

    def content(self, *, plain: bool = False) -> Any:
        """A message's content: a text or a list of parts; `plain`: of texts only."""
        if self.draw(st.booleans()):
            return self.text()
        return self.parts(("text",) if plain or not self.media else ("text", "text", "image", "file"))


def _turn(source: _Source, names: list[str]) -> Iterator[dict[str, Any]]:
    """One message, or an assistant's with its calls' results."""
    kind = source.draw(st.sampled_from(("user", "user", "assistant", "system", "calls") if source.calls else ("user",)))
    if kind == "system":
        yield {"role": source.draw(st.sampled_from(("system", "developer"))), "content": source.content(plain=True)}
    elif kind == "calls":
        yield from _loop(source, names)
    elif kind == "assistant":
        yield {"role": "assistant", "content": source.content(plain=True)}
    else:
        name = {"name": "ann"} if source.draw(st.booleans()) else {}
        yield {"role": "user", "content": source.content(), **name}


def _loop(source: _Source, names: list[str]) -> Iterator[dict[str, Any]]:
    calls = []
    for _ in range(source.draw(st.integers(1, 3))):
        number = source.number()
        call_id = source.draw(st.sampled_from((f"call_{number}", f"toolu_{number}", f"fn.{number}:x/é", f"{number}")))
        function = {
            "name": source.draw(st.sampled_from(names)),
            "arguments": source.draw(st.sampled_from(_ARGUMENTS)),
        }
        calls.append({"id": call_id, "type": "function", "function": function})
    content = source.draw(st.sampled_from((None, ""))) if source.draw(st.booleans()) else source.content(plain=True)
    yield {"role": "assistant", "content": content, "tool_calls": calls}
    for call in source.draw(st.permutations(calls)):
        result: Any = source.draw(st.sampled_from((*_RESULTS, "", "unique")))
        if result == "unique":
            result = source.content(plain=not source.media)
            if isinstance(result, list):
                result = [part for part in result if part["type"] != "file"] or ""
        yield {"role": "tool", "tool_call_id": call["id"], "content": result}


@st.composite
def bodies(draw: st.DrawFn, *, media: bool = True, calls: bool = True, settings: bool = True) -> Body:
    """A Chat Completions request that OpenAI would take. `settings`: with sampling, choice of tools and the like."""
    source = _Source(draw, media=media, calls=calls)
    names = [f"tool_{name}" for name in "abc"[: draw(st.integers(1, 3))]]
    messages = [
        {"role": draw(st.sampled_from(("system", "developer"))), "content": source.content(plain=True)}
        for _ in range(draw(st.integers(0, 2)))
    ]
    for _ in range(draw(st.integers(1, 6))):
        messages.extend(_turn(source, names))
    body: Body = {"model": "m", "messages": messages}
    if calls and draw(st.booleans()):
        body["tools"] = [_tool(draw, name) for name in names]
        body.update(_tool_settings(draw, names))
    if settings:
        body.update(draw(_settings()))
    return body


def _tool(draw: st.DrawFn, name: str) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name}
    if draw(st.booleans()):
        function["description"] = draw(st.sampled_from(("What it does.", "")))
    schema = draw(st.sampled_from(_SCHEMAS))
    if schema is not None or draw(st.booleans()):
        function["parameters"] = json.loads(json.dumps(schema))
    return {"type": "function", "function": function}


def _tool_settings(draw: st.DrawFn, names: list[str]) -> Body:
    named = {"type": "function", "function": {"name": draw(st.sampled_from(names))}}
    choice = draw(st.sampled_from((None, "auto", "none", "required", "named")))
    found: Body = {}
    if choice is not None:
        found["tool_choice"] = named if choice == "named" else choice
    if draw(st.booleans()):
        found["parallel_tool_calls"] = draw(st.booleans())
    return found


_FIELDS: Mapping[str, st.SearchStrategy[Any]] = {
    "temperature": st.sampled_from((0, 0.3, 1, 1.7, 2)),
    "top_p": st.sampled_from((0.1, 0.96, 1)),
    "max_tokens": st.sampled_from((1, 500, 1500, 5000, 10**6)),
    "max_completion_tokens": st.sampled_from((16, 4096)),
    "stop": st.sampled_from(("END", ["END", "STOP"], ["\n", "END"])),
    "seed": st.integers(0, 2**31 - 1),
    "presence_penalty": st.sampled_from((-1, 0, 0.5)),
    "frequency_penalty": st.sampled_from((-1, 0, 0.5)),
    "user": st.sampled_from(("u-17", "ann@example.com", "x" * 300)),
    "reasoning_effort": st.sampled_from(("none", "minimal", "low", "medium", "high")),
    "logit_bias": st.just({"5": 1}),
    "metadata": st.just({"a": "b"}),
    "store": st.booleans(),
    "n": st.just(1),
    "response_format": st.sampled_from(
        (
            {"type": "text"},
            {"type": "json_object"},
            {
                "type": "json_schema",
                "json_schema": {
                    "name": "answer",
                    "schema": {
                        "type": "object",
                        "properties": {"n": {"type": "integer", "minimum": 0}, "s": {"type": ["string", "null"]}},
                        "required": ["n"],
                    },
                },
            },
        )
    ),
}


@st.composite
def _settings(draw: st.DrawFn) -> Body:
    names = draw(st.lists(st.sampled_from(sorted(_FIELDS)), unique=True, max_size=6))
    return {name: draw(st.none() | _FIELDS[name]) for name in names}


def texts_of(body: Mapping[str, Any], *roles: str) -> list[str]:
    """Every text of the messages with these roles (none named: of all) that says something, in order."""
    found = []
    for message in body["messages"]:
        if not roles or message["role"] in roles:
            content = message.get("content")
            parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
            found += [part["text"] for part in parts if part["type"] == "text" and part["text"].strip()]
    return found


def media_of(body: Mapping[str, Any]) -> list[str]:
    """The address or the data of every image and file, in order."""
    found = []
    for message in body["messages"]:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if part["type"] == "image_url":
                found.append(part["image_url"]["url"])
            elif part["type"] == "file":
                found.append(part["file"]["file_data"])
    return found


def calls_of(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and arguments of every call, in order."""
    return [
        (call["function"]["name"], call["function"]["arguments"])
        for message in body["messages"]
        for call in message.get("tool_calls") or ()
    ]


def jumbled() -> st.SearchStrategy[Body]:
    """Requests with texts, calls of a tool and their results in any order: many of them are none that an API takes."""
    function = {"name": "f", "arguments": ""}
    call = {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": function}]}
    result = {"role": "tool", "tool_call_id": "c", "content": "sunny"}
    texts = [
        {"role": role, "content": text} for role in ("user", "assistant", "system") for text in ("", " ", "a", "b ")
    ]
    messages = st.lists(st.sampled_from([call, result, *texts]), min_size=1, max_size=6)
    return messages.map(lambda chosen: {"model": "m", "messages": chosen})
