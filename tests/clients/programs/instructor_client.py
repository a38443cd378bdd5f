"""instructor over openai-python: everything it does is structured output."""

from typing import Any

import acting
import instructor
from acting import Gateway
from openai import OpenAI
from pydantic import BaseModel


class Person(BaseModel):
    """Who."""

    name: str
    age: int


def client(gateway: Gateway, mode: Any, *, key: str | None = None, retries: int = 0) -> Any:
    made = OpenAI(base_url=gateway.base_url, api_key=key or gateway.key, max_retries=retries)
    return instructor.from_openai(made, mode=mode)


def ask(gateway: Gateway, act: str, mode: Any, *, model: str | None = None, **more: Any) -> Any:
    messages = [{"role": "user", "content": "Invent a person."}]
    create = client(gateway, mode, **more).chat.completions.create
    return create(model=model or gateway.model(act), messages=messages, response_model=Person, max_retries=1)


def structured(gateway: Gateway) -> Any:
    return ask(gateway, "structured", instructor.Mode.JSON_SCHEMA).model_dump()


def called(gateway: Gateway) -> Any:
    return ask(gateway, "called", instructor.Mode.TOOLS).model_dump()


def plain(gateway: Gateway) -> Any:
    """The person with the answer that it came in: its usage."""
    create = client(gateway, instructor.Mode.JSON_SCHEMA).chat.completions.create_with_completion
    messages = [{"role": "user", "content": "Invent a person."}]
    person, answer = create(model=gateway.model("structured"), messages=messages, response_model=Person)
    return {
        "text": f"{person.name} {person.age}",
        "finish": answer.choices[0].finish_reason,
        "usage": acting.usage(answer.usage.prompt_tokens, answer.usage.completion_tokens),
    }


def stream(gateway: Gateway) -> Any:
    create = client(gateway, instructor.Mode.JSON_SCHEMA).chat.completions.create_partial
    messages = [{"role": "user", "content": "Invent a person."}]
    seen = list(create(model=gateway.model("structured"), messages=messages, response_model=Person))
    return {"text": f"{seen[-1].name} {seen[-1].age}", "pieces": len(seen)}


def image(gateway: Gateway) -> Any:
    parts = ["What is this?", instructor.Image.from_base64(acting.PICTURE)]
    create = client(gateway, instructor.Mode.JSON_SCHEMA).chat.completions.create
    messages = [{"role": "user", "content": parts}]
    person = create(model=gateway.model("pictured"), messages=messages, response_model=Person)
    return {"text": f"{person.name} {person.age}"}


JSON = instructor.Mode.JSON_SCHEMA

acting.run(
    {
        "plain": plain,
        "stream": stream,
        "structured": structured,
        "called": called,
        "image": image,
        "401": lambda gateway: acting.caught(lambda: ask(gateway, "structured", JSON, key=acting.WRONG_KEY)),
        "404": lambda gateway: acting.caught(lambda: ask(gateway, "structured", JSON, model=acting.NO_MODEL)),
        "429": lambda gateway: acting.caught(lambda: ask(gateway, "throttled", JSON)),
        "retried": lambda gateway: ask(gateway, "called-busy", instructor.Mode.TOOLS, retries=2).model_dump(),
    }
)
