"""LlamaIndex: llama-index-llms-openai-like's OpenAILike."""

from typing import Any

import acting
from acting import Gateway
from llama_index.core.llms import ChatMessage, ImageBlock, MessageRole, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel


class Person(BaseModel):
    """Who."""

    name: str
    age: int


def get_weather(city: str) -> str:
    """The weather of a city, now."""
    return f"{city}: {acting.RESULT}"


def model(gateway: Gateway, act: str, **more: Any) -> OpenAILike:
    settings = {
        "model": gateway.model(act),
        "api_base": gateway.base_url,
        "api_key": gateway.key,
        "is_chat_model": True,
        "is_function_calling_model": True,
        "max_retries": 0,
        **more,
    }
    return OpenAILike(**settings)


def said(text: str) -> list[ChatMessage]:
    return [ChatMessage(role=MessageRole.USER, content=text)]


def plain(gateway: Gateway) -> Any:
    answer = model(gateway, "plain").chat(said("Hello."))
    counts = answer.raw.usage
    return {
        "text": answer.message.content,
        "finish": answer.raw.choices[0].finish_reason,
        "usage": acting.usage(counts.prompt_tokens, counts.completion_tokens),
    }


def stream(gateway: Gateway) -> Any:
    more = {"stream_options": {"include_usage": True}}
    parts = list(model(gateway, "stream", additional_kwargs=more).stream_chat(said("Hello.")))
    counts = next(part.raw.usage for part in reversed(parts) if part.raw.usage)
    return {
        "text": parts[-1].message.content,
        "pieces": len([part for part in parts if part.delta]),
        "usage": acting.usage(counts.prompt_tokens, counts.completion_tokens),
    }


def loop(gateway: Gateway, act: str) -> Any:
    llm = model(gateway, act)
    tools = [FunctionTool.from_defaults(get_weather)]
    messages = said(acting.QUESTION)
    answer = llm.chat_with_tools(tools, chat_history=messages, allow_parallel_tool_calls=True)
    calls = llm.get_tool_calls_from_response(answer, error_on_no_tool_call=False)
    messages.append(answer.message)
    for call in calls:
        about = {"tool_call_id": call.tool_id, "name": call.tool_name}
        result = get_weather(**call.tool_kwargs)
        messages.append(ChatMessage(role=MessageRole.TOOL, content=result, additional_kwargs=about))
    final = llm.chat_with_tools(tools, chat_history=messages)
    return {"calls": [[call.tool_name, call.tool_kwargs] for call in calls], "text": final.message.content}


def streamed_call(gateway: Gateway) -> Any:
    llm = model(gateway, "streamed")
    tools = [FunctionTool.from_defaults(get_weather)]
    last = list(llm.stream_chat_with_tools(tools, chat_history=said(acting.QUESTION)))[-1]
    calls = llm.get_tool_calls_from_response(last, error_on_no_tool_call=False)
    return {"calls": [[call.tool_name, call.tool_kwargs] for call in calls]}


def structured(gateway: Gateway) -> Any:
    llm = model(gateway, "structured", should_use_structured_outputs=True)
    return llm.as_structured_llm(Person).chat(said("Invent a person.")).raw.model_dump()


def image(gateway: Gateway) -> Any:
    blocks = [TextBlock(text="What is this?"), ImageBlock(image=acting.PNG.encode(), image_mimetype="image/png")]
    answer = model(gateway, "image").chat([ChatMessage(role=MessageRole.USER, blocks=blocks)])
    return {"text": answer.message.content}


def say(gateway: Gateway, act: str, **more: Any) -> Any:
    return model(gateway, act, **more).chat(said("Hello.")).message.content


acting.run(
    {
        "plain": plain,
        "stream": stream,
        "tool": lambda gateway: loop(gateway, "tool"),
        "tools": lambda gateway: loop(gateway, "tools"),
        "streamed": streamed_call,
        "structured": structured,
        "image": image,
        "401": lambda gateway: acting.caught(lambda: say(gateway, "plain", api_key=acting.WRONG_KEY)),
        "404": lambda gateway: acting.caught(lambda: say(gateway, "plain", model=acting.NO_MODEL)),
        "429": lambda gateway: acting.caught(lambda: say(gateway, "throttled")),
        "retried": lambda gateway: {"text": say(gateway, "busy", max_retries=3)},
    }
)
