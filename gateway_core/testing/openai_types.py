"""A request held to the types of OpenAI's own SDK, refused in OpenAI's words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from openai.types.chat import completion_create_params as params
from pydantic import TypeAdapter, ValidationError

_BODY: TypeAdapter[Any] = TypeAdapter(params.CompletionCreateParams)
KNOWN = frozenset(
    {**params.CompletionCreateParamsNonStreaming.__annotations__, **params.CompletionCreateParamsBase.__annotations__}
)
"""Every field that the SDK knows."""

_TAGS = ("role", "type")
_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a decimal",
    "bool_type": "a boolean",
    "literal_error": "a boolean",
    "dict_type": "an object",
    "list_type": "an array",
    "iterable_type": "an array of objects",
}
_BOOLEANS = ("True", "False")
_GOT = (
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a decimal"),
    (str, "a string"),
    (Mapping, "an object"),
    (Sequence, "an array"),
)

Path = tuple[str | int, ...]


class Refused(Exception):
    """A 400 with OpenAI's error fields."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}


def check_types(body: Mapping[str, Any], *, unknown_refused: bool) -> None:
    """Raises Refused for a field of a wrong type, and where so asked for one that the SDK does not know."""
    if unknown_refused and (unknown := [name for name in body if name not in KNOWN]):
        word = "argument" if len(unknown) == 1 else "arguments"
        raise Refused(f"Unrecognized request {word} supplied: {', '.join(unknown)}")
    try:
        validated = _BODY.validate_python(body, strict=True)
    except ValidationError as error:
        raise _refused(error, body, ()) from None
    read = _read(validated, body, ())
    if unknown_refused:
        for path in _left_out(body, read, ()):
            raise Refused(f"Unknown parameter: '{named(path)}'.", named(path), "unknown_parameter")


def named(path: Path) -> str:
    """A place as OpenAI writes it: messages[0].content."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _read(value: Any, given: Any, path: Path) -> Any:
    """All of it: the SDK types lists as iterables, which pydantic checks only where they are read."""
    if isinstance(value, Mapping):
        return {name: _read(child, given[name], (*path, name)) for name, child in value.items()}
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        return value
    try:
        children = list(value)
    except ValidationError as error:
        raise _refused(error, given, path) from None
    return [_read(child, given[index], (*path, index)) for index, child in enumerate(children)]


def _left_out(given: Any, read: Any, path: Path) -> Iterator[Path]:
    """What validation dropped, because the type does not know it."""
    if isinstance(given, Mapping) and isinstance(read, Mapping):
        for name, child in given.items():
            if name in read:
                yield from _left_out(child, read[name], (*path, name))
            else:
                yield (*path, name)
    elif isinstance(given, list) and isinstance(read, list):
        for index, (child, other) in enumerate(zip(given, read, strict=True)):
            yield from _left_out(child, other, (*path, index))


def _refused(error: ValidationError, given: Any, above: Path) -> Refused:
    """The refusal for what a person would call the mistake: of a union, the member that the tag meant."""
    groups: dict[tuple[str, ...], list[tuple[Path, Mapping[str, Any]]]] = {}
    for one in error.errors(include_url=False):
        path, members = _place(one["loc"], given, missing=one["type"] == "missing")
        groups.setdefault(members, []).append((path, dict(one)))
    meant = [
        group
        for group in groups.values()
        if not any(one["type"] == "literal_error" and path[-1:] and path[-1] in _TAGS for path, one in group)
    ]
    first = max((group[0] for group in meant or groups.values()), key=lambda found: len(found[0]))
    same = [one for group in meant or groups.values() for path, one in group if path == first[0]]
    return _worded(named((*above, *first[0])), first[1], same)


def _place(location: Path, given: Any, *, missing: bool) -> tuple[Path, tuple[str, ...]]:
    """The steps that lead through what was given, and the names of types between them."""
    path: list[str | int] = []
    members: list[str] = []
    for at, step in enumerate(location):
        last = at == len(location) - 1
        if isinstance(given, Mapping) and (step in given or (missing and last)):
            path.append(step)
            given = given.get(str(step))
        elif isinstance(given, Sequence) and not isinstance(given, str) and isinstance(step, int):
            path.append(step)
            given = given[step]
        else:
            members.append(str(step))
    return tuple(path), tuple(members)


def _worded(param: str, error: Mapping[str, Any], same: Sequence[Mapping[str, Any]]) -> Refused:
    if error["type"] == "missing":
        return Refused(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    got = error.get("input")
    if error["type"] == "literal_error" and isinstance(got, str) and error["ctx"]["expected"] not in _BOOLEANS:
        expected = str(error["ctx"]["expected"]).replace(" or ", ", ")
        return Refused(f"Invalid value: '{got}'. Supported values are: {expected}.", param, "invalid_value")
    wanted = list(dict.fromkeys(_EXPECTED.get(one["type"], "an object") for one in same))
    expected = wanted[0] if len(wanted) == 1 else f"one of {' or '.join(wanted)}"
    kind = "null" if got is None else next((word for type_, word in _GOT if isinstance(got, type_)), "something else")
    return Refused(f"Invalid type for '{param}': expected {expected}, but got {kind} instead.", param, "invalid_type")
