"""A whole request: OpenAI's body as Anthropic's. Pure: what had to be fetched or recalled is given."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from gateway_core.types import ChatRequest
from spl_provider_anthropic.content import Block, limit_marks
from spl_provider_anthropic.media import Fetched
from spl_provider_anthropic.messages import Conversation, Thoughts
from spl_provider_anthropic.models import Rules
from spl_provider_anthropic.reasoning import Thinking, plan
from spl_provider_anthropic.response_format import Format, response_format
from spl_provider_anthropic.sampling import output_limit, refuse_what_is_missing, sampling, stop_sequences, user_id
from spl_provider_anthropic.tools import Toolbox, toolbox, tools_of_history

_encode = msgspec.json.Encoder().encode
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Reply(msgspec.Struct, frozen=True):
    """What is to be known to read the answer."""

    #: The tool whose input is the content.
    json_tool: str | None = None
    #: Calls are told as `function_call`.
    legacy: bool = False
    #: Thinking of earlier messages went along.
    thoughts_given: bool = False


class Converted(msgspec.Struct, frozen=True):
    """A request that is ready to be sent."""

    fields: dict[str, Any]
    reply: Reply

    def encode(self) -> bytes:
        """As bytes."""
        return _encode(self.fields)


def convert(
    request: ChatRequest,
    model: str,
    rules: Rules,
    *,
    limit: int | None = None,
    held: int | None = None,
    stream: bool = False,
    fetched: Fetched = _NOTHING,
    thoughts: Thoughts = _NOTHING,
    think: bool = True,
) -> Converted:
    """Converts it. Raises InvalidRequest, naming the field, for what the model cannot do.

    `limit` replaces the client's output limit, `held` bounds the one of a client that names none; `think` False: this
    call goes without thinking, given or new.
    """
    body = request.body
    refuse_what_is_missing(body)
    box = toolbox(body, rules)
    form = response_format(body, rules, box)
    most = output_limit(body, limit, held, rules)
    thinking = plan(body.get("reasoning_effort"), rules, most, possible=think and not box.forced)
    conversation = _read(body, rules, thinking=thinking.on and think, thoughts=thoughts, fetched=fetched)
    if rules.thinking == "enabled" and thinking.on and conversation.in_loop() and not conversation.loop_has_thoughts():
        # What the model thought before it called the tools is lost: it refuses to go on thinking without that.
        thinking = plan(body.get("reasoning_effort"), rules, most, possible=False)
        conversation = _read(body, rules, thinking=False, thoughts={}, fetched=fetched)
    if not box.tools and (called := conversation.called()):
        box = tools_of_history(called)
    fields = _fields(body, model, rules, most, box, form, thinking)
    told = [words for words in (box.instruction, form.instruction) if words]
    fields["messages"] = conversation.finish(
        prefill=rules.prefill and not thinking.on and form.schema is None and not box.forced, instructions=told
    )
    if conversation.system:
        fields["system"] = conversation.system
    if b"cache_control" in request.rest:
        _limit_marks(fields)
    if stream:
        fields["stream"] = True
    given = thinking.on and think and any(_has_thoughts(message) for message in fields["messages"])
    return Converted(fields, Reply(form.tool, legacy=box.legacy, thoughts_given=given))


def _read(
    body: Mapping[str, Any], rules: Rules, *, thinking: bool, thoughts: Thoughts, fetched: Fetched
) -> Conversation:
    conversation = Conversation(system_role=rules.system_role, thinking=thinking, thoughts=thoughts, fetched=fetched)
    conversation.read(body["messages"])
    return conversation


def _fields(
    body: Mapping[str, Any], model: str, rules: Rules, limit: int, box: Toolbox, form: Format, thinking: Thinking
) -> dict[str, Any]:
    fields: dict[str, Any] = {"model": model, "max_tokens": limit}
    if box.tools:
        fields["tools"] = box.tools
        if box.choice is not None:
            fields["tool_choice"] = box.choice
    fields.update(sampling(body, rules, thinking=thinking.on))
    stop = stop_sequences(body.get("stop"))
    if stop:
        fields["stop_sequences"] = stop
    user = user_id(body)
    if user is not None:
        fields["metadata"] = {"user_id": user}
    if thinking.config is not None:
        fields["thinking"] = thinking.config
    output: dict[str, Any] = {}
    if thinking.effort is not None:
        output["effort"] = thinking.effort
    if form.schema is not None:
        output["format"] = form.schema
    if output:
        fields["output_config"] = output
    return fields


def _has_thoughts(message: Mapping[str, Any]) -> bool:
    return message["role"] == "assistant" and message["content"][0]["type"] in ("thinking", "redacted_thinking")


def _limit_marks(fields: Mapping[str, Any]) -> None:
    """Over all blocks in the order that the cache knows: tools, system prompt, messages."""
    blocks: list[Block] = [*fields.get("tools", ()), *fields.get("system", ())]
    for message in fields["messages"]:
        for block in message["content"]:
            inner = block.get("content")
            blocks += [*(inner if isinstance(inner, list) else ()), block]
    limit_marks(blocks)
