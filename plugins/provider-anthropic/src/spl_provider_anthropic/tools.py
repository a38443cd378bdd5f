"""Tools and the choice among them."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway_core.errors import InvalidRequest
from spl_provider_anthropic.content import Block, cache_mark, refuse
from spl_provider_anthropic.models import Rules
from spl_provider_anthropic.schemas import Grammar, Merged, NotAnObject, form, input_schema


class Toolbox(msgspec.Struct):
    """The tools of a request and how they may be used."""

    tools: list[Block] = []
    choice: Block | None = None
    #: What the model is told in words, because the API does not take it.
    instruction: str | None = None
    #: The client speaks the API of before `tools`: `functions`, and one call at most.
    legacy: bool = False
    #: What is left for the form of the answer.
    grammar: Grammar = msgspec.field(default_factory=Grammar)

    @property
    def forced(self) -> bool:
        """A tool must be called, and the API sees to it."""
        return self.choice is not None and self.choice["type"] in ("any", "tool")


def toolbox(body: Mapping[str, Any], rules: Rules) -> Toolbox:
    """What the request says of tools. Raises InvalidRequest, naming the field, for what cannot be had."""
    legacy = not body.get("tools")
    if legacy and not body.get("functions"):
        return Toolbox()
    merged, grammar = Merged(), Grammar()
    functions = body["functions"] if legacy else ()
    tools = [_function(one, f"functions[{at}]", rules, grammar, merged) for at, one in enumerate(functions)]
    for at, tool in enumerate(body.get("tools") or ()):
        tools.append(_tool(tool, f"tools[{at}]", rules, grammar, merged))
    if not tools:
        return Toolbox()
    box = Toolbox(tools, legacy=legacy, grammar=grammar)
    wanted = body.get("function_call") if legacy else body.get("tool_choice")
    _choose(box, wanted, "function_call" if legacy else "tool_choice", rules)
    if legacy or body.get("parallel_tool_calls") is False:
        _one_at_a_time(box)
    return box


def _tool(tool: Mapping[str, Any], place: str, rules: Rules, grammar: Grammar, merged: Merged) -> Block:
    if tool["type"] != "function":
        refuse(f"{place}.type", "only tools of the type `function` can be used with it")
    made = _function(tool["function"], f"{place}.function", rules, grammar, merged)
    mark = cache_mark(tool, place) or cache_mark(tool["function"], f"{place}.function")
    if mark is not None:
        made["cache_control"] = mark
    return made


def _function(function: Mapping[str, Any], place: str, rules: Rules, grammar: Grammar, merged: Merged) -> Block:
    parameters = function.get("parameters")
    try:
        made: Block = {"name": function["name"], "input_schema": input_schema(parameters, merged)}
    except NotAnObject as why:
        refuse(f"{place}.parameters", str(why))
    description = function.get("description")
    if description:
        made["description"] = description
    if function.get("strict") and rules.structured_outputs:
        closed = form(parameters or {"type": "object", "properties": {}, "additionalProperties": False})
        # Else it would be refused, or mean something else.
        if closed.exact and closed.schema.get("type") == "object" and grammar.take(closed, tool=True):
            made["strict"] = True
            made["input_schema"] = closed.schema
    return made


def _choose(box: Toolbox, wanted: Any, field: str, rules: Rules) -> None:
    name = None
    if isinstance(wanted, dict):
        if wanted.get("type") == "allowed_tools":
            wanted = _allowed(box, wanted["allowed_tools"])
        else:
            name = wanted.get("name") if box.legacy else (wanted.get("function") or {}).get("name")
            if name not in {tool["name"] for tool in box.tools}:
                refuse(field, "it names no function that is among the tools")
    if wanted == "none":
        box.choice = {"type": "none"}
    elif name is not None or wanted == "required":
        _force(box, name, field, rules)
    elif wanted == "auto":
        box.choice = {"type": "auto"}
    elif wanted is not None and not isinstance(wanted, dict):
        refuse(field, "it is none of none, auto, required and a function")


def _force(box: Toolbox, name: str | None, field: str, rules: Rules) -> None:
    """A tool must be called: by the API's own word, or where the model does not take that, in ours."""
    if rules.forced_tools == "refuse":
        refuse(field, "it does not let itself be forced to call a tool")
    if rules.forced_tools == "native":
        box.choice = {"type": "any"} if name is None else {"type": "tool", "name": name}
        return
    if name is not None:
        box.tools = [tool for tool in box.tools if tool["name"] == name]
    what = f"the tool `{name}`" if name is not None else "at least one of the tools"
    box.choice = {"type": "auto"}
    box.instruction = f"Answer by calling {what} now. Do not answer in text alone."


def _allowed(box: Toolbox, allowed: Mapping[str, Any]) -> str:
    """Leaves the tools that are allowed; gives the mode."""
    names = {(one.get("function") or {}).get("name") for one in allowed["tools"]}
    known = {tool["name"] for tool in box.tools}
    if missing := sorted(str(name) for name in names - known):
        raise InvalidRequest(
            f"'tool_choice.allowed_tools.tools' names what is not among the tools: {', '.join(missing)[:200]}.",
            param="tool_choice.allowed_tools.tools",
        )
    box.tools = [tool for tool in box.tools if tool["name"] in names]
    mode: str = allowed["mode"]
    return mode if box.tools else "none"


def _one_at_a_time(box: Toolbox) -> None:
    if box.choice is None:
        box.choice = {"type": "auto"}
    if box.choice["type"] != "none":
        box.choice["disable_parallel_tool_use"] = True


def tools_of_history(names: Sequence[str]) -> Toolbox:
    """Tools that were called before and are not named now: the API demands them, but none may be called."""
    tools: list[Block] = [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in names]
    return Toolbox(tools, {"type": "none"})
