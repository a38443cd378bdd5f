"""LiteLLM's SDK as a client of an OpenAI-compatible server."""

import json
import os
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it asks its own server when it is imported

import acting
import litellm
from acting import Gateway
from pydantic import BaseModel


class Person(BaseModel):
    """Who."""

    name: str
    age: int


def ask(gateway: Gateway, act: str, messages: Any = None, **more: Any) -> Any:
    settings = {
        "model": f"openai/{gateway.model(act)}",
        "messages": messages or [{"role": "user", "content": "Hello."}],
        "api_base": gateway.base_url,
        "api_key": gateway.key,
        "max_retries": 0,
        **more,
    }
    return litellm.completion(**settings)


def plain(gateway: Gateway) -> Any:
    answer = ask(gateway, "plain")
    return {
        "text": answer.choices[0].message.content,
        "finish": answer.choices[0].finish_reason,
        "usage": acting.usage(answer.usage.prompt_tokens, answer.usage.completion_tokens),
    }


def stream(gateway: Gateway) -> Any:
    chunks = list(ask(gateway, "stream", stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    counts = next(chunk.usage for chunk in reversed(chunks) if getattr(chunk, "usage", None))
    return {
        "text": "".join(pieces),
        "pieces": len([piece for piece in pieces if piece]),
        "usage": acting.usage(counts.prompt_tokens, counts.completion_tokens),
    }


def calls_in(message: Any) -> list[Any]:
    return [[call.function.name, json.loads(call.function.arguments)] for call in message.tool_calls or ()]


def loop(gateway: Gateway, act: str) -> Any:
    messages: list[Any] = [{"role": "user", "content": acting.QUESTION}]
    message = ask(gateway, act, messages, tools=[acting.WEATHER]).choices[0].message
    calls = calls_in(message)  # what is sent back is changed by it
    messages.append(message)
    messages += [
        {"role": "tool", "tool_call_id": call.id, "content": acting.RESULT} for call in message.tool_calls or ()
    ]
    final = ask(gateway, act, messages, tools=[acting.WEATHER])
    return {"calls": calls, "text": final.choices[0].message.content}


def streamed_call(gateway: Gateway) -> Any:
    messages = [{"role": "user", "content": acting.QUESTION}]
    chunks = list(ask(gateway, "streamed", messages, tools=[acting.WEATHER], stream=True))
    return {"calls": calls_in(litellm.stream_chunk_builder(chunks, messages=messages).choices[0].message)}


def structured(gateway: Gateway) -> Any:
    answer = ask(gateway, "structured", response_format=Person)
    return Person.model_validate_json(answer.choices[0].message.content).model_dump()


def image(gateway: Gateway) -> Any:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": acting.PICTURE}}]
    return {"text": ask(gateway, "image", [{"role": "user", "content": parts}]).choices[0].message.content}


acting.run(
    {
        "plain": plain,
        "stream": stream,
        "tool": lambda gateway: loop(gateway, "tool"),
        "tools": lambda gateway: loop(gateway, "tools"),
        "streamed": streamed_call,
        "structured": structured,
        "image": image,
        "401": lambda gateway: acting.caught(lambda: ask(gateway, "plain", api_key=acting.WRONG_KEY)),
        "404": lambda gateway: acting.caught(lambda: ask(gateway, "plain", model=f"openai/{acting.NO_MODEL}")),
        "429": lambda gateway: acting.caught(lambda: ask(gateway, "throttled")),
        "retried": lambda gateway: {"text": ask(gateway, "busy", max_retries=2).choices[0].message.content},
    }
)
