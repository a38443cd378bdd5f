"""What the API's document says of chat completions: the request as the gateway checks it, and the answers."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway_core.errors import (
    AccountSuspended,
    Conflict,
    IdempotencyKeyReused,
    ModelNotFound,
    ProviderError,
    ProviderRateLimited,
    QuotaExceeded,
    RateLimited,
    RequestTooLarge,
    SubscriptionRequired,
)
from gateway_core.ports import Shape
from gateway_core.wire.request import ChatBody

SUMMARY = "One chat completion, plain or streamed."

ABOUT = """OpenAI's Chat Completions. Fields that are not listed here are passed on as they are.

With `stream: true` the answer is a stream of server-sent events, each a `ChatChunk` as JSON, and `data: [DONE]` at its
end; a failure in the middle is one event with an `error`, and no `[DONE]`. A refusal is always a plain answer."""

FIELDS: Mapping[str, str] = {
    "model": "One of GET /v1/models.",
    "messages": "The conversation so far.",
    "stream": "The answer as server-sent events.",
    "stream_options": "`include_usage`: a last chunk with the usage, and what the call cost. Only with `stream`.",
    "max_tokens": "The most tokens of the answer; the older name of `max_completion_tokens`.",
    "max_completion_tokens": "The most tokens of the answer, reasoning included. The larger of both names counts.",
    "n": "How many answers to give.",
    "temperature": "How random the answer is.",
    "top_p": "Only the likeliest tokens that make up this share.",
    "frequency_penalty": "Against tokens by how often they came.",
    "presence_penalty": "Against tokens that came at all.",
    "stop": "Where the answer ends; up to four texts.",
    "seed": "The same seed gives, as far as the provider can, the same answer.",
    "logprobs": "Log probabilities of the answer's tokens.",
    "top_logprobs": "That many alternatives for each token. Only with `logprobs`.",
    "logit_bias": "Token id → what to add to its likelihood.",
    "tools": "What the model may ask the client to call.",
    "tool_choice": "Whether it may, must, or which one it must.",
    "parallel_tool_calls": "Several calls in one answer.",
    "functions": "The older form of `tools`.",
    "function_call": "The older form of `tool_choice`.",
    "response_format": "Text, a JSON object, or JSON that fits a schema.",
    "reasoning_effort": "How long the model thinks: none, minimal, low, medium, high, and what the provider adds.",
    "verbosity": "How long the answer is: low, medium, high.",
    "modalities": "Only text has a price here.",
    "audio": "Audio has no price here: refused unless the model is free.",
    "prediction": "Text that the answer probably repeats.",
    "web_search_options": "A web search has no price here: refused unless the model is free.",
    "metadata": "Up to 16 pairs of text, for the provider's own lists.",
    "service_tier": "`auto` or `default`: others have no price here.",
    "store": "Kept at the provider. Refused on a managed gateway.",
    "user": "The client's own name for its user.",
}
"""What each field of the request is for."""


class FunctionCall(TypedDict):
    """A function and its arguments, as JSON in text."""

    name: str
    arguments: str


class ToolCall(TypedDict):
    """What the model asks the client to call."""

    id: str
    type: str
    function: NotRequired[FunctionCall]
    custom: NotRequired[dict[str, Any]]


class AnswerMessage(TypedDict):
    """What the model says."""

    role: str
    content: str | None
    refusal: NotRequired[str | None]
    reasoning_content: NotRequired[str | None]
    tool_calls: NotRequired[list[ToolCall] | None]


class Choice(TypedDict):
    """One answer, and why it ended."""

    index: int
    message: AnswerMessage
    finish_reason: str | None
    logprobs: NotRequired[dict[str, Any] | None]


class ChatUsage(TypedDict):
    """Tokens, and the charge in cents as exact decimal text."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: NotRequired[dict[str, Any] | None]
    completion_tokens_details: NotRequired[dict[str, Any] | None]
    cost_cents: NotRequired[str]


class ChatCompletion(TypedDict):
    """A whole answer. What else the provider says is passed on."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: ChatUsage


class ChunkChoice(TypedDict):
    """A part of one answer: `role` in its first chunk, `finish_reason` in its last."""

    index: int
    delta: dict[str, Any]
    finish_reason: str | None
    logprobs: NotRequired[dict[str, Any] | None]


class ChatChunk(TypedDict):
    """One event of a stream. The last has no choices, but the usage, where `include_usage` asks for it."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: NotRequired[ChatUsage | None]


class ChatHeaders(msgspec.Struct, frozen=True, rename={"idempotency_key": "Idempotency-Key"}):
    """What a call's headers may say."""

    idempotency_key: (
        Annotated[
            str,
            Meta(
                pattern=r"^[!-~]([ -~]{0,253}[!-~])?$",
                description="The same key with the same body is the same call for 24 hours: made once, charged once.",
                examples=["7f9c2ba4-e88f-4d8a-a1e3-3f0c6e8b1d55"],
            ),
        ]
        | UnsetType
    ) = UNSET


SHAPE = Shape(
    body=ChatBody,
    answer=ChatCompletion,
    headers=ChatHeaders,
    errors=(
        SubscriptionRequired,
        QuotaExceeded,
        AccountSuspended,
        ModelNotFound,
        Conflict,
        RequestTooLarge,
        IdempotencyKeyReused,
        RateLimited,
        ProviderRateLimited,
        ProviderError,
    ),
    also=("text/event-stream",),
    sends=("tier", "cost", "limits", "replayed"),
)
