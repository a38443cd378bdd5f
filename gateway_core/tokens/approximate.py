"""Tokens of models whose family publishes no tokenizer. The rule, for the count and for the split alike:

four ASCII characters are a token, so are two characters of scripts below U+0800 (Latin with accents, Greek, Cyrillic,
Hebrew, Arabic), and every other character (CJK, emoji) is one by itself. Measured on prose against cl100k_base: English
1.08, German 0.95, Russian 0.99, Chinese 0.80; against o200k_base 1.08, 1.10, 1.79, 1.12.
"""

import re
from collections.abc import Iterable

_BELOW = re.compile(r"[\u0080-\u07ff]+")
_ABOVE = re.compile(r"[\u0800-\U0010ffff]+")

_PER_TOKEN = 4


def estimate(texts: Iterable[str]) -> int:
    """About how many tokens the texts have, each by itself."""
    return sum(-(-_weight(text) // _PER_TOKEN) for text in texts)


def split(text: str) -> list[str]:
    """The text in as many parts as `estimate` counts."""
    if text.isascii():
        return [text[start : start + _PER_TOKEN] for start in range(0, len(text), _PER_TOKEN)]
    parts: list[str] = []
    weight = start = 0
    for index, character in enumerate(text):
        if weight and -(-(weight + _of(character)) // _PER_TOKEN) > -(-weight // _PER_TOKEN):
            parts.append(text[start:index])
            start = index
        weight += _of(character)
    return [*parts, text[start:]]


def _weight(text: str) -> int:
    """Quarters of a token."""
    if text.isascii():
        return len(text)
    return len(text) + sum(map(len, _BELOW.findall(text))) + 3 * sum(map(len, _ABOVE.findall(text)))


def _of(character: str) -> int:
    return 1 if character < "\x80" else 2 if character < "\u0800" else 4
