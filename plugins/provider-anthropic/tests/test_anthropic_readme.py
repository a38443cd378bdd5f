"""The README's table is the code's."""

from pathlib import Path

import pytest
from spl_provider_anthropic.models import TABLE, ModelRules, Rules

README = Path(__file__).parents[1] / "README.md"


def line_of(pattern: str, rules: Rules) -> str:
    limit = f"{rules.max_output:,}" if rules.max_output else f"as asked, else {rules.default_output:,}"
    thinking = rules.thinking + (", unasked" if rules.thinks_unasked else "")
    cells = [
        f"`{pattern}`",
        limit,
        rules.sampling,
        thinking,
        "" if rules.thinking == "none" else rules.thinking_off,
        " ".join(rules.efforts),
        "its own" if rules.structured_outputs else "a tool",
        rules.forced_tools,
        "yes" if rules.prefill else "no",
        "yes" if rules.system_role else "no",
    ]
    return "| " + " | ".join(cells) + " |"


def test_every_rule_stands_in_the_readme() -> None:
    text = README.read_text()
    lines = [line_of(pattern, rules) for pattern, rules in TABLE]
    assert "\n".join(lines) in text, "\n".join(lines)


@pytest.mark.parametrize(
    ("model", "pattern"),
    [
        ("claude-3-5-sonnet-latest", "*claude-3-5-*"),
        ("claude-3-7-sonnet-20250219", "*claude-3-7-*"),
        ("claude-sonnet-4-20250514", "*claude-sonnet-4-*"),
        ("claude-sonnet-4", "*claude-sonnet-4"),
        ("claude-opus-4-20250514", "*claude-opus-4-2*"),
        ("claude-opus-4-1-20250805", "*claude-opus-4-1*"),
        ("anthropic/Claude-Sonnet-4.5", "*claude-sonnet-4-5*"),
        ("eu.anthropic.claude-haiku-4-5-20251001-v1:0", "*claude-haiku-4-5*"),
        ("claude-opus-5", "*claude-opus-5*"),
        ("claude-opus-5-5", "*claude-opus-5-5*"),
        ("claude-fable-5", "*claude-fable-5*"),
        ("claude-fable-5-2", "*claude-fable-5-[1-9]*"),
        ("claude-opus-6", "*claude-*"),
        ("mine", "*"),
    ],
)
def test_each_name_has_its_rules(model: str, pattern: str) -> None:
    assert ModelRules({}).of(model) == dict(TABLE)[pattern]
