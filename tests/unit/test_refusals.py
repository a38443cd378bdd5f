"""What a provider's refusals mean, and what of its words gets to a client or into a log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_core.errors import ContentRefused, ProviderFault, RouteDoubted, RouteRefused, Throttled, Unavailable
from gateway_core.upstream.refusals import (
    Refusal,
    client_param,
    client_words,
    error_of,
    fault_in_success,
    fault_of_status,
    log_word,
)

SAID = Refusal("a_code", "it is bad", "stop")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, ContentRefused), (413, ContentRefused), (422, ContentRefused), (401, RouteRefused), (402, RouteRefused),
     (403, RouteRefused), (404, RouteRefused), (429, Throttled), (201, Unavailable), (302, Unavailable),
     (408, Unavailable), (500, Unavailable), (529, Unavailable), (0, Unavailable)],
)  # fmt: skip
def test_each_status_is_its_fault(status: int, kind: type[ProviderFault]) -> None:
    for met, told in (
        (fault_of_status(status, SAID, 7.0), f"answered {status} (a_code)"),
        (fault_in_success(status, SAID, 7.0), "sent an error inside a 200 (a_code)"),
    ):
        assert type(met) is kind
        if isinstance(met, ContentRefused):
            assert (met.message, met.status, met.param) == ("it is bad", 413 if status == 413 else 400, "stop")
        else:
            assert met.detail == told
            assert met.retry_after == (7.0 if kind in (Throttled, Unavailable) else None)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_about_us_is_not_the_clients(status: int) -> None:
    met = fault_of_status(status, Refusal(message="our key", about_us=True))
    assert type(met) is RouteDoubted
    assert met.detail == f"answered {status}"


def test_a_refusal_without_words_says_that_it_is_one() -> None:
    met = fault_of_status(400, Refusal())
    assert isinstance(met, ContentRefused)
    assert met.message == "The provider refused the request."


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error": {"code": 1}}', {"code": 1}),
        (b'[{"error": {"code": 1}}]', {"code": 1}),
        (b'{"error": "words"}', {"message": "words"}),
        (b'{"error": 5}', {}),
        (b"[]", {}),
        (b"[7]", {}),
        (b"<html>", {}),
        (b"\xff", {}),
        (b"[" * 5000, {}),
        (b"", {}),
    ],
)
def test_an_error_is_found_where_there_is_one(body: bytes, error: object) -> None:
    assert error_of(body) == error


@pytest.mark.parametrize(
    ("value", "word"),
    [("bad_value", "bad_value"), (400, "400"), ("two words", ""), ("", ""), (None, ""), ({}, ""), ("x" * 65, "")],
)
def test_only_a_word_gets_into_a_log(value: object, word: str) -> None:
    assert log_word(value) == word


@given(st.text(), st.text(alphabet="abcdefg0123456789", min_size=4), st.text())
def test_a_clients_words_are_one_line_without_our_key_or_an_address(before: str, secret: str, after: str) -> None:
    said = client_words(f"{before} {secret} http://10.0.0.1/{secret} {after}", secret)
    assert secret not in said
    assert "10.0.0.1" not in said
    assert len(said.splitlines()) <= 1
    assert len(said) <= 2_000


@pytest.mark.parametrize("param", [None, 5, "a\nb", "x" * 257])
def test_what_is_no_field_is_not_named(param: object) -> None:
    assert client_param(param) is None
    assert client_param("messages[0]") == "messages[0]"
