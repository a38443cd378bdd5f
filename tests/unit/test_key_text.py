"""A key's text: one length, a checksum, an id that sorts by age."""

import re

from hypothesis import given
from hypothesis import strategies as st

from gateway_core.key_text import hint, is_key_text, key_id, new_key_text

SCANNERS = re.compile(r"\bsk-spl[0-9A-Za-z]{61}\b")


def test_a_new_key_is_what_a_scanner_looks_for() -> None:
    text = new_key_text()
    assert len(text) == 67
    assert SCANNERS.search(f'OPENAI_API_KEY="{text}"')
    assert is_key_text(text)
    assert key_id(text) == "key_" + text[6:18]
    assert hint(text) == "sk-…" + text[-4:]


def test_no_two_are_alike_and_ids_sort_by_age() -> None:
    texts = [new_key_text() for _ in range(500)]
    assert len(set(texts)) == len({key_id(text) for text in texts}) == 500
    ids = [key_id(text) for text in texts]
    assert ids == sorted(ids)


@given(at=st.integers(0, 66), character=st.characters(codec="ascii", categories=("L", "N")))
def test_one_wrong_character_is_noticed(at: int, character: str) -> None:
    text = new_key_text()
    changed = text[:at] + character + text[at + 1 :]
    assert is_key_text(changed) is (changed == text)


@given(st.text())
def test_anything_else_is_no_key(text: str) -> None:
    assert not is_key_text(text)
    assert not is_key_text(new_key_text() + text[:1] + "x")
    assert not is_key_text(new_key_text()[:-1])
