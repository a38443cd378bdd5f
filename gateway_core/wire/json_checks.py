"""What a JSON decoder lets through and we do not: duplicate keys, and nesting without end."""

import json
from typing import Any

from gateway_core.errors import InvalidRequest

MAX_DEPTH = 64
"""Objects and arrays inside each other, the body itself included."""


def check_depth(body: bytes, value: Any) -> None:
    """Raises InvalidRequest where `value`, decoded from `body`, is nested deeper than MAX_DEPTH."""
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return  # not so many brackets in all: the usual case, for the price of two counts
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


def too_deep() -> InvalidRequest:
    """The refusal of a body that is nested too deeply."""
    return InvalidRequest(f"The request's JSON is nested more than {MAX_DEPTH} levels deep.")


def check_duplicates(body: bytes, colons: int) -> None:
    """Raises InvalidRequest where an object in `body` names a key twice; `colons` are those in its decoded value,
    encoded anew.

    A decoder drops all but the last of equal keys, and with each its colon. Our encoder writes every colon
    literally, so as long as the body has none written as an escape (which begins \\u003), the number of colons
    before and after is the same exactly where nothing was dropped. Only otherwise the slow and exact look is needed.
    """
    if body.count(b":") == colons and b"\\u003" not in body:
        return
    path = _duplicate(json.loads(body, object_pairs_hook=_Pairs, parse_int=str, parse_float=str))
    if path is not None:
        raise InvalidRequest(f"The key {path} appears more than once.", param=path)


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
