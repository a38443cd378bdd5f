"""The conversation: OpenAI's messages as Google's turns of user and model."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gateway_core.errors import InvalidRequest
from gateway_core.wire.untrusted import NONSENSE
from spl_provider_gemini.given import Given, Json
from spl_provider_gemini.names import Names
from spl_provider_gemini.parts import parts_of, texts_of

OPENING = "Begin."
"""What the user is taken to have said where the API wants him to speak first, and he has not."""

CLOSING = "Continue."
"""The same where it wants him to speak last."""

_decode = msgspec.json.Decoder().decode
_TURNS = {"user": "user", "assistant": "model"}


class Waiting(msgspec.Struct):
    """A call whose result has not come yet."""

    id: str
    name: str
    response: Json | None = None
    #: What of its result is no text, and cannot stand inside.
    beside: list[Json] = []


class Conversation:
    """The turns as they grow, message by message."""

    __slots__ = ("_given", "_names", "_unanswered", "_waiting", "system", "turns")

    def __init__(self, given: Given, names: Names) -> None:
        self._given = given
        self._names = names
        self._waiting: list[Waiting] = []
        #: Id → those of them that have no result, the first one last.
        self._unanswered: dict[str, list[Waiting]] = {}
        #: The text that stands before all turns.
        self.system: list[Json] = []
        self.turns: list[Json] = []

    def add(self, index: int, message: Mapping[str, Any]) -> None:
        """The next message. Raises InvalidRequest where it cannot follow, or cannot be said."""
        role = message["role"]
        if len(message) == 2 and role in _TURNS and isinstance(text := message.get("content"), str):
            # Text and nothing else, as most are: the same as below, and shorter.
            if self._waiting:
                self._close_results(f"messages[{index}]")
            self._say(_TURNS[role], [{"text": text}] if text else [])
            return
        place = f"messages[{index}].content"
        if role == "tool":
            self._result(message, index, place)
            return
        if self._waiting:
            self._close_results(f"messages[{index}]")
        if role == "user":
            self._say("user", parts_of(message["content"], place, self._given))
        elif role == "assistant":
            self._assistant(message, index, place)
        elif role == "function":
            raise _legacy(f"messages[{index}].role", "role function")
        else:
            texts = texts_of(message["content"], place)
            if self.turns:
                self._say("user", texts)
            else:
                self.system += texts

    def finish(self) -> None:
        """After the last message."""
        if self._waiting:
            self._close_results("messages")
        turns = self.turns
        if not turns or turns[0]["role"] == "model":
            turns.insert(0, {"role": "user", "parts": [{"text": OPENING}]})
        if turns[-1]["role"] == "model" and not self._given.rules.prefill:
            turns.append({"role": "user", "parts": [{"text": CLOSING}]})
        if self._given.rules.signatures == "required":
            _sign(turns, self._given.rules.dummy_signature)

    def _say(self, role: str, parts: list[Json]) -> None:
        """Adds to the turn of this role, or begins one."""
        if not parts:
            return
        last = self.turns[-1] if self.turns else None
        if last is not None and last["role"] == role and not self._is_apart(last):
            last["parts"] += parts
        else:
            self.turns.append({"role": role, "parts": parts})

    def _is_apart(self, turn: Json) -> bool:
        return self._given.rules.results_alone and "functionResponse" in turn["parts"][0]

    def _assistant(self, message: Mapping[str, Any], index: int, place: str) -> None:
        if message.get("function_call") is not None:
            raise _legacy(f"messages[{index}].function_call", "function_call")
        parts = texts_of(message.get("content"), place)
        calls = message.get("tool_calls") or ()
        if not parts and isinstance(refusal := message.get("refusal"), str) and refusal:
            parts.append({"text": refusal})
        if not parts and not calls and message.get("audio") is not None:
            raise InvalidRequest(
                f"messages[{index}].audio names audio that this model has not: send what was said as content.",
                param=f"messages[{index}].audio",
            )
        if signature := _signature_in(message):
            if parts:
                parts[-1]["thoughtSignature"] = signature
            elif not calls:
                parts.append({"text": "", "thoughtSignature": signature})
        for at, call in enumerate(calls):
            parts.append(self._call(call, f"messages[{index}].tool_calls[{at}]"))
        for waiting in reversed(self._waiting):
            self._unanswered.setdefault(waiting.id, []).append(waiting)
        self._say("model", parts)

    def _call(self, call: Mapping[str, Any], place: str) -> Json:
        function = call.get("function")
        if function is None:
            raise InvalidRequest(f"{place} is a custom tool's: this model knows functions only.", param=f"{place}.type")
        name, call_id = self._names.sent(function["name"]), call["id"]
        self._waiting.append(Waiting(call_id, name))
        said: Json = {"name": name, "args": arguments_of(function["arguments"])}
        if self._given.rules.call_ids:
            said = {"id": call_id, **said}
        part: Json = {"functionCall": said}
        if self._given.rules.signatures != "none":
            signature = _signature_in(call) or self._given.signatures.get(call_id)
            if signature:
                part["thoughtSignature"] = signature
        return part

    def _result(self, message: Mapping[str, Any], index: int, place: str) -> None:
        """Puts a result to the first call of its id that has none."""
        unanswered = self._unanswered.get(message["tool_call_id"])
        if not unanswered:
            raise InvalidRequest(
                f"messages[{index}] answers no tool call of the assistant message before it.",
                param=f"messages[{index}].tool_call_id",
            )
        call = unanswered.pop()
        content = message.get("content")
        if isinstance(content, list):
            parts = parts_of(content, place, self._given)
            call.beside = [part for part in parts if "text" not in part]
            content = "".join([part["text"] for part in parts if "text" in part])
        call.response = response_of(content or "")

    def _close_results(self, param: str) -> None:
        """All results of one assistant message as one user's turn, in the order of the calls."""
        rules = self._given.rules
        parts: list[Json] = []
        after: list[Json] = []
        for call in self._waiting:
            if call.response is None:
                raise InvalidRequest(f"No tool message answers the tool call {call.id!r}.", param=param)
            answer: Json = {"name": call.name, "response": call.response}
            if rules.call_ids:
                answer = {"id": call.id, **answer}
            if call.beside and rules.media_in_results:
                answer["parts"] = call.beside
            else:
                after += call.beside
            parts.append({"functionResponse": answer})
        self._waiting = []
        self._unanswered = {}
        self._say("user", parts + after)


