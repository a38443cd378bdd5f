"""A Chat Completions request: from a body's bytes to a `ChatRequest`, or a refusal that names the field."""

import re
from typing import Annotated, Any, Literal, NoReturn

import msgspec
from msgspec import Meta, Struct

from gateway_core.errors import InvalidRequest
from gateway_core.types import ROUTED_FIELDS, ChatRequest
from gateway_core.wire.json_checks import check_depth, check_duplicates, check_nodes, too_deep

MAX_LIMIT = 2**31
"""The largest output limit that is a number of tokens and not a mistake."""

# Nothing that could begin a line of its own in a log or a header: C0, C1, DEL and Unicode's line separators.
_PLAIN = r"\A[^\x00-\x1f\x7f-\x9f\u2028\u2029]*\Z"

Name = Annotated[str, Meta(max_length=256, pattern=_PLAIN)]
# Without the pattern, which is dear: every call has a model, and a body may have many parts. `_check_plain` looks.
ModelName = Annotated[str, Meta(min_length=1, max_length=256)]
Kind = Annotated[str, Meta(max_length=256)]
Limit = Annotated[int, Meta(ge=1, le=MAX_LIMIT)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Object = dict[str, Any]


class _Part(Struct):
    """A content part. Unknown types pass: the provider knows what it can take."""

    type: Kind
    text: str | None = None
    refusal: str | None = None
    image_url: Object | str | None = None
    input_audio: Object | None = None
    file: Object | None = None


class _Function(Struct):
    name: Name
    arguments: str


class _CustomCall(Struct):
    name: Name
    input: str


class _ToolCall(Struct):
    id: Name
    type: Name | None = None
    function: _Function | None = None
    custom: _CustomCall | None = None


_PARTS = frozenset(_Part.__struct_fields__) - {"type"}
"""The types of parts that promise a field of their name."""

Content = str | list[_Part] | None


class _Message(Struct, tag_field="role"):
    name: Name | None = None


class _System(_Message, tag="system", kw_only=True):
    content: str | list[_Part]


class _Developer(_Message, tag="developer", kw_only=True):
    content: str | list[_Part]


class _User(_Message, tag="user", kw_only=True):
    content: str | list[_Part]


class _Assistant(_Message, tag="assistant"):
    content: Content = None
    refusal: str | None = None
    audio: Object | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Tool(_Message, tag="tool", kw_only=True):
    tool_call_id: Name
    content: Content = None


class _FunctionResult(Struct, tag_field="role", tag="function", kw_only=True):
    name: Name
    content: Content = None


Message = _System | _Developer | _User | _Assistant | _Tool | _FunctionResult


class _FunctionSpec(Struct):
    name: Name
    description: str | None = None
    parameters: Object | None = None
    strict: bool | None = None


class _CustomSpec(Struct):
    name: Name


class _ToolSpec(Struct):
    type: Name
    function: _FunctionSpec | None = None
    custom: _CustomSpec | None = None


class _Named(Struct):
    name: Name


class _AllowedTools(Struct):
    mode: Literal["auto", "required"]
    tools: list[Object]


class _ToolChoice(Struct):
    type: Name
    function: _Named | None = None
    custom: _Named | None = None
    allowed_tools: _AllowedTools | None = None


class _Schema(Struct):
    name: Name | None = None
    schema: Object | None = None
    strict: bool | None = None


class _ResponseFormat(Struct):
    type: Name
    json_schema: _Schema | None = None


class _StreamOptions(Struct):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatBody(Struct):
    """The known fields as OpenAI's API types them; others pass unseen. null is the same as absent."""

    model: ModelName
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    tools: list[_ToolSpec] | None = None
    tool_choice: Literal["none", "auto", "required"] | _ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    functions: list[_FunctionSpec] | None = None
    function_call: str | Object | None = None
    response_format: _ResponseFormat | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    audio: Object | None = None
    prediction: Object | None = None
    web_search_options: Object | None = None
    metadata: Object | None = None
    service_tier: str | None = None
    store: bool | None = None
    user: str | None = None


_IS_PLAIN = re.compile(_PLAIN).match
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def decode_request(body: bytes, account_id: str = "") -> ChatRequest:
    """One account's request from its body. Raises InvalidRequest, whose `param` names the field at fault."""
    fields = _json_object(body)
    try:
        checked = msgspec.convert(fields, ChatBody)
    except msgspec.ValidationError as error:
        _refuse(str(error))
    _check_plain(checked.model, "model")
    others = fields.copy()
    for name in ROUTED_FIELDS:
        if name in others:
            del others[name]
    rest = _encode(others)
    stream, options = checked.stream is True, checked.stream_options
    # A colon behind the key of each field that is routed, and what colons are in its value: numbers have none.
    colons = len(fields) - len(others) + checked.model.count(":")
    if options is not None:
        if not stream:
            raise InvalidRequest("stream_options is only allowed where stream is true.", param="stream_options")
        colons += _encode(fields["stream_options"]).count(b":")
    check_duplicates(body, rest.count(b":") + colons)
    media, files = _check_details(checked)
    limit, newer = checked.max_tokens, checked.max_completion_tokens
    if newer is not None and (limit is None or newer > limit):
        limit = newer
    return ChatRequest(  # by position: by name it costs four times as much
        checked.model,
        fields,
        len(body),
        rest,
        stream,
        options is not None and options.include_usage is True,
        limit,
        checked.n or 1,
        media,
        files,
        account_id,
    )


def _json_object(body: bytes) -> dict[str, Any]:
    """The body's object, every value in it finite, valid and at a bounded depth."""
    check_nodes(body)
    try:
        fields = _decode(body)
    except RecursionError:
        raise too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # The decoder's words name an offset or a kind of mistake, except for bad UTF-8, where they quote bytes.
        reason = "it is not valid UTF-8" if isinstance(error, UnicodeDecodeError) else str(error).partition(" - at ")[0]
        raise InvalidRequest(f"The request's body is not valid JSON: {reason}.") from None
    if not isinstance(fields, dict):
        raise InvalidRequest("The request's body must be a JSON object.")
    check_depth(fields, body)
    return fields


def _check_plain(text: str, place: str) -> None:
    """What the pattern of a Name says."""
    if not text.isprintable() and not _IS_PLAIN(text):
        raise InvalidRequest(f"Invalid value for '{place}': it contains control characters.", param=place)


def _check_details(body: ChatBody) -> tuple[int, int]:
    """What the types do not say; the number of images, files and other media in the messages, and of the files."""
    media = files = 0
    for index, message in enumerate(body.messages):
        content = message.content
        if type(content) is list:
            found = _check_parts(content, index)
            if found:
                media += found
                files += sum(part.type == "file" for part in content)
        if type(message) is _Assistant:
            media += message.audio is not None
            for at, call in enumerate(message.tool_calls or ()):
                if call.function is None or call.type != "function":
                    _check_kind(call.type or "function", call, f"messages[{index}].tool_calls[{at}]")
    if body.tools is not None:
        for index, tool in enumerate(body.tools):
            if tool.function is None or tool.type != "function":
                _check_kind(tool.type, tool, f"tools[{index}]")
    if type(body.tool_choice) is _ToolChoice:
        _check_tool_choice(body.tool_choice)
    if (form := body.response_format) is not None and form.type == "json_schema" and form.json_schema is None:
        raise _missing("response_format.json_schema")
    return media, files


def _check_tool_choice(choice: _ToolChoice) -> None:
    if choice.type == "allowed_tools" and choice.allowed_tools is None:
        raise _missing("tool_choice.allowed_tools")
    _check_kind(choice.type, choice, "tool_choice")


def _check_parts(parts: list[_Part], message: int) -> int:
    """Known parts have what their type promises; counts the ones that are not text."""
    media = 0
    for index, part in enumerate(parts):
        kind = part.type
        if kind == "text" and part.text is not None:
            continue
        if kind not in _PARTS:
            _check_plain(kind, f"messages[{message}].content[{index}].type")
        elif getattr(part, kind) is None:
            raise _missing(f"messages[{message}].content[{index}].{kind}")
        media += kind not in ("text", "refusal")
    return media


def _check_kind(kind: str, holder: _ToolCall | _ToolSpec | _ToolChoice, place: str) -> None:
    """A tool or a tool call has the object that its type names."""
    if kind in ("function", "custom") and getattr(holder, kind) is None:
        raise _missing(f"{place}.{kind}")


def _missing(param: str) -> InvalidRequest:
    return InvalidRequest(f"Missing required parameter: '{param}'.", param=param)


_PLACE = re.compile(r"(?P<reason>.*?)(?: - at `(?:key in )?\$\.?(?P<path>.*)`)?", re.DOTALL)
_REQUIRED = re.compile(r"Object missing required field `(.*)`")


def _refuse(complaint: str) -> NoReturn:
    """Turns the type check's words into ours: the field as OpenAI names it, and nothing of its value."""
    match = _PLACE.fullmatch(complaint)
    reason, path = (match["reason"], match["path"] or "") if match else (complaint, "")
    if required := _REQUIRED.fullmatch(reason):
        raise _missing(f"{path}.{required[1]}" if path else required[1]) from None
    if reason.startswith("Invalid"):
        reason = "it is none of the values allowed here"
    elif "matching regex" in reason:
        reason = "it contains control characters"
    reason = reason.replace(" | null`", "`")
    raise InvalidRequest(f"Invalid value for '{path}': {reason}.", param=path or None) from None
