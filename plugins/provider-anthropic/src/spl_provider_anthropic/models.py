"""What differs from model to model, as data: one table, which a configuration may override and add to.

Read from the vendor's documentation and from known error texts, not verified against the live API (README.md says what
was). What a model does not take is emulated or left out by the modules that ask these rules.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

Effort = Literal["low", "medium", "high", "xhigh", "max"]


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How one model is to be asked."""

    #: `max_tokens` where neither the client nor a cap names one; the API demands it.
    default_output: int = 64_000
    #: The most that the model takes as `max_tokens`; None: unknown, so what the client says is passed on.
    max_output: int | None = None
    #: temperature and top_p: both at once, one of them, or none at all.
    sampling: Literal["both", "one", "none"] = "one"
    #: How thinking is asked for: not at all, by a budget, or by `adaptive` with an effort.
    thinking: Literal["none", "enabled", "adaptive"] = "enabled"
    #: Without a word it thinks.
    thinks_unasked: bool = False
    #: How it is told not to: nothing needs to be said, a type of thinking, or there is no way.
    thinking_off: Literal["omit", "disabled", "between_tools", "never"] = "omit"
    #: What `output_config.effort` takes; none: the field is refused.
    efforts: tuple[Effort, ...] = ()
    #: Thinking comes without its text unless `display` asks for it.
    display: bool = False
    #: Whether `output_config.format` takes a JSON schema, and tools take `strict`.
    structured_outputs: bool = True
    #: `tool_choice` any and tool: taken, told to the model in words, or refused here.
    forced_tools: Literal["native", "instruct", "refuse"] = "native"
    #: A last assistant message is continued.
    prefill: bool = False
    #: Messages may have the role `system`, after a user's.
    system_role: bool = False


_LEGACY = Rules(thinking="none", sampling="both", structured_outputs=False, prefill=True)
_BUDGET = Rules(default_output=64_000, max_output=64_000, prefill=True)
_ADAPTIVE = Rules(
    default_output=64_000,
    max_output=128_000,
    thinking="adaptive",
    efforts=("low", "medium", "high", "max"),
)
_NO_SAMPLING = msgspec.structs.replace(
    _ADAPTIVE, sampling="none", efforts=("low", "medium", "high", "xhigh", "max"), display=True
)
_THINKS = msgspec.structs.replace(_NO_SAMPLING, thinks_unasked=True, thinking_off="disabled", system_role=True)
# What thinks always cannot be forced to call a tool: the one rules the other out.
_ALWAYS = msgspec.structs.replace(_THINKS, thinking_off="never", forced_tools="instruct")


def _with(rules: Rules, **changes: Any) -> Rules:
    return msgspec.structs.replace(rules, **changes)


def _output(rules: Rules, tokens: int, **changes: Any) -> Rules:
    return msgspec.structs.replace(rules, default_output=tokens, max_output=tokens, **changes)


TABLE: tuple[tuple[str, Rules], ...] = (
    ("*claude-3-opus*", _output(_LEGACY, 4_096)),
    ("*claude-3-sonnet*", _output(_LEGACY, 4_096)),
    ("*claude-3-haiku*", _output(_LEGACY, 4_096)),
    ("*claude-3-5-*", _output(_LEGACY, 8_192)),
    ("*claude-3-7-*", _with(_BUDGET, sampling="both", structured_outputs=False)),
    ("*claude-opus-4-1*", _output(_BUDGET, 32_000, structured_outputs=False)),
    ("*claude-opus-4-5*", _BUDGET),
    ("*claude-opus-4-6*", _ADAPTIVE),
    ("*claude-opus-4-7*", _NO_SAMPLING),
    ("*claude-opus-4-8*", _with(_NO_SAMPLING, system_role=True)),
    ("*claude-opus-4-0*", _output(_BUDGET, 32_000, sampling="both", structured_outputs=False)),
    ("*claude-opus-4-2*", _output(_BUDGET, 32_000, sampling="both", structured_outputs=False)),
    ("*claude-opus-4@*", _output(_BUDGET, 32_000, sampling="both", structured_outputs=False)),
    ("*claude-opus-4", _output(_BUDGET, 32_000, sampling="both", structured_outputs=False)),
    ("*claude-sonnet-4-5*", _BUDGET),
    ("*claude-haiku-4-5*", _BUDGET),
    ("*claude-sonnet-4-6*", _with(_ADAPTIVE, max_output=64_000)),
    ("*claude-sonnet-4-*", _with(_BUDGET, sampling="both", structured_outputs=False)),
    ("*claude-sonnet-4@*", _with(_BUDGET, sampling="both", structured_outputs=False)),
    ("*claude-sonnet-4", _with(_BUDGET, sampling="both", structured_outputs=False)),
    ("*claude-opus-5-5*", _ALWAYS),
    ("*claude-sonnet-5-5*", _with(_ALWAYS, thinking_off="between_tools")),
    ("*claude-haiku-5-5*", _with(_ALWAYS, thinking_off="disabled")),
    ("*claude-fable-5-[1-9]*", _ALWAYS),
    ("*claude-mythos-5-[1-9]*", _ALWAYS),
    ("*claude-opus-5*", _THINKS),
    ("*claude-sonnet-5*", _with(_THINKS, system_role=False)),
    ("*claude-fable-5*", _ALWAYS),
    ("*claude-mythos-5*", _ALWAYS),
    ("*claude-mythos-preview*", _with(_ALWAYS, system_role=False)),
    # A model that is newer than this table: what the newest of it take.
    ("*claude-*", _ALWAYS),
    # Somebody's own name, or another server with this API.
    ("*", Rules(default_output=8_192)),
)
"""Patterns of names, the first that fits counts."""


class ModelRules:
    """The rules for each model: the table's, with the configuration's own before them."""

    def __init__(self, own: Mapping[str, Mapping[str, Any]], *, sampling: bool = True) -> None:
        """`own`: pattern → the fields that differ from the table's. `sampling`: whether the API's version has it.

        Raises msgspec.ValidationError for a field that there is not.
        """
        self._own = tuple(own.items())
        self._sampling = sampling
        self._known: dict[str, Rules] = {}
        for _, fields in self._own:
            msgspec.convert(dict(fields), Rules)

    def of(self, model: str) -> Rules:
        """This model's."""
        rules = self._known.get(model)
        if rules is None:
            rules = self._look_up(model)
            if len(self._known) < 1_000:
                self._known[model] = rules
        return rules

    def _look_up(self, model: str) -> Rules:
        written = model.lower().replace(".", "-")  # some servers write claude-sonnet-4.5
        rules = next(rules for pattern, rules in TABLE if fnmatchcase(written, pattern))
        for pattern, fields in self._own:
            if fnmatchcase(model, pattern):
                rules = msgspec.convert({**msgspec.to_builtins(rules), **fields}, Rules)
                break
        return rules if self._sampling else _with(rules, sampling="none")