def convert(messages: Iterable[Mapping[str, Any]], given: Given, names: Names) -> Conversation:
    """All messages. Raises InvalidRequest, naming the field that this model cannot be told."""
    conversation = Conversation(given, names)
    for index, message in enumerate(messages):
        conversation.add(index, message)
    conversation.finish()
    return conversation


def arguments_of(text: str) -> Json:
    """A call's arguments as the object that they must be; what is none stands inside one."""
    if not text:
        return {}
    try:
        value = _decode(text)
    except NONSENSE:
        value = text
    return value if isinstance(value, dict) else {"input": value}


def response_of(text: str) -> Json:
    """A tool's result as the object that it must be; what is none stands inside one."""
    if text[:1] in ("{", "[", " ", "\n"):
        try:
            value = _decode(text)
        except NONSENSE:
            value = text
        if isinstance(value, dict):
            return value
        if isinstance(value, list):
            return {"output": value}
    return {"output": text}


def unsigned_ids(messages: Iterable[Mapping[str, Any]]) -> list[str]:
    """The calls of a conversation that do not bring their signature: what is asked of the memory."""
    return [
        call["id"]
        for message in messages
        for call in (message.get("tool_calls") or () if message["role"] == "assistant" else ())
        if _signature_in(call) is None
    ]


def _sign(turns: list[Json], dummy: str) -> None:
    """The first call of each step of the current turn has a signature, be it the one that stands for a lost one."""
    for turn in reversed(turns):
        if turn["role"] == "user":
            if not any("functionResponse" in part for part in turn["parts"]):
                return  # here the current turn began: words beside results may not begin one
        else:
            first = next((part for part in turn["parts"] if "functionCall" in part), None)
            if first is not None:
                first.setdefault("thoughtSignature", dummy)


def _signature_in(holder: Mapping[str, Any]) -> str | None:
    """The signature that a client gives back, where Google's own OpenAI-compatible endpoint has it."""
    extra = holder.get("extra_content")
    google = extra.get("google") if isinstance(extra, dict) else None
    signature = google.get("thought_signature") if isinstance(google, dict) else None
    return signature if isinstance(signature, str) and signature else None


def _legacy(param: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{what} is not supported with this model: use tools and tool_calls.", param=param)
