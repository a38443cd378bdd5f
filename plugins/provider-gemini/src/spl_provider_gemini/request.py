"""A whole request: from Chat Completions to generateContent. Pure: what it needs from outside is given."""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway_core.errors import InvalidRequest
from gateway_core.types import ChatRequest
from spl_provider_gemini.formats import add_format
from spl_provider_gemini.given import Given, Json
from spl_provider_gemini.messages import convert
from spl_provider_gemini.names import Names
from spl_provider_gemini.reasoning import add_thinking
from spl_provider_gemini.sampling import add_sampling
from spl_provider_gemini.tools import add_tools

_encode = msgspec.json.Encoder().encode


def encode_request(request: ChatRequest, given: Given, output_limit: int | None) -> tuple[bytes, Mapping[str, str]]:
    """The body to send, and the functions that had to be renamed: as sent → as the client knows them.

    Raises InvalidRequest, naming the field and the model, for what cannot be asked of it. Fields that are hints, or
    that nobody knows, are left out.
    """
    body: Mapping[str, Any] = request.body
    names = Names()
    out: Json = {"contents": None}
    tools = add_tools(out, body, given, names)
    conversation = convert(body["messages"], given, names)
    out["contents"] = conversation.turns
    config: Json = {}
    add_sampling(config, body, given, output_limit)
    add_thinking(config, body, given)
    if (told := add_format(config, body, given, tools=tools)) is not None:
        conversation.system.append({"text": told})
    if tools and "responseMimeType" in config and not given.rules.json_with_tools:
        # None of them may be called, and the form that was demanded cannot be held with them there.
        del out["tools"], out["toolConfig"]
    if conversation.system:
        out["systemInstruction"] = {"parts": conversation.system}
    if config:
        out["generationConfig"] = config
    if given.safety:
        out["safetySettings"] = [{"category": name, "threshold": value} for name, value in given.safety.items()]
    try:
        return _encode(out), names.back
    except RecursionError:
        raise InvalidRequest("Something in the messages is nested too deeply.", param="messages") from None
