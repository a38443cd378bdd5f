"""`spl tokenize`: a text as a model's tokenizer sees it."""

import sys
from typing import Any

import click

from gateway_core.cli.options import connected
from gateway_core.cli.output import Column, chosen, coloured, print_object, print_rows, printable
from gateway_core.cli.target import Target

#: Backgrounds that take turns, so that one sees where a token ends.
_COLOURS = ("48;5;24", "48;5;58", "48;5;52", "48;5;22", "48;5;54")

_COLUMNS = (
    Column("id", "ID", number=True),
    Column("text", "TEXT", show=lambda text: repr(text)[1:-1]),
    Column("bytes", "BYTES", show=lambda data: " ".join(f"{byte:02x}" for byte in data)),
)


@click.command(short_help="Show the tokens of a text.")
@click.argument("model")
@click.argument("text")
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(("text", "table", "json", "jsonl", "csv")),
    help="How to print.  [default: coloured text on a terminal, json elsewhere]",
)
@connected
@click.pass_obj
def tokenize(target: Target, model: str, text: str, form: str | None) -> None:
    """Show how MODEL's tokenizer cuts TEXT (`-` reads it from standard input), and how many tokens it has.

    Where the model's family publishes no tokenizer the tokens are approximate, and marked so. Counts as a request.

    \b
    Example:
      spl tokenize gpt-4o "How many tokens are these?"
      spl tokenize gpt-4o - -o json < prompt.txt | jq .count
    """
    body = {"model": model, "text": sys.stdin.read() if text == "-" else text}
    answer: dict[str, Any] = target.run(lambda api: api.post("/v1/tokenize-text", body))
    form = form or ("text" if chosen(None, sys.stdout) == "table" else "json")
    if form == "json":
        print_object("json", (), answer)
    elif form == "text":
        _print_text(answer)
    else:
        print_rows(form, _COLUMNS, answer["tokens"], empty="no tokens")


def _print_text(answer: dict[str, Any]) -> None:
    colours = coloured(sys.stdout)
    for index, token in enumerate(answer["tokens"]):
        if not colours:
            sys.stdout.write(("|" if index else "") + _visible(token["text"]))
            continue
        for number, line in enumerate(token["text"].split("\n")):
            # A line's end carries no background: a terminal would paint the rest of the line.
            end = "\n" if number else ""
            sys.stdout.write(f"{end}\x1b[{_COLOURS[index % len(_COLOURS)]}m{printable(line)}\x1b[0m" if line else end)
    about = "about " if answer["approximate"] else ""
    sys.stdout.write(f"\n{about}{answer['count']} tokens\n")


def _visible(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
