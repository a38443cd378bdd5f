"""The conversation: OpenAI's messages as a system prompt and turns of user and assistant, in order and complete."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from gateway_core.errors import InvalidRequest
from spl_provider_anthropic.content import Block, all_blocks, cache_mark, text_blocks
from spl_provider_anthropic.ids import CallIds
from spl_provider_anthropic.media import Fetched

PLACEHOLDER = "."
"""A user's turn where the API demands one and the client has none: the least that says nothing."""
CLOSING = "Continue."
"""A user's turn after an assistant's last message, for models that do not continue that message themselves."""

Thoughts = Mapping[str, Sequence[Block]]
"""Id of a tool call → the thinking blocks that came right before it."""

_decode = msgspec.json.Decoder().decode
_SIDES = ("user", "assistant")


class Turn:
    """Consecutive messages of one side. A user's turn has its tool results first: the API demands that."""

    __slots__ = ("blocks", "results", "role")

    def __init__(self, role: str) -> None:
        self.role = role
        self.results: list[Block] = []
        self.blocks: list[Block] = []

    def message(self) -> dict[str, Any]:
        """As it is sent."""
        return {"role": self.role, "content": self.results + self.blocks}


class _Waiting:
    """Calls that have no result yet."""

    __slots__ = ("_ids", "place")

    def __init__(self) -> None:
        self._ids: dict[str, deque[str]] = {}
        self.place = ""

    def add(self, client_id: str, call_id: str, place: str) -> None:
        self._ids.setdefault(client_id, deque()).append(call_id)
        self.place = place

    def take(self, client_id: str) -> str | None:
        """The call's id upstream; of several under one id the first."""
        found = self._ids.get(client_id)
        if not found:
            return None
        call_id = found.popleft()
        if not found:
            del self._ids[client_id]
        return call_id

    def check_none(self) -> None:
        """Raises InvalidRequest where a call has no result: the API would refuse it."""
        if self._ids:
            raise InvalidRequest(
                f"'{self.place}': every tool call must be followed by a tool message with its tool_call_id; missing: "
                f"{', '.join(sorted(self._ids))[:200]}.",
                param=self.place,
            )


