"""Tool calls as OpenAI writes them, from servers that leave out, repeat or mistype parts of them."""

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway_core.errors import Unavailable
from spl_provider_openai.view import Call

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_TEXT = {"function": "arguments", "custom": "input"}


def new_id() -> str:
    """An id for a call whose server gave none: unique over turns, and a word that any provider takes."""
    return f"call_{secrets.token_hex(12)}"


def is_whole(call: Call) -> bool:
    """Whether a call in a plain answer is as OpenAI writes it."""
    if not isinstance(call.id, str) or not call.id:
        return False
    if call.function is not None:
        arguments = call.function.arguments
        return call.type == "function" and isinstance(arguments, str) and arguments.strip() != ""
    return call.type == "custom" and call.custom is not None


def whole(call: dict[str, Any]) -> dict[str, Any]:
    """A call of a plain answer as OpenAI writes it."""
    kind = _kind(call)
    holder = dict(call.get(kind) or {})
    text = _text(holder.get(_TEXT[kind]))
    holder[_TEXT[kind]] = text if text.strip() or kind == "custom" else "{}"
    kept = {name: value for name, value in call.items() if name not in ("index", "id", "type", kind)}
    return {"id": _word(call.get("id")) or new_id(), "type": kind, kind: holder, **kept}


class _Begun:
    """One call that a stream has begun."""

    __slots__ = ("index", "kind", "name", "server_id", "text", "written")

    def __init__(self, index: int, kind: str, server_id: str, name: str) -> None:
        self.index = index
        self.kind = kind
        self.server_id = server_id
        self.name = name
        #: What it was given so far, kept only where nothing but its end can tell it from the next one.
        self.text: list[str] | None = None if server_id else []
        self.written = False

    def add(self, text: str) -> None:
        if text:
            self.written = self.written or text.strip() != ""
            if self.text is not None:
                self.text.append(text)

    def is_complete(self) -> bool:
        """Whether what it was given is a whole JSON value. A server that names its calls is asked by name instead."""
        try:
            _decode("".join(self.text or ()))
        except msgspec.DecodeError:
            return False
        return True


class StreamedCalls:
    """The tool calls of one choice of a stream, in the order they began."""

    __slots__ = ("_begun", "_places")

    def __init__(self) -> None:
        self._begun: list[_Begun] = []
        self._places: dict[int, _Begun] = {}  # the server's index → what it means there now

    @property
    def any(self) -> bool:
        """Whether one has begun."""
        return bool(self._begun)

    def pass_on(self, calls: Sequence[Call]) -> bool:
        """Notes fragments that are as OpenAI writes them: more arguments of a call that has begun. False, and nothing
        noted, where one is anything else."""
        for call in calls:
            begun = self._places.get(call.index) if call.index is not None else None
            if begun is None or begun.index != call.index or call.id is not None or call.type is not None:
                return False
            function = call.function
            if function is None or function.name is not None or not isinstance(function.arguments, str):
                return False
        for call in calls:
            if call.index is not None and call.function is not None:
                self._places[call.index].add(call.function.arguments)
        return True

    def written_anew(self, calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Fragments as OpenAI writes them: index in all; id, type and name in the first of a call only."""
        return [self._fragment(call) for call in calls]

    def endings(self) -> list[dict[str, Any]]:
        """What the calls still lack at the end: `{}` for functions that were given nothing.

        Raises Unavailable where a call was never given a name.
        """
        if not all(begun.name for begun in self._begun):
            raise Unavailable("called a tool without naming it")
        return [
            {"index": begun.index, "function": {"arguments": "{}"}}
            for begun in self._begun
            if begun.kind == "function" and not begun.written
        ]

    def _fragment(self, call: dict[str, Any]) -> dict[str, Any]:
        kind = _kind(call)
        holder = dict(call.get(kind) or {})
        name, given_id = _word(holder.get("name")), _word(call.get("id"))
        place = call.get("index")
        text = _text(holder.get(_TEXT[kind]))
        kept = {key: value for key, value in call.items() if key not in ("index", "id", "type", kind)}
        begun = self._meant(place, given_id, name)
        holder[_TEXT[kind]] = text
        holder.pop("name", None)
        if begun is None:
            begun = _Begun(len(self._begun), kind, given_id, name)
            self._begun.append(begun)
            head = {"index": begun.index, "id": given_id or new_id(), "type": kind}
            holder = {"name": name, **holder}
        else:
            head = {"index": begun.index}
            if name and not begun.name:
                begun.name = name
                holder = {"name": name, **holder}
        if place is not None:
            self._places[place] = begun
        begun.add(text)
        return {**head, kind: holder, **kept}

    def _meant(self, place: int | None, given_id: str, name: str) -> _Begun | None:
        """The call that a fragment goes on with; None: it begins one."""
        if given_id:
            known = next((begun for begun in self._begun if begun.server_id == given_id), None)
            if known is not None:
                return known
        current = self._places.get(place) if place is not None else None
        if current is None:
            says_what = given_id or (name and place is not None)
            if says_what or not self._begun:
                return None
            current = self._begun[-1]  # it does not say which: the one that is being written, or the next
        if not name or not current.name:
            return current
        # It is named again: by a server that repeats itself, or that counts every call as the same one.
        if given_id and current.server_id:
            return None
        return None if name != current.name or current.is_complete() else current


def _kind(call: dict[str, Any]) -> str:
    return "custom" if call.get("custom") is not None and call.get("function") is None else "function"


def _word(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _text(value: Any) -> str:
    """Arguments as JSON text; some servers send the value itself."""
    if value is None:
        return ""
    return value if isinstance(value, str) else _encode(value).decode()
