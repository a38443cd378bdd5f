"""What the programs share: what each client is asked to do, and how it tells what it saw.

    PROGRAM BASE_URL KEY PROVIDER…

A program does every act with every provider, and prints {provider: {act: what it saw}} as its last line. A model is
named for its provider and its act, so that the test can script what the upstream says. An act that fails is
{"failed": why}.
"""

import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

QUESTION = "What is the weather in Lisbon?"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city, now.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Its name."}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
RESULT = "22 degrees and sunny"
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
#: A picture of one pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE = f"data:image/png;base64,{PNG}"
NO_MODEL = "no-such-model"
WRONG_KEY = "sk-this-is-no-key"


@dataclass(frozen=True)
class Gateway:
    """Where the gateway is, and which provider's models are meant."""

    base_url: str
    key: str
    provider: str

    def model(self, act: str) -> str:
        """The model of an act."""
        return f"{self.provider}-{act}"


def usage(prompt: int | None, completion: int | None) -> dict[str, int | None]:
    """Tokens as a client read them."""
    return {"input": prompt, "output": completion}


def caught(act: Callable[[], Any]) -> dict[str, str]:
    """The exception that an act ends with: its class, and what it says."""
    try:
        act()
    except Exception as error:  # noqa: BLE001  # which one it is, is the question
        return {"raised": type(error).__name__, "says": str(error)}
    return {"raised": ""}


def run(acts: dict[str, Callable[[Gateway], Any]]) -> None:
    """Does every act with every provider, and tells what was seen."""
    base_url, key, *providers = sys.argv[1:]
    seen: dict[str, dict[str, Any]] = {}
    for provider in providers:
        gateway = Gateway(base_url, key, provider)
        seen[provider] = {}
        for name, act in acts.items():
            try:
                seen[provider][name] = act(gateway)
            except Exception:  # noqa: BLE001  # the next act is tried all the same
                seen[provider][name] = {"failed": traceback.format_exc()}
    sys.stdout.write("\n" + json.dumps(seen) + "\n")
