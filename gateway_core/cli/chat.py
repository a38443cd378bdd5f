"""`spl chat`: one call to a model, as an application would make it."""

import sys
from typing import TYPE_CHECKING, Any

import click

from gateway_core.cli.options import connected
from gateway_core.cli.output import on_terminal, style
from gateway_core.cli.target import Target

if TYPE_CHECKING:
    from gateway_core.cli.client import Api

PATH = "/v1/chat/completions"


@click.command(short_help="Call a model and print its answer as it comes.")
@click.argument("model")
@click.argument("text")
@click.option("--system", metavar="TEXT", help="Instructions that come before the text.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="The most tokens to answer with.")
@click.option("--no-stream", is_flag=True, help="Wait for the whole answer.")
@click.option(
    "-o", "--output", "form", type=click.Choice(["text", "json"]), default="text", help="json: the whole answer object."
)
@connected
@click.pass_obj
def chat(
    target: Target, model: str, text: str, system: str | None, max_tokens: int | None, no_stream: bool, form: str
) -> None:
    """Call MODEL with TEXT (`-` reads it from standard input) and print the answer as it comes.

    On a terminal the tokens and the cost follow on standard error.

    \b
    Example:
      spl chat demo "Write a haiku about ledgers"
      git diff | spl chat gpt-4o - --system "Write a commit message"
    """
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": sys.stdin.read() if text == "-" else text})
    body = {"model": model, "messages": messages, "max_tokens": max_tokens}
    if form == "json":
        target.run(lambda api: _whole(api, body))
    elif no_stream:
        target.run(lambda api: _plain(api, body))
    else:
        target.run(lambda api: _streamed(api, body))


async def _whole(api: "Api", body: dict[str, Any]) -> None:
    import json

    click.echo(json.dumps(await api.post(PATH, body), ensure_ascii=False, indent=2))


async def _plain(api: "Api", body: dict[str, Any]) -> None:
    answer = await api.post(PATH, body)
    for choice in answer["choices"]:
        message = choice["message"]
        _write(message.get("content") or message.get("refusal") or "")
    sys.stdout.write("\n")
    _cost(answer.get("usage"))


async def _streamed(api: "Api", body: dict[str, Any]) -> None:
    body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    usage, begun = None, False
    try:
        async for event in api.events(PATH, body):
            begun = True
            usage = event.get("usage") or usage
            for choice in event.get("choices", ()):
                delta = choice.get("delta", {})
                _write(delta.get("content") or delta.get("refusal") or "")
    finally:
        if begun:
            sys.stdout.write("\n")
            sys.stdout.flush()
    _cost(usage)


def _write(text: str) -> None:
    """Prints a piece of the answer; what a model says does not get to steer the terminal."""
    if on_terminal(sys.stdout):
        text = "".join(char for char in text if char.isprintable() or char in "\n\t")
    sys.stdout.write(text)
    sys.stdout.flush()


def _cost(usage: dict[str, Any] | None) -> None:
    if usage is None or not on_terminal(sys.stderr):
        return
    cost = f", {usage['cost_cents']} ¢" if "cost_cents" in usage else ""
    line = f"{usage['prompt_tokens']} tokens in, {usage['completion_tokens']} out{cost}"
    click.echo(style(line, sys.stderr, "2"), err=True)
