"""What a JSON decoder lets through and we do not: duplicate keys, and nesting without end."""

import json
import re
from itertools import chain
from typing import Any

from gateway_core.errors import InvalidRequest

MAX_DEPTH = 64
"""Objects and arrays inside each other, the body itself included."""

MAX_NODES = 100_000
MAX_COMMAS = 400_000
"""Objects and arrays in all, and what commas divide: several times what the longest conversations have. A decoder lets
nobody else run before it is done, in a thread neither, and this much takes it some 20 ms."""

_NAMED_UP_TO = 1024 * 1024
"""Bytes of a body in which a repeated key is looked for, to name it: the look is slow."""

_SHORT = 1024
"""Bytes of a body that are counted in the time in which anything else begins."""

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
# A backslash that is itself escaped begins nothing.
_ESCAPED_COLON = re.compile(rb"(?<!\\)(?:\\\\)*\\u003[aA]")


def check_nodes(body: bytes) -> None:
    """Raises InvalidRequest where there is too much in it, before it is made."""
    if len(body) > MAX_NODES:
        _check_number(body, (b"{", b"["), MAX_NODES, "objects and arrays")
        _check_number(body, (b",",), MAX_COMMAS, "fields and elements")


def _check_number(body: bytes, marks: tuple[bytes, ...], most: int, what: str) -> None:
    if sum(map(body.count, marks)) <= most:
        return
    # Text may be full of them, too: only now is it worth its time to look outside of it.
    outside = at = 0
    for text in chain(_STRING.finditer(body), (None,)):
        end = len(body) if text is None else text.start()
        outside += sum(body.count(mark, at, end) for mark in marks)
        if outside > most:
            raise InvalidRequest(f"The request's JSON has more than {most} {what}.")
        at = end if text is None else text.end()


def check_depth(value: Any, body: bytes) -> None:
    """Raises InvalidRequest where `value`, decoded from `body`, is nested beyond MAX_DEPTH."""
    if _brackets(body) <= MAX_DEPTH:
        return  # the usual case
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise too_deep()


def _brackets(body: bytes) -> int:
    """How many `body` has, or at least that there are more than MAX_DEPTH."""
    if len(body) <= _SHORT:
        return body.count(b"{") + body.count(b"[")
    # Splitting passes over what it does not look for many times as fast, and has an end; but begins more slowly.
    return len(body.split(b"{", MAX_DEPTH + 1)) + len(body.split(b"[", MAX_DEPTH + 1)) - 2


def too_deep() -> InvalidRequest:
    """The refusal of a body that is nested too deeply."""
    return InvalidRequest(f"The request's JSON is nested more than {MAX_DEPTH} levels deep.")


def check_duplicates(body: bytes, colons: int) -> None:
    """Raises InvalidRequest where an object in `body` names a key twice; `colons` are those in its decoded value,
    encoded anew.

    A decoder drops all but the last of equal keys, and with each its colon. Our encoder writes every colon
    literally. So the colons of the body, with those written as an escape, are as many as before exactly where
    nothing was dropped: no second look at the keys is needed.
    """
    written = body.count(b":")
    if body.find(b"\\u003") >= 0:
        written += len(_ESCAPED_COLON.findall(body))
    if written == colons:
        return
    path = None
    if len(body) <= _NAMED_UP_TO:
        path = _duplicate(json.loads(body, object_pairs_hook=_Pairs, parse_int=str, parse_float=str))
    raise InvalidRequest(f"{path or 'A key'} appears more than once in its object.", param=path)


class _Pairs(list[tuple[str, Any]]):
    """An object with all its keys, the repeated ones too."""


def _duplicate(root: Any) -> str | None:
    """The path of the first repeated key, as `param` names it."""
    todo = [("", root)]
    while todo:
        path, node = todo.pop()
        if isinstance(node, _Pairs):
            seen = set[str]()
            for key, child in node:
                place = f"{path}.{key}" if path else key
                if key in seen:
                    return place
                seen.add(key)
                todo.append((place, child))
        elif isinstance(node, list):
            todo.extend((f"{path}[{index}]", child) for index, child in enumerate(node))
    return None
