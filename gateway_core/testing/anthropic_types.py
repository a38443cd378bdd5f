"""A request held to the types of Anthropic's own SDK, every field of every object, refused in the API's words."""

import types
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, Required, Union, get_args, get_origin

from anthropic.types import message_create_params as params
from typing_extensions import get_type_hints, is_typeddict

_REMOVED = ("temperature", "top_p", "top_k")
_WITHOUT_SAMPLING = "2026-10-21"
# These are headers or of no use to anybody who may call here.
_NOT_IN_BODIES = frozenset({"workspace_id"})


class Refused(Exception):
    """A 400 with the API's message."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def check_types(body: Mapping[str, Any], version: str) -> None:
    """Raises Refused for what the SDK's types do not have. Sampling left them with a version of the API's."""
    rest = dict(body)
    if version < _WITHOUT_SAMPLING:
        for name in _REMOVED:
            value = rest.pop(name, None)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise Refused(f"{name}: Input should be a valid number")
    for name in _NOT_IN_BODIES & set(rest):
        raise Refused(f"{name}: Extra inputs are not permitted")
    kind = params.MessageCreateParamsStreaming if rest.get("stream") else params.MessageCreateParamsNonStreaming
    _check(rest, kind, "")


@lru_cache(maxsize=1024)  # the types never change
def _fields(kind: Any) -> tuple[Mapping[str, Any], frozenset[str]]:
    marked: dict[str, Any] = get_type_hints(kind, include_extras=True)
    return get_type_hints(kind), frozenset(name for name, hint in marked.items() if _is_required(get_origin(hint)))


def _is_required(origin: Any) -> bool:
    return origin is Required


def _check(value: Any, kind: Any, path: str) -> None:
    if kind is Any or kind is object:
        return
    origin = get_origin(kind)
    if origin is Union or origin is types.UnionType:
        _check_union(value, get_args(kind), path)
    elif origin is Literal:
        if value not in get_args(kind) or isinstance(value, bool) != isinstance(get_args(kind)[0], bool):
            raise Refused(f"{path}: Input should be {' or '.join(repr(one) for one in get_args(kind))}")
    elif is_typeddict(kind):
        _check_object(value, kind, path)
    elif origin is not None:
        _check_container(value, origin, get_args(kind), path)
    elif kind is type(None):
        if value is not None:
            raise Refused(f"{path}: Input should be null")
    elif kind in (str, bool, int, float):
        _check_scalar(value, kind, path)
    else:  # what only the SDK itself can be given: models of answers, paths of files
        raise Refused(f"{path}: Input should be an object of the API's")


def _check_scalar(value: Any, kind: Any, path: str) -> None:
    good = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    if kind is float:
        good = isinstance(value, int | float) and not isinstance(value, bool)
    if not good:
        words = {str: "string", bool: "boolean", int: "integer", float: "number"}
        raise Refused(f"{path}: Input should be a valid {words[kind]}")


def _check_container(value: Any, origin: Any, arguments: tuple[Any, ...], path: str) -> None:
    if origin is dict or origin is Mapping or getattr(origin, "__name__", "") == "Mapping":
        if not isinstance(value, dict):
            raise Refused(f"{path}: Input should be a valid dictionary")
        for name, child in value.items():
            _check(child, arguments[1], f"{path}.{name}")
        return
    if not isinstance(value, list):
        raise Refused(f"{path}: Input should be a valid list")
    for index, child in enumerate(value):
        _check(child, arguments[0], f"{path}.{index}")


def _check_object(value: Any, kind: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise Refused(f"{path}: Input should be a valid dictionary or object")
    fields, required = _fields(kind)
    for name in required - set(value):
        raise Refused(f"{path}.{name}: Field required".lstrip("."))
    open_ended = (getattr(kind, "__pydantic_config__", None) or {}).get("extra") == "allow"
    for name, child in value.items():
        place = f"{path}.{name}".lstrip(".")
        if name in fields:
            _check(child, fields[name], place)
        elif not open_ended:
            raise Refused(f"{place}: Extra inputs are not permitted")


def _check_union(value: Any, members: tuple[Any, ...], path: str) -> None:
    """Of tagged objects the one that is meant, else any that fits."""
    if isinstance(value, dict):
        meant = [member for member in members if is_typeddict(member) and _is_meant(value, member)]
        if len(meant) == 1 and any("type" in value or "role" in value for _ in meant):
            _check_object(value, meant[0], path)
            return
    refused = Refused(f"{path}: Input does not fit any of the types allowed")
    for member in members:
        try:
            _check(value, member, path)
        except Refused as error:
            if error.message.count(".") > refused.message.count("."):
                refused = error
        else:
            return
    raise refused


def _is_meant(value: Mapping[str, Any], member: Any) -> bool:
    fields, _ = _fields(member)
    tags = [name for name in ("type", "role") if get_origin(fields.get(name)) is Literal]
    return bool(tags) and all(value.get(name) in get_args(fields[name]) for name in tags)
