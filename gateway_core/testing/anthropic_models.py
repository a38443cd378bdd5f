"""What Anthropic's models refuse, for the strict upstream: from the vendor's documentation, and a table of its own.

A name that is none of theirs stands for a model of the 4.5 generation that also takes whatever limit it is given.
"""

import re

import msgspec

_NAME = re.compile(r"claude-(?:(?P<family>opus|sonnet|haiku|fable|mythos)-)?(?P<major>\d)(?:-(?P<minor>\d)(?!\d))?")


class Takes(msgspec.Struct, frozen=True):
    """What one model takes."""

    most: int | None = None
    sampling: str = "one"
    thinking: frozenset[str] = frozenset({"enabled", "disabled"})
    thinks_unasked: bool = False
    efforts: frozenset[str] = frozenset()
    formats: bool = True
    forced: bool = True
    prefill: bool = True
    system_role: bool = False


_EFFORTS = frozenset({"low", "medium", "high", "max"})


def takes(model: str) -> Takes:
    """By the model's name."""
    if "claude-mythos-preview" in model:
        kinds = frozenset({"adaptive", "enabled"})
        return Takes(128_000, "none", kinds, True, _EFFORTS | {"xhigh"}, prefill=False)
    found = _NAME.search(model)
    if found is None:
        return Takes()
    family, version = found["family"] or "", (int(found["major"]), int(found["minor"] or 0))
    if version < (4, 0):
        thinks = version == (3, 7)
        kinds = frozenset({"enabled", "disabled"}) if thinks else frozenset({"disabled"})
        most = 64_000 if thinks else 8_192 if version == (3, 5) else 4_096
        return Takes(most, "both", kinds, formats=False)
    if version < (4, 6):
        formats, most = version >= (4, 5), 64_000 if version >= (4, 5) or family == "sonnet" else 32_000
        efforts = _EFFORTS - {"max"} if (family, version) == ("opus", (4, 5)) else frozenset()
        return Takes(most, "both" if version == (4, 0) else "one", formats=formats, efforts=efforts)
    if version == (4, 6):
        kinds = frozenset({"adaptive", "enabled", "disabled"})
        return Takes(64_000 if family == "sonnet" else 128_000, "one", kinds, efforts=_EFFORTS, prefill=False)
    if version < (5, 0):
        kinds, system = frozenset({"adaptive", "disabled"}), version >= (4, 8)
        return Takes(128_000, "none", kinds, False, _EFFORTS | {"xhigh"}, prefill=False, system_role=system)
    return _fifth(family, version)


def _fifth(family: str, version: tuple[int, int]) -> Takes:
    off = {
        ("opus", (5, 0)): {"disabled"},
        ("sonnet", (5, 0)): {"disabled"},
        ("haiku", (5, 5)): {"disabled"},
        ("sonnet", (5, 5)): {"between_tools"},
    }.get((family, version), set[str]())
    return Takes(
        128_000,
        "none",
        frozenset({"adaptive", *off}),
        thinks_unasked=True,
        efforts=_EFFORTS | {"xhigh"},
        forced=version == (5, 0),
        prefill=False,
        system_role=(family, version) != ("sonnet", (5, 0)),
    )
