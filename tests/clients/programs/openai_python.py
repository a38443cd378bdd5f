"""openai-python."""

import json
from typing import Any

import acting
from acting import Gateway
from openai import OpenAI
from pydantic import BaseModel


class Person(BaseModel):
    """Who."""

    name: str
    age: int


def client(gateway: Gateway, **more: Any) -> OpenAI:
    return OpenAI(**{"base_url": gateway.base_url, "api_key": gateway.key, "max_retries": 0, **more})


def ask(gateway: Gateway, act: str, content: Any = "Hello.", **more: Any) -> Any:
    messages: list[Any] = [{"role": "user", "content": content}]
    return client(gateway).chat.completions.create(model=gateway.model(act), messages=messages, **more)


def plain(gateway: Gateway) -> Any:
    answer = ask(gateway, "plain")
    counts = acting.usage(answer.usage.prompt_tokens, answer.usage.completion_tokens)
    return {
        "text": answer.choices[0].message.content,
        "finish": answer.choices[0].finish_reason,
        "usage": counts,
    }


def stream(gateway: Gateway) -> Any:
    chunks = list(ask(gateway, "stream", stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    last = chunks[-1].usage
    counts = acting.usage(last.prompt_tokens, last.completion_tokens)
    return {"text": "".join(pieces), "pieces": len([piece for piece in pieces if piece]), "usage": counts}


def loop(gateway: Gateway, act: str) -> Any:
    messages: list[Any] = [{"role": "user", "content": acting.QUESTION}]
    tools: list[Any] = [acting.WEATHER]
    create = client(gateway).chat.completions.create
    message = create(model=gateway.model(act), messages=messages, tools=tools).choices[0].message
    messages.append(message.model_dump(exclude_none=True))
    messages += [
        {"role": "tool", "tool_call_id": call.id, "content": acting.RESULT} for call in message.tool_calls or ()
    ]
    final = create(model=gateway.model(act), messages=messages, tools=tools)
    calls = [[call.function.name, json.loads(call.function.arguments)] for call in message.tool_calls or ()]
    return {"calls": calls, "text": final.choices[0].message.content}


def streamed_call(gateway: Gateway) -> Any:
    messages: list[Any] = [{"role": "user", "content": acting.QUESTION}]
    tools: list[Any] = [acting.WEATHER]
    chat = client(gateway).chat.completions
    with chat.stream(model=gateway.model("streamed"), messages=messages, tools=tools) as events:
        message = events.get_final_completion().choices[0].message
    calls = [[call.function.name, json.loads(call.function.arguments)] for call in message.tool_calls or ()]
    return {"calls": calls}


def structured(gateway: Gateway) -> Any:
    messages: list[Any] = [{"role": "user", "content": "Invent a person."}]
    parse = client(gateway).chat.completions.parse
    parsed = parse(model=gateway.model("structured"), messages=messages, response_format=Person)
    return parsed.choices[0].message.parsed.model_dump()


def image(gateway: Gateway) -> Any:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": acting.PICTURE}}]
    return {"text": ask(gateway, "image", parts).choices[0].message.content}


def retried(gateway: Gateway) -> Any:
    messages: list[Any] = [{"role": "user", "content": "Hello."}]
    with client(gateway, max_retries=2) as patient:
        answer = patient.chat.completions.create(model=gateway.model("busy"), messages=messages)
    return {"text": answer.choices[0].message.content}


def say(gateway: Gateway, model: str, **more: Any) -> Any:
    messages: list[Any] = [{"role": "user", "content": "Hello."}]
    return client(gateway, **more).chat.completions.create(model=model, messages=messages)


acting.run(
    {
        "plain": plain,
        "stream": stream,
        "tool": lambda gateway: loop(gateway, "tool"),
        "tools": lambda gateway: loop(gateway, "tools"),
        "streamed": streamed_call,
        "structured": structured,
        "image": image,
        "401": lambda gateway: acting.caught(lambda: say(gateway, gateway.model("plain"), api_key=acting.WRONG_KEY)),
        "404": lambda gateway: acting.caught(lambda: say(gateway, acting.NO_MODEL)),
        "429": lambda gateway: acting.caught(lambda: say(gateway, gateway.model("throttled"))),
        "retried": retried,
    }
)