class Conversation:
    """Builds it. `thoughts` and what messages bring as `thinking_blocks` are used only where `thinking` says so."""

    __slots__ = (
        "_called",
        "_fetched",
        "_ids",
        "_system_role",
        "_thinking",
        "_thoughts",
        "_waiting",
        "system",
        "turns",
    )

    def __init__(self, *, system_role: bool, thinking: bool, thoughts: Thoughts, fetched: Fetched) -> None:
        self.system: list[Block] = []
        self.turns: list[Turn] = []
        self._system_role = system_role
        self._thinking = thinking
        self._thoughts = thoughts
        self._fetched = fetched
        self._called: list[str] = []
        self._ids = CallIds()
        self._waiting = _Waiting()

    def read(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Takes in all messages. Raises InvalidRequest, naming the field, for what the API could not take."""
        for index, message in enumerate(messages):
            role = message["role"]
            if len(message) == 2 and role in _SIDES and isinstance(text := message.get("content"), str):
                self._text(role, text)
                continue
            place = f"messages[{index}]"
            if role == "user":
                blocks = all_blocks(message["content"], f"{place}.content", self._fetched)
                if blocks:  # one that says nothing is no turn
                    self._user().blocks += _marked(blocks, message, place)
            elif role == "assistant":
                self._assistant(message, place)
            elif role in ("tool", "function"):
                self._result(message, place)
            else:
                self._instructions(_marked(text_blocks(message["content"], f"{place}.content"), message, place))
        self._waiting.check_none()

    # ------------------------------------------------------------ each role

    def _text(self, role: str, text: str) -> None:
        """A message that is text and nothing else, as most are: the same as below, and shorter."""
        if role == "assistant":
            self._waiting.check_none()
        if text and not text.isspace():
            turn = self._user() if role == "user" else self._turn(role)
            turn.blocks.append({"type": "text", "text": text})

    def _instructions(self, blocks: list[Block]) -> None:
        """A system message: at the head the system prompt, later where it stands, as near to its rank as can be."""
        if not self.turns:
            self.system += blocks
        elif blocks:
            last = self.turns[-1]
            if self._system_role and last.role in ("user", "system"):
                if last.role == "user":
                    last = self._open("system")
                last.blocks += blocks
            else:
                self._user().blocks += _wrapped(blocks)

    def _assistant(self, message: Mapping[str, Any], place: str) -> None:
        self._waiting.check_none()
        blocks: list[Block] = list(_given_thoughts(message)) if self._thinking else []
        given = bool(blocks)
        blocks += _said(message, f"{place}.content")
        first = True
        for at, call in enumerate(_calls_of(message, place)):
            client_id, name, arguments = call
            before = self._thoughts.get(client_id, ()) if self._thinking and not given else ()
            if first:
                blocks[:0] = before  # thinking comes first, before the text too
            else:
                blocks += before
            first = False
            call_id = self._ids.assign(client_id)
            self._waiting.add(client_id, call_id, f"{place}.tool_calls")
            blocks.append(_tool_use(call_id, name, arguments, message, at))
            self._called.append(name)
        if blocks:
            self._turn("assistant").blocks += _marked(blocks, message, place)

    def _result(self, message: Mapping[str, Any], place: str) -> None:
        legacy = message["role"] == "function"
        client_id = _legacy_id(message["name"]) if legacy else message["tool_call_id"]
        call_id = self._waiting.take(client_id)
        if call_id is None:
            param = f"{place}.{'name' if legacy else 'tool_call_id'}"
            raise InvalidRequest(
                f"'{param}' answers no tool call of the assistant's message before it, or one that has its result.",
                param=param,
            )
        block: Block = {"type": "tool_result", "tool_use_id": call_id}
        content = all_blocks(message.get("content"), f"{place}.content", self._fetched)
        if len(content) == 1 and len(content[0]) == 2 and "text" in content[0]:
            block["content"] = content[0]["text"]
        elif content:
            block["content"] = content
        mark = cache_mark(message, place)
        if mark is not None:
            block["cache_control"] = mark
        self._user().results.append(block)

    # ------------------------------------------------------------ turns

    def _user(self) -> Turn:
        """The user's turn that goes on, or a new one. A system message cannot stand within it: it becomes its text."""
        if self.turns and self.turns[-1].role == "system":
            late = self.turns.pop()
            self.turns[-1].blocks += _wrapped(late.blocks)
        return self._turn("user")

    def _turn(self, role: str) -> Turn:
        if self.turns and self.turns[-1].role == role:
            return self.turns[-1]
        return self._open(role)

    def _open(self, role: str) -> Turn:
        turn = Turn(role)
        self.turns.append(turn)
        return turn

    # ------------------------------------------------------------ its ends

    def finish(self, *, prefill: bool, instructions: Iterable[str]) -> list[dict[str, Any]]:
        """The messages as they are sent: a user's first, and what the model is told in words at the end.

        `prefill`: a last assistant's message is to be continued; else a user's turn closes the conversation.
        """
        turns = list(self.turns)
        if not turns or turns[0].role != "user":
            turns.insert(0, _says(PLACEHOLDER))
        told = [{"type": "text", "text": text} for text in instructions]
        last = turns[-1]
        if last.role == "assistant":
            if prefill and not told and _strip_end(last):
                return [turn.message() for turn in turns]
            turns.append(_says(CLOSING))
        elif last.role == "system" and told:
            turns.pop()
            turns[-1].blocks += _wrapped(last.blocks)
        turns[-1].blocks += told
        return [turn.message() for turn in turns]

    def in_loop(self) -> bool:
        """Whether the conversation ends with results of tools."""
        return bool(self.turns) and self.turns[-1].role != "assistant" and bool(self._answered().results)

    def _answered(self) -> Turn:
        return self.turns[-2] if self.turns[-1].role == "system" and len(self.turns) > 1 else self.turns[-1]

    def loop_has_thoughts(self) -> bool:
        """Whether the assistant's turn that these results answer begins with its thinking."""
        caller = next((turn for turn in reversed(self.turns) if turn.role == "assistant"), None)
        return caller is not None and caller.blocks[0]["type"] in ("thinking", "redacted_thinking")

    def called(self) -> list[str]:
        """Names of the tools that were called, each once, in order."""
        return list(dict.fromkeys(self._called))


def recalled_ids(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ids of the calls whose thinking counts: those of the loop that the conversation ends in, and whose message brings
    no thinking itself. What a user says right after results is a word in the loop, and no end of it."""
    found: list[str] = []
    said = False  # something that stands after what is looked at, and may be the user's beginning of a turn
    for message in reversed(messages):
        role = message["role"]
        if role in ("user", "system", "developer"):
            said = True
        elif role == "assistant":
            if said or not message.get("tool_calls"):
                break  # it had answered: a loop before that is over
            if not message.get("thinking_blocks"):
                found += [call["id"] for call in message["tool_calls"]]
        else:
            said = False
    return found


def _says(text: str) -> Turn:
    turn = Turn("user")
    turn.blocks.append({"type": "text", "text": text})
    return turn


def _wrapped(blocks: list[Block]) -> list[Block]:
    """A system message as a user's text, which says what it is."""
    return [{**block, "text": f"<system>\n{block['text']}\n</system>"} for block in blocks]


def _marked(blocks: list[Block], message: Mapping[str, Any], place: str) -> list[Block]:
    if "cache_control" in message and blocks:
        mark = cache_mark(message, place)
        if mark is not None and blocks[-1]["type"] not in ("thinking", "redacted_thinking"):
            blocks[-1]["cache_control"] = mark
    return blocks


def _strip_end(turn: Turn) -> bool:
    """Takes the whitespace off the end of a last text, which the API refuses; whether it can be continued at all."""
    block = turn.blocks[-1]
    if block["type"] != "text":
        return False
    block["text"] = block["text"].rstrip()
    return True


def _said(message: Mapping[str, Any], place: str) -> list[Block]:
    """The text of an assistant's message; where there is none, its refusal."""
    content = message.get("content")
    blocks = text_blocks(content, place)
    refusal = message.get("refusal")
    return blocks if blocks or not refusal else text_blocks(refusal, place)


def _calls_of(message: Mapping[str, Any], place: str) -> list[tuple[str, str, str]]:
    """Id, name and arguments of each call."""
    found = []
    for at, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function")
        if function is None:
            param = f"{place}.tool_calls[{at}].type"
            raise InvalidRequest(f"'{param}' must be `function` for this model.", param=param)
        found.append((call["id"], function["name"], function["arguments"]))
    legacy = message.get("function_call")
    if legacy and not found:
        found.append((_legacy_id(legacy["name"]), legacy["name"], legacy["arguments"]))
    return found


def _legacy_id(name: str) -> str:
    return f"function_{name}"


def _tool_use(call_id: str, name: str, arguments: str, message: Mapping[str, Any], at: int) -> Block:
    block: Block = {"type": "tool_use", "id": call_id, "name": name, "input": arguments_of(arguments)}
    calls = message.get("tool_calls") or ()
    mark = cache_mark(calls[at], "tool_calls") if at < len(calls) and "cache_control" in calls[at] else None
    if mark is not None:
        block["cache_control"] = mark
    return block


def arguments_of(text: str) -> dict[str, Any]:
    """The arguments of a call as an object, which the API demands: whatever is none is kept under `input`."""
    if not text or text.isspace() or text == "{}":
        return {}
    try:
        value = _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {"input": text}
    return value if isinstance(value, dict) else {"input": value}


def _given_thoughts(message: Mapping[str, Any]) -> Iterable[Block]:
    """The thinking blocks that a client gives back, with exactly the fields that the API takes."""
    given = message.get("thinking_blocks")
    for block in given if isinstance(given, list) else ():
        if not isinstance(block, dict):
            continue
        thinking, signature, data = block.get("thinking"), block.get("signature"), block.get("data")
        if block.get("type") == "thinking" and isinstance(thinking, str) and isinstance(signature, str) and signature:
            yield {"type": "thinking", "thinking": thinking, "signature": signature}
        elif block.get("type") == "redacted_thinking" and isinstance(data, str) and data:
            yield {"type": "redacted_thinking", "data": data}
