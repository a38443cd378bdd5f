"""What of a chat request is counted as input, after OpenAI's published formula.

Every message costs 3 tokens and those of its role, its content and its name, a name 1 more, and the answer's beginning
3. How tools, tool calls and schemas are written into a prompt is not published: their JSON is counted, and the count
is an approximation then. Images and files cost what the model's facts say, and are not counted here.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

_PER_MESSAGE = 3
_PER_NAME = 1
_PRIMING = 3

_MEDIA = frozenset({"image_url", "input_audio", "file"})

_json = msgspec.json.Encoder().encode


class Counted:
    """The texts of a request to count, and the tokens that stand between them."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.texts: list[str] = []
        self.framing = _PRIMING
        self.exact = True
        messages = body.get("messages")
        for message in messages if isinstance(messages, list) else ():
            self._message(message)
        for field in ("tools", "functions", "response_format"):
            if body.get(field):
                self._approximately(body[field])

    def _message(self, message: Any) -> None:
        self.framing += _PER_MESSAGE
        if not isinstance(message, Mapping):
            self._approximately(message)
            return
        for field, value in message.items():
            if value is None:
                continue
            if field == "content":
                self._content(value)
            elif field in ("role", "name", "refusal", "tool_call_id") and isinstance(value, str):
                self.texts.append(value)
                self.framing += _PER_NAME if field == "name" else 0
            else:
                self._approximately(value)

    def _content(self, content: Any) -> None:
        if isinstance(content, str):
            self.texts.append(content)
            return
        for part in content if isinstance(content, list) else (content,):
            kind = part.get("type") if isinstance(part, Mapping) else None
            text = part.get(kind) if kind in ("text", "refusal") else None
            if isinstance(text, str):
                self.texts.append(text)
            elif kind in _MEDIA:
                self.exact = False
            else:
                self._approximately(part)

    def _approximately(self, value: Any) -> None:
        self.texts.append(_json(value).decode())
        self.exact = False
