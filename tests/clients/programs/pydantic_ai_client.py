"""pydantic-ai: an Agent over its OpenAIChatModel."""

import asyncio
import json
from typing import Any

import acting
from acting import Gateway
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput
from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


class Person(BaseModel):
    """Who."""

    name: str
    age: int


def model(gateway: Gateway, act: str, *, key: str | None = None, name: str | None = None, retries: int = 0) -> Any:
    client = AsyncOpenAI(base_url=gateway.base_url, api_key=key or gateway.key, max_retries=retries)
    return OpenAIChatModel(name or gateway.model(act), provider=OpenAIProvider(openai_client=client))


def plain(gateway: Gateway) -> Any:
    result = Agent(model(gateway, "plain")).run_sync("Hello.")
    used = result.usage
    return {
        "text": result.output,
        "finish": result.response.finish_reason,
        "usage": acting.usage(used.input_tokens, used.output_tokens),
    }


def stream(gateway: Gateway) -> Any:
    async def streamed() -> Any:
        async with Agent(model(gateway, "stream")).run_stream("Hello.") as result:
            pieces = [piece async for piece in result.stream_text(delta=True, debounce_by=None)]
            used = result.usage
        counts = acting.usage(used.input_tokens, used.output_tokens)
        return {"text": "".join(pieces), "pieces": len([piece for piece in pieces if piece]), "usage": counts}

    return asyncio.run(streamed())


def agent(gateway: Gateway, act: str) -> Any:
    made = Agent(model(gateway, act))

    @made.tool_plain
    def get_weather(city: str) -> str:
        """The weather of a city, now."""
        return f"{city}: {acting.RESULT}"

    return made


def calls_in(messages: list[Any]) -> list[Any]:
    return [
        [part.tool_name, part.args if isinstance(part.args, dict) else json.loads(part.args or "{}")]
        for message in messages
        if isinstance(message, ModelResponse)
        for part in message.parts
        if isinstance(part, ToolCallPart)
    ]


def loop(gateway: Gateway, act: str) -> Any:
    result = agent(gateway, act).run_sync(acting.QUESTION)
    return {"calls": calls_in(result.all_messages()), "text": result.output}


def streamed_call(gateway: Gateway) -> Any:
    async def streamed() -> Any:
        async with agent(gateway, "streamed").run_stream(acting.QUESTION) as result:
            await result.get_output()
            return {"calls": calls_in(result.all_messages())}

    return asyncio.run(streamed())


def structured(gateway: Gateway) -> Any:
    made = Agent(model(gateway, "structured"), output_type=NativeOutput(Person))
    return made.run_sync("Invent a person.").output.model_dump()


def called(gateway: Gateway) -> Any:
    return Agent(model(gateway, "called"), output_type=Person).run_sync("Invent a person.").output.model_dump()


def image(gateway: Gateway) -> Any:
    picture = BinaryContent.from_data_uri(acting.PICTURE)
    return {"text": Agent(model(gateway, "image")).run_sync(["What is this?", picture]).output}


def say(gateway: Gateway, act: str, **more: Any) -> Any:
    return Agent(model(gateway, act, **more)).run_sync("Hello.").output


acting.run(
    {
        "plain": plain,
        "stream": stream,
        "tool": lambda gateway: loop(gateway, "tool"),
        "tools": lambda gateway: loop(gateway, "tools"),
        "streamed": streamed_call,
        "structured": structured,
        "called": called,
        "image": image,
        "401": lambda gateway: acting.caught(lambda: say(gateway, "plain", key=acting.WRONG_KEY)),
        "404": lambda gateway: acting.caught(lambda: say(gateway, "plain", name=acting.NO_MODEL)),
        "429": lambda gateway: acting.caught(lambda: say(gateway, "throttled")),
        "retried": lambda gateway: {"text": say(gateway, "busy", retries=2)},
    }
)
