"""The API's document as a page for people: one HTML file, without scripts, that asks nobody for anything."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: .95rem; margin: 1.25rem 0 .25rem; }
p { margin: .4rem 0; }
nav { margin: 1rem 0; display: flex; flex-wrap: wrap; gap: .25rem .9rem; }
code, pre { font: .88em/1.5 ui-monospace, monospace; }
pre { background: var(--soft); padding: .75rem; overflow-x: auto; border-radius: .4rem; }
details { border: 1px solid var(--line); border-radius: .4rem; margin: .4rem 0; padding: 0 .75rem; }
details[open] { padding-bottom: .75rem; }
summary { cursor: pointer; padding: .5rem 0; overflow-wrap: anywhere; }
summary span { opacity: .8; display: block; }
b.m { display: inline-block; min-width: 4.2em; font-size: .8em; letter-spacing: .03em; }
table { width: 100%; border-collapse: collapse; font-size: .92rem; }
td, th { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
td:first-child { width: 30%; }
.need { opacity: .75; font-size: .85em; }
:target { outline: 2px solid; outline-offset: 3px; }
@media (max-width: 40rem) { td { display: block; border: 0; padding: 0; } td:first-child { width: auto; }
  tr { display: block; border-bottom: 1px solid var(--line); padding: .35rem 0; } summary span { font-size: .92em; } }
"""

POLICY = "; ".join(
    [
        "default-src 'none'",
        f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""The page's Content-Security-Policy: its own style, by its hash, and nothing else from anywhere."""

Json = Mapping[str, Any]


def page(document: Json) -> str:
    """The page of an OpenAPI document as `api_document` writes it."""
    info = document["info"]
    tags: dict[str, list[str]] = {tag["name"]: [] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tags[operation["tags"][0]].append(_operation(method, path, operation, document["components"]["responses"]))
    links = "".join(f'<a href="#{_anchor(tag)}">{escape(tag)}</a>' for tag in [*tags, "types"])
    sections = "".join(f'<h2 id="{_anchor(tag)}">{escape(tag)}</h2>\n{"".join(each)}' for tag, each in tags.items())
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info['title'])}: API</title>",
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
            f"<p>{escape(info['description'])}</p>",
            '<p>For programs: <a href="/openapi.json">openapi.json</a>.</p>',
            f"<nav>{links}</nav>",
            sections,
            '<h2 id="t-types">types</h2>',
            *(_type(name, schema) for name, schema in document["components"]["schemas"].items()),
            "</body></html>",
            "",
        ]
    )


def _operation(method: str, path: str, operation: Json, refusals: Json) -> str:
    needs = {"public": "nothing", "caller": "any key"}.get(operation["x-gate"], f"a key with `{operation['x-gate']}`")
    about = "".join(f"<p>{_prose(part)}</p>" for part in operation.get("description", "").split("\n\n") if part)
    parts = [
        f'<details id="{escape(operation["operationId"])}">',
        f'<summary><b class="m">{method.upper()}</b> <code>{escape(path)}</code>',
        f"<span>{_prose(operation['summary'])}</span></summary>",
        about,
        f'<p class="need">Needs {_prose(needs)}.</p>',
        _parameters(operation.get("parameters", ())),
    ]
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        parts.append(f"<h3>Body</h3><p>{_kind(schema)}</p>")
    parts.append("<h3>Answers</h3>")
    answers = {
        status: refusals[each["$ref"].rpartition("/")[2]] if "$ref" in each else each
        for status, each in operation["responses"].items()
    }
    parts.append(_table(_answer(status, each) for status, each in answers.items()))
    return "".join([*parts, "</details>\n"])


def _parameters(parameters: Iterable[Json]) -> str:
    rows = [
        (
            f"<code>{escape(each['name'])}</code> <span class='need'>{escape(each['in'])}</span>",
            f"{_kind(each['schema'])}{_must(each.get('required', False))}<br>{_prose(each.get('description', ''))}",
        )
        for each in parameters
    ]
    return f"<h3>Parameters</h3>{_table(rows)}" if rows else ""


def _answer(status: str, response: Json) -> tuple[str, str]:
    kinds = []
    for media, content in response["content"].items():
        shown = _codes(content) or _kind(content["schema"])
        kinds.append(shown if media == "application/json" else f"<code>{escape(media)}</code>")
    return f"<b>{status}</b>", f"{_prose(response['description'])}<br>{' or '.join(kinds)}"


def _codes(content: Json) -> str:
    """The codes of a refusal."""
    errors = [each["value"]["error"] for each in content.get("examples", {}).values()]
    return "<br>".join(f"<code>{escape(str(each['code']))}</code> {_prose(each['message'])}" for each in errors)


def _type(name: str, schema: Json) -> str:
    rows = [
        (
            f"<code>{escape(field)}</code>",
            f"{_kind(each)}{_must(field in schema.get('required', ()))}<br>{_prose(each.get('description', ''))}",
        )
        for field, each in schema.get("properties", {}).items()
    ]
    about = f"<p>{_prose(schema.get('description', ''))}</p>"
    body = _table(rows) if rows else f"<p>{_kind(schema)}</p>"
    return f'<section id="{_anchor(name)}"><h3><code>{escape(name)}</code></h3>{about}{body}</section>\n'


def _kind(schema: Json) -> str:
    """What a schema allows, in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{_anchor(name)}">{escape(name)}</a>'
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return " | ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return (" and " if several == "allOf" else " | ").join(map(_kind, schema[several]))
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object, each value {_kind(schema['additionalProperties'])}"
    return escape(" | ".join(kind) if isinstance(kind, list) else kind) + _bounds(schema)


def _bounds(schema: Json) -> str:
    names = {"minimum": "from", "maximum": "to", "default": "else", "pattern": "like"}
    found = [f"{word} {escape(str(schema[name]))}" for name, word in names.items() if schema.get(name) is not None]
    return f" <span class='need'>{', '.join(found)}</span>" if found else ""


def _must(required: bool) -> str:
    return " <span class='need'>required</span>" if required else ""


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return f"<table>{''.join(f'<tr><td>{left}</td><td>{right}</td></tr>' for left, right in rows)}</table>"


def _prose(text: str) -> str:
    """Text with code between backticks."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def _anchor(name: str) -> str:
    return "t-" + "".join(character if character.isalnum() else "-" for character in name)
