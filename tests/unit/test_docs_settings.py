"""docs/operations.md and the plugins' pages: every setting stands there, and what is shown is a configuration."""

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from gateway_core import config
from gateway_core.config_file import from_tables
from gateway_core.types import ModelFacts

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
PAGES = "".join(page.read_text() for page in [*ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/README.md")])
SETTINGS = [
    (kind.__name__, field)
    for kind in vars(config).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    for field in kind.__struct_fields__
]


@pytest.mark.parametrize(("table", "key"), SETTINGS)
def test_every_setting_is_told_of(table: str, key: str) -> None:
    assert re.search(rf"\b{key}\b", PAGES), f"no page tells of {key} ({table})"


def _shown(table: str) -> dict[str, object]:
    """A table as the page shows it, with what is commented out."""
    block = re.search(rf"^    \[{re.escape(table)}\]\n((?:    .*\n)+)", OPERATIONS, re.MULTILINE)
    assert block is not None
    text = re.sub(r"^    (# (?=\w+ = ))?", "", block[1], flags=re.MULTILINE)
    return tomllib.loads(text)


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ("idempotency", config.IdempotencyConfig),
        ("memory", config.MemoryConfig),
        ("media", config.MediaConfig),
        ("limits", config.LimitsConfig),
    ],
)
def test_what_is_shown_are_the_defaults(table: str, kind: type[msgspec.Struct]) -> None:
    assert msgspec.convert(_shown(table), kind) == kind()


def test_the_model_that_is_shown_has_the_defaults() -> None:
    shown = _shown('models."house-model"')
    providers = {"local": {"plugin": "x"}, "openai": {"plugin": "x"}}
    loaded = from_tables({"providers": providers, "models": {"house-model": shown}}).config.models["house-model"]
    facts = ("context_tokens", "max_output_tokens", "output_reservation", "overhead_tokens", "media_tokens")
    defaults = ModelFacts("m", ())
    assert {fact: getattr(loaded, fact) for fact in facts} == {fact: getattr(defaults, fact) for fact in facts}
