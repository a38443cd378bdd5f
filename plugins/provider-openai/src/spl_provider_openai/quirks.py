"""What differs between servers, and between the models of one: data, and the one rule by which it is looked up."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

LimitField = Literal["auto", "max_tokens", "max_completion_tokens"]
DeveloperRole = Literal["keep", "system"]
ForeignFields = Literal["auto", "keep", "strip"]


FOREIGN = (
    "cache_control",
    "provider_specific_fields",
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "thinking_blocks",
    "extra_content",
)
"""What other vendors, and clients' own libraries, put into messages, parts, calls and tools: nothing to OpenAI."""


def check_omit(omit: frozenset[str]) -> None:
    """Raises ValueError where it names what makes a request one."""
    if needed := omit & {"model", "messages", "stream"}:
        raise ValueError(f"omit: {', '.join(sorted(needed))} cannot be left out")


class Quirks(msgspec.Struct, frozen=True):
    """How one model is asked."""

    #: What it calls the output limit; None: it takes both names.
    limit_field: Literal["max_tokens", "max_completion_tokens"] | None
    #: Whether it knows the role `developer`, or takes such messages as `system`.
    developer_role: DeveloperRole
    #: Whether FOREIGN fields go to it.
    foreign_fields: Literal["keep", "strip"]
    #: Whether it can be asked for usage in a stream.
    stream_usage: bool
    #: Fields of a request that it refuses.
    omit: frozenset[str]


class ModelQuirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of the models under one pattern; None: nothing, the next that says something decides."""

    limit_field: LimitField | None = None
    developer_role: DeveloperRole | None = None
    foreign_fields: ForeignFields | None = None
    stream_usage: bool | None = None
    omit: frozenset[str] | None = None

    def __post_init__(self) -> None:
        """Refuses to leave out what makes a request one."""
        check_omit(self.omit or frozenset())


#: Under "auto": pattern → what is known of OpenAI's own models. The first that says something decides.
OPENAI: tuple[tuple[str, ModelQuirks], ...] = (
    ("o[0-9]*", ModelQuirks(limit_field="max_completion_tokens", foreign_fields="strip")),
    ("gpt-5*", ModelQuirks(limit_field="max_completion_tokens", foreign_fields="strip")),
    ("gpt-*", ModelQuirks(foreign_fields="strip")),
    ("chatgpt-*", ModelQuirks(foreign_fields="strip")),
)


def quirks_of(server: ModelQuirks, models: Mapping[str, ModelQuirks], model: str) -> Quirks:
    """A model's: by the first configured pattern that says something, else the server's, else what is known of
    OpenAI's own."""
    said = [quirks for pattern, quirks in models.items() if fnmatchcase(model, pattern)]
    said.append(server)
    bare = bare_name(model)
    known = [quirks for pattern, quirks in OPENAI if fnmatchcase(bare, pattern)]
    limit_field = _first(said, known, "limit_field")
    return Quirks(
        limit_field=None if limit_field == "auto" else limit_field,
        developer_role=_first(said, known, "developer_role") or "keep",
        foreign_fields="strip" if _first(said, known, "foreign_fields") == "strip" else "keep",
        stream_usage=_first(said, known, "stream_usage") is not False,
        omit=_first(said, known, "omit") or frozenset(),
    )


def _first(said: list[ModelQuirks], known: list[ModelQuirks], field: str) -> Any:
    """The first that is said of a field; where that is "auto", the first that is known."""
    found = next((value for quirks in said if (value := getattr(quirks, field)) is not None), None)
    if found is None or found == "auto":
        found = next((value for quirks in known if (value := getattr(quirks, field)) is not None), None)
    return found


def bare_name(model: str) -> str:
    """The model's own name: "gpt-4o" for "openai/gpt-4o" and for "ft:gpt-4o:acme::id"."""
    return model.removeprefix("openai/").removeprefix("ft:")
