"""Answers that must be JSON: by the model's own schemas, by a tool that is no tool to the client, or by words."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from spl_provider_anthropic.content import refuse
from spl_provider_anthropic.models import Rules
from spl_provider_anthropic.schemas import Merged, NotAnObject, form, input_schema
from spl_provider_anthropic.tools import Toolbox

_JSON_OBJECT = (
    "Answer with one valid JSON object and nothing else: no words before or after it, no code fence around it."
)
_FIELD = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
"""A name of a field that a tool's input may have."""


class Format(msgspec.Struct):
    """How a request gets its JSON."""

    #: `output_config.format`.
    schema: dict[str, Any] | None = None
    #: The tool whose input is the answer.
    tool: str | None = None
    instruction: str | None = None

    @property
    def asked(self) -> bool:
        """The answer must be JSON."""
        return self.schema is not None or self.tool is not None or self.instruction is not None


def response_format(body: Mapping[str, Any], rules: Rules, box: Toolbox) -> Format:
    """What `response_format` asks for; the tool that stands for it is put into the toolbox."""
    wanted = body.get("response_format")
    if wanted is None or wanted["type"] == "text":
        return Format()
    if wanted["type"] == "json_object":
        return Format(instruction=_JSON_OBJECT)
    if wanted["type"] != "json_schema":
        refuse("response_format.type", "it is none of text, json_object and json_schema")
    described = wanted["json_schema"]
    schema = described.get("schema")
    if not schema:
        return Format(instruction=_JSON_OBJECT)
    if rules.structured_outputs:
        native = form(schema)
        if box.grammar.take(native):
            return Format(schema={"type": "json_schema", "schema": native.schema})
    named = box.choice is not None and box.choice["type"] == "tool"
    if rules.forced_tools == "native" and not named:
        tool = _answer_tool(box, schema, described.get("description"))
        if tool is not None:
            return Format(tool=tool)
    told = msgspec.json.encode(schema).decode()
    return Format(instruction=f"{_JSON_OBJECT} The object must fit this JSON schema:\n{told}")


def _answer_tool(box: Toolbox, schema: Mapping[str, Any], description: Any) -> str | None:
    """Puts a tool into the box whose input is the answer, and makes it or another be called; None: it cannot be one."""
    if schema.get("type", "object") != "object":
        return None
    try:
        fields = input_schema(schema, Merged())
    except NotAnObject:
        return None
    if not all(map(_FIELD.fullmatch, msgspec.json.decode(fields)["properties"])):
        return None
    taken = {tool["name"] for tool in box.tools}
    name = next(name for name in ("answer_as_json", *(f"answer_as_json_{at}" for at in range(len(taken) + 1)))
                if name not in taken)  # fmt: skip
    said = description if isinstance(description, str) and description else "What the answer has to say."
    callable_tools = bool(box.tools) and not (box.choice is not None and box.choice["type"] == "none")
    box.tools.append({
        "name": name,
        "description": f"Gives the final answer to the user, in place of text. {said}",
        "input_schema": fields,
    })  # fmt: skip
    if callable_tools:
        single = box.choice is not None and box.choice.get("disable_parallel_tool_use")
        box.choice = {"type": "any", **({"disable_parallel_tool_use": True} if single else {})}
    else:
        box.choice = {"type": "tool", "name": name, "disable_parallel_tool_use": True}
    return name
