"""What we look at in an answer: what is billed, and what some servers get wrong. The rest is passed on unseen."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType


class Function(Struct):
    """A function that is called; a fragment of it in a stream."""

    name: Any = None
    arguments: Any = None


class Custom(Struct):
    """A custom tool that is called."""

    name: Any = None
    input: Any = None


class Call(Struct):
    """A tool call, or a fragment of one."""

    index: int | None = None
    id: Any = None
    type: Any = None
    function: Function | None = None
    custom: Custom | None = None


class Message(Struct):
    """A message or a delta. The types are the client's business, so they are not checked."""

    role: Any = None
    content: Any = UNSET
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None


class Choice(Struct):
    """One answer of a completion."""

    message: Message
    index: int | None = None
    finish_reason: str | None = None
    usage: Any = None


class ChunkChoice(Struct):
    """One answer's part of an event."""

    delta: Message | None = None
    index: int | None = None
    #: Absent is not null: OpenAI always says which.
    finish_reason: str | UnsetType | None = UNSET
    usage: Any = None


def texts_of(message: Message) -> tuple[str, ...]:
    """Every billed piece of text in a message or a delta."""
    if (
        message.reasoning_content is None
        and message.reasoning is None
        and message.refusal is None
        and message.tool_calls is None
        and message.function_call is None
        and isinstance(message.content, str)
    ):
        return (message.content,) if message.content else ()  # what nearly every event of a stream is
    return tuple(_all_texts(message))


def is_text_alone(choice: ChunkChoice) -> bool:
    """Whether an answer's part is nothing but content, neither its beginning nor its end."""
    delta = choice.delta
    return (
        delta is not None
        and isinstance(delta.content, str)
        and choice.finish_reason is None
        and choice.usage is None
        and delta.role is None
        and delta.reasoning_content is None
        and delta.reasoning is None
        and delta.refusal is None
        and delta.tool_calls is None
        and delta.function_call is None
    )


def _all_texts(message: Message) -> Iterator[str]:
    """The same, whatever the message holds."""
    reasoning = message.reasoning_content or message.reasoning
    for text in (message.content, reasoning, message.refusal):
        if isinstance(text, str) and text:
            yield text
    for call in message.tool_calls or ():
        for text in (call.function and call.function.arguments, call.custom and call.custom.input):
            if isinstance(text, str) and text:
                yield text
    if message.function_call is not None and isinstance(message.function_call.arguments, str):
        yield message.function_call.arguments


def message_of(fields: dict[str, Any]) -> Message:
    """The view of a message that was decoded whole."""
    return msgspec.convert(fields, Message)
