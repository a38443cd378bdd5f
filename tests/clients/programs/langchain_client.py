"""LangChain: langchain-openai's ChatOpenAI."""

from typing import Any

import acting
from acting import Gateway
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel


class Person(BaseModel):
    """Who."""

    name: str
    age: int


@tool
def get_weather(city: str) -> str:
    """The weather of a city, now."""
    return f"{city}: {acting.RESULT}"


def model(gateway: Gateway, act: str, **more: Any) -> ChatOpenAI:
    settings = {"base_url": gateway.base_url, "api_key": gateway.key, "max_retries": 0, **more}
    return ChatOpenAI(**{"model": gateway.model(act), **settings})


def plain(gateway: Gateway) -> Any:
    answer = model(gateway, "plain").invoke("Hello.")
    counts = answer.usage_metadata or {}
    return {
        "text": answer.text,
        "finish": answer.response_metadata["finish_reason"],
        "usage": acting.usage(counts.get("input_tokens"), counts.get("output_tokens")),
    }


def stream(gateway: Gateway) -> Any:
    chunks = list(model(gateway, "stream", stream_usage=True).stream("Hello."))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    counts = whole.usage_metadata or {}
    return {
        "text": whole.text,
        "pieces": len([chunk for chunk in chunks if chunk.text]),
        "usage": acting.usage(counts.get("input_tokens"), counts.get("output_tokens")),
    }


def loop(gateway: Gateway, act: str) -> Any:
    bound = model(gateway, act).bind_tools([get_weather])
    messages: list[Any] = [HumanMessage(acting.QUESTION)]
    answer = bound.invoke(messages)
    messages.append(answer)
    messages += [get_weather.invoke(call) for call in answer.tool_calls]
    assert all(isinstance(each, ToolMessage) for each in messages[2:])
    final = bound.invoke(messages)
    return {"calls": [[call["name"], call["args"]] for call in answer.tool_calls], "text": final.text}


def streamed_call(gateway: Gateway) -> Any:
    chunks = list(model(gateway, "streamed").bind_tools([get_weather]).stream(acting.QUESTION))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return {"calls": [[call["name"], call["args"]] for call in whole.tool_calls]}


def structured(gateway: Gateway) -> Any:
    wanted = model(gateway, "structured").with_structured_output(Person, method="json_schema", strict=True)
    return wanted.invoke("Invent a person.").model_dump()


def image(gateway: Gateway) -> Any:
    parts: list[Any] = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": acting.PICTURE}},
    ]
    return {"text": model(gateway, "image").invoke([HumanMessage(parts)]).text}


acting.run(
    {
        "plain": plain,
        "stream": stream,
        "tool": lambda gateway: loop(gateway, "tool"),
        "tools": lambda gateway: loop(gateway, "tools"),
        "streamed": streamed_call,
        "structured": structured,
        "image": image,
        "401": lambda gateway: acting.caught(
            lambda: model(gateway, "plain", api_key=acting.WRONG_KEY).invoke("Hello.")
        ),
        "404": lambda gateway: acting.caught(lambda: model(gateway, "plain", model=acting.NO_MODEL).invoke("Hello.")),
        "429": lambda gateway: acting.caught(lambda: model(gateway, "throttled").invoke("Hello.")),
        "retried": lambda gateway: {"text": model(gateway, "busy", max_retries=2).invoke("Hello.").text},
    }
)
