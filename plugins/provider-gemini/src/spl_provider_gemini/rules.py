"""What differs by model, as data: none of it is asked by name anywhere else.

The first pattern that a model's name fits is its rule. `[providers.NAME.models."PATTERN"]` changes single fields of it,
so that a model of tomorrow needs a line of configuration and no release.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

import msgspec

DUMMY_SIGNATURE = "skip_thought_signature_validator"
"""What Google documents for calls that never had a signature: it is taken instead of one."""


class ModelRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One family's rules. The defaults are those of the newest models."""

    #: How schemas go out: as JSON Schema (`parametersJsonSchema`, `responseJsonSchema`), or in Google's own dialect.
    schemas: Literal["json", "openapi"] = "json"
    #: reasoning_effort → a thinkingBudget (a number) or a thinkingLevel (a word). Empty: the model does not think.
    efforts: Mapping[str, int | str] = {}
    #: JSON can be demanded of an answer while functions are declared.
    json_with_tools: bool = True
    #: Thought signatures: never given, given and better returned, or demanded of the current turn's first calls.
    signatures: Literal["none", "optional", "required"] = "required"
    #: Instead of a demanded signature that is lost.
    dummy_signature: str = DUMMY_SIGNATURE
    #: Calls and their results name each other by id.
    call_ids: bool = True
    #: Images and files stand inside a function's response; else they follow it.
    media_in_results: bool = True
    #: The most answers at once.
    candidates: int = 8
    #: The most stop sequences.
    stops: int = 5
    #: The last turn may be the model's, to be gone on with.
    prefill: bool = False
    #: A turn of functions' results holds nothing else: what the user says after them is a turn of its own.
    results_alone: bool = True
    #: Token probabilities can be asked for.
    logprobs: bool = True
    #: Fields of generationConfig that the model refuses and that are pure hints: left out.
    omit: frozenset[str] = frozenset()


def _levels(lowest: str, medium: str = "MEDIUM") -> dict[str, int | str]:
    """Efforts of models that know levels of thinking and cannot be without."""
    return {"none": lowest, "minimal": lowest, "low": "LOW", "medium": medium, "high": "HIGH", "xhigh": "HIGH"}


def _budgets(none: int, minimal: int, most: int) -> dict[str, int | str]:
    """Efforts of models that count the tokens of thinking."""
    return {"none": none, "minimal": minimal, "low": 1024, "medium": 8192, "high": 24576, "xhigh": most}


replace = msgspec.structs.replace
_NEWEST = ModelRules(efforts=_levels("LOW"))
_MINIMAL = ModelRules(efforts=_levels("MINIMAL"))
_3 = ModelRules(prefill=True, results_alone=False)
_2_5 = replace(_3, json_with_tools=False, signatures="optional", call_ids=False, media_in_results=False)
_OLD = replace(_2_5, schemas="openapi", signatures="none")

RULES: tuple[tuple[str, ModelRules], ...] = (
    ("gemini-1.*", _OLD),
    ("gemini-2.0-*", _OLD),
    ("gemma-*", _OLD),
    ("learnlm-*", _OLD),
    ("gemini-2.5-pro*", replace(_2_5, efforts=_budgets(128, 512, 32768))),
    ("gemini-2.5-flash-lite*", replace(_2_5, efforts=_budgets(0, 512, 24576))),
    ("gemini-2.5-flash-image*", replace(_2_5, signatures="none")),
    ("gemini-2.5-*", replace(_2_5, efforts=_budgets(0, 512, 24576))),
    ("gemini-3-pro-image*", replace(_3, signatures="optional")),
    ("gemini-3-pro*", replace(_3, efforts=_levels("LOW", medium="HIGH"))),
    ("gemini-3.1-pro*", replace(_3, efforts=_levels("LOW"))),
    ("gemini-3*-pro*", _NEWEST),
    ("gemini-3.1-flash-lite*", replace(_3, efforts=_levels("MINIMAL"))),
    ("gemini-3*-flash-lite*", _MINIMAL),
    ("gemini-3-flash*", replace(_3, efforts=_levels("MINIMAL"))),
    ("gemini-3.[1-5]-flash*", replace(_3, efforts=_levels("MINIMAL"))),
    ("gemini-3.6-flash*", _MINIMAL),
    ("*", _NEWEST),
)
"""The first that fits; "*" stands for what is newer than this table."""


def bare(model: str) -> str:
    """The model's own name: "gemini-3-pro" for "models/gemini-3-pro"."""
    return model.rpartition("/")[2]


def rules_of(model: str, overrides: Mapping[str, Mapping[str, Any]]) -> ModelRules:
    """The model's rules, with each configured override whose pattern fits."""
    name = bare(model)
    found = next(rules for pattern, rules in RULES if fnmatchcase(name, pattern))
    for pattern, fields in overrides.items():
        if fnmatchcase(name, pattern):
            found = changed(found, fields)
    return found


def changed(rules: ModelRules, fields: Mapping[str, Any]) -> ModelRules:
    """The rules with some fields as configured. Raises msgspec.ValidationError for a wrong one."""
    return msgspec.convert({**msgspec.to_builtins(rules), **fields}, ModelRules)
