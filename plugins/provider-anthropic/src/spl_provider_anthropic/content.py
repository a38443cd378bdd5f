"""Content: OpenAI's parts as Anthropic's blocks, where a part is text or names its place in a refusal."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from gateway_core.errors import InvalidRequest
from spl_provider_anthropic.media import Fetched, file_block, image_block

Block = dict[str, Any]


def refuse(param: str, why: str) -> NoReturn:
    """Raises the refusal of a field that this provider cannot take."""
    raise InvalidRequest(f"'{param}' cannot be sent to this model: {why}.", param=param)


def text_blocks(content: Any, place: str) -> list[Block]:
    """Blocks of content that may only be text. Texts that say nothing are left out: the API refuses them."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content and not content.isspace() else []
    blocks: list[Block] = []
    for index, part in enumerate(content or ()):
        kind = part["type"]
        if kind not in ("text", "refusal"):
            refuse(f"{place}[{index}].type", f"`{kind}` is no text, and only text can stand here")
        _add_text(blocks, part[kind], part)
    return blocks


def all_blocks(content: Any, place: str, fetched: Fetched) -> list[Block]:
    """Blocks of a user's message or of a tool's result, which may have images and files in it."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content and not content.isspace() else []
    blocks: list[Block] = []
    for index, part in enumerate(content or ()):
        kind = part["type"]
        if kind in ("text", "refusal"):
            _add_text(blocks, part[kind], part)
            continue
        at = f"{place}[{index}]"
        if kind == "image_url":
            block = image_block(part["image_url"], f"{at}.image_url", fetched)
        elif kind == "file":
            block = file_block(part["file"], f"{at}.file", fetched)
        else:
            refuse(f"{at}.type", f"`{kind}` is not among text, image_url and file")
        _add_mark(block, part, at)
        blocks.append(block)
    return blocks


def _add_text(blocks: list[Block], text: str, part: Mapping[str, Any]) -> None:
    if text and not text.isspace():
        block: Block = {"type": "text", "text": text}
        if "cache_control" in part:
            _add_mark(block, part, "")
        blocks.append(block)
    elif blocks and part.get("cache_control"):
        _add_mark(blocks[-1], part, "")  # what stands before it is to be cached


def _add_mark(block: Block, holder: Mapping[str, Any], place: str) -> None:
    mark = cache_mark(holder, place)
    if mark is not None:
        block["cache_control"] = mark


def cache_mark(holder: Mapping[str, Any], place: str) -> Block | None:
    """The `cache_control` of a part, a message or a tool, as the API takes it."""
    given = holder.get("cache_control")
    if given is None:
        return None
    param = f"{place}.cache_control".lstrip(".")
    if not isinstance(given, dict) or given.get("type") != "ephemeral":
        refuse(param, 'it must be {"type": "ephemeral"}')
    if given.get("ttl", "5m") != "5m":
        refuse(param, "only a cache of 5 minutes has a price here")
    return {"type": "ephemeral"}


_MOST_MARKS = 4


def limit_marks(blocks: Sequence[Block]) -> None:
    """Leaves the last four cache marks of all blocks: more are refused, and they are hints."""
    marked = [block for block in blocks if "cache_control" in block]
    for block in marked[:-_MOST_MARKS]:
        del block["cache_control"]
