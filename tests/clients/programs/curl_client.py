"""curl, and what a shell sees: a status, headers, lines."""

import json
import subprocess
from typing import Any

import acting
from acting import Gateway


class HTTPStatus(Exception):
    """An answer that is none."""


def post(gateway: Gateway, body: Any, *, key: str | None = None, options: tuple[str, ...] = ()) -> str:
    command = ["curl", "--silent", "--show-error", "--max-time", "30", "--no-buffer", *options]
    command += ["--write-out", "\n%{http_code}", "-H", f"Authorization: Bearer {key or gateway.key}"]
    command += ["-H", "Content-Type: application/json", "--data-binary", "@-", f"{gateway.base_url}/chat/completions"]
    done = subprocess.run(command, input=json.dumps(body), capture_output=True, text=True, check=True)
    text, _, status = done.stdout.rpartition("\n")
    if status != "200":
        raise HTTPStatus(f"{status} {json.loads(text)['error']['message']}")
    return text


def ask(gateway: Gateway, act: str, content: Any = "Hello.", **more: Any) -> Any:
    sent = {"model": gateway.model(act), "messages": [{"role": "user", "content": content}]}
    options = more.pop("options", ())
    return json.loads(post(gateway, {**sent, **more}, options=options))


def plain(gateway: Gateway) -> Any:
    answer = ask(gateway, "plain")
    return {
        "text": answer["choices"][0]["message"]["content"],
        "finish": answer["choices"][0]["finish_reason"],
        "usage": acting.usage(answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]),
    }


def events(gateway: Gateway, body: Any) -> list[Any]:
    lines = [line for line in post(gateway, {**body, "stream": True}).splitlines() if line]
    assert all(line.startswith("data: ") for line in lines), lines
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def stream(gateway: Gateway) -> Any:
    body = {"model": gateway.model("stream"), "messages": [{"role": "user", "content": "Hello."}]}
    chunks = events(gateway, {**body, "stream_options": {"include_usage": True}})
    pieces = [chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]]
    counts = chunks[-1]["usage"]
    return {
        "text": "".join(pieces),
        "pieces": len([piece for piece in pieces if piece]),
        "usage": acting.usage(counts["prompt_tokens"], counts["completion_tokens"]),
    }


def loop(gateway: Gateway, act: str) -> Any:
    messages: list[Any] = [{"role": "user", "content": acting.QUESTION}]
    body = {"model": gateway.model(act), "messages": messages, "tools": [acting.WEATHER]}
    message = json.loads(post(gateway, body))["choices"][0]["message"]
    messages.append(message)
    messages += [
        {"role": "tool", "tool_call_id": call["id"], "content": acting.RESULT} for call in message["tool_calls"]
    ]
    final = json.loads(post(gateway, body))
    calls = [[call["function"]["name"], json.loads(call["function"]["arguments"])] for call in message["tool_calls"]]
    return {"calls": calls, "text": final["choices"][0]["message"]["content"]}


def streamed_call(gateway: Gateway) -> Any:
    messages = [{"role": "user", "content": acting.QUESTION}]
    body = {"model": gateway.model("streamed"), "messages": messages, "tools": [acting.WEATHER]}
    found: dict[int, list[str]] = {}
    for chunk in events(gateway, body):
        for call in chunk["choices"][0]["delta"].get("tool_calls") or ():
            one = found.setdefault(call["index"], ["", ""])
            one[0] += call["function"].get("name") or ""
            one[1] += call["function"].get("arguments") or ""
    return {"calls": [[name, json.loads(arguments)] for name, arguments in found.values()]}


def structured(gateway: Gateway) -> Any:
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": acting.PERSON}}
    answer = ask(gateway, "structured", "Invent a person.", response_format=wanted)
    return json.loads(answer["choices"][0]["message"]["content"])


def image(gateway: Gateway) -> Any:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": acting.PICTURE}}]
    return {"text": ask(gateway, "image", parts)["choices"][0]["message"]["content"]}


def say(gateway: Gateway, model: str, key: str | None = None) -> Any:
    return post(gateway, {"model": model, "messages": [{"role": "user", "content": "Hello."}]}, key=key)


def retried(gateway: Gateway) -> Any:
    # --retry takes a 429, and waits for as long as its Retry-After says; what was refused is not printed.
    answer = ask(gateway, "busy", options=("--retry", "2", "--fail"))
    return {"text": answer["choices"][0]["message"]["content"]}


acting.run(
    {
        "plain": plain,
        "stream": stream,
        "tool": lambda gateway: loop(gateway, "tool"),
        "tools": lambda gateway: loop(gateway, "tools"),
        "streamed": streamed_call,
        "structured": structured,
        "image": image,
        "401": lambda gateway: acting.caught(lambda: say(gateway, gateway.model("plain"), acting.WRONG_KEY)),
        "404": lambda gateway: acting.caught(lambda: say(gateway, acting.NO_MODEL)),
        "429": lambda gateway: acting.caught(lambda: say(gateway, gateway.model("throttled"))),
        "retried": retried,
    }
)
