"""JSON and counts of somebody else's."""

import pytest

from gateway_core.wire.untrusted import decoded, is_count


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b'"\xff"', b"[" * 100_000, b'{"a": 1} x'])
def test_what_is_no_json_is_none(body: bytes) -> None:
    assert decoded(body) is None


def test_what_is_json_is_given_as_it_is() -> None:
    assert decoded(b'{"a": [1, null]}') == {"a": [1, None]}


@pytest.mark.parametrize("value", [-1, True, 1.0, "1", None, 10**9 + 1])
def test_what_can_be_no_number_of_tokens(value: object) -> None:
    assert not is_count(value)
    assert is_count(0)
    assert is_count(10**9)
