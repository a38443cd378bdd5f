"""Addresses taken apart, and heads that nothing can be smuggled into."""

import pytest

from gateway_core.errors import Unavailable
from gateway_core.upstream.target import Target

HEADERS = {"content-type": "application/json", "authorization": "Bearer x"}


@pytest.mark.parametrize(
    ("url", "origin", "path", "host"),
    [
        ("http://a.example/v1/x", (False, "a.example", 80), "/v1/x", "a.example"),
        ("https://a.example", (True, "a.example", 443), "/", "a.example"),
        ("https://A.example:8443/x?y=1&z=é", (True, "a.example", 8443), "/x?y=1&z=%C3%A9", "a.example:8443"),
        ("http://[::1]:8080/ä%20b", (False, "::1", 8080), "/%C3%A4%20b", "[::1]:8080"),
        ("http://bücher.example/#part", (False, "xn--bcher-kva.example", 80), "/", "xn--bcher-kva.example"),
        ("https://a.example/m/gemini-2:streamGenerate?alt=sse", (True, "a.example", 443), None, "a.example"),
    ],
)
def test_an_address(url: str, origin: tuple[bool, str, int], path: str | None, host: str) -> None:
    target = Target(url)
    assert target.origin == origin
    lines = target.head("POST", {}).decode().split("\r\n")
    assert lines == [
        f"POST {path or '/m/gemini-2:streamGenerate?alt=sse'} HTTP/1.1",
        f"host: {host}",
        "accept-encoding: identity",
        "content-length: ",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "ftp://a/",
        "http://",
        "http:///x",
        "http://a:0/",
        "http://a:99999/",
        "http://a:x/",
        "http://[::1/",
        "http://u:p@a/",
        "http://a b/",
        "http://a/\r\nx: y",
        "http://a\n/",
        "http://a/\x00",
        "http://" + "ü" * 300 + "/",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(Unavailable, match="has a base_url that is no http or https address"):
        Target(url)


@pytest.mark.parametrize(
    "headers",
    [{"a": "b\r\nc: d"}, {"a": "b\n"}, {"a": "b\x00"}, {"a\r\nb": "c"}, {"a b": "c"}, {"": "c"}, {"a": "日本"}]
    + [{name: "1"} for name in ("Host", "Content-Length", "transfer-encoding", "Connection", "expect", "upgrade")],
)
def test_a_header_that_no_request_can_carry(headers: dict[str, str]) -> None:
    with pytest.raises(Unavailable) as met:
        Target("http://a/").head("POST", headers)
    assert met.value.detail == "would be sent a header that no request can carry"


def test_a_head_is_written_anew_where_anything_in_it_changes() -> None:
    target = Target("http://a/")
    headers = dict(HEADERS)
    first = target.head("POST", headers)
    assert target.head("POST", dict(HEADERS)) is first
    headers["authorization"] = "Bearer y"
    assert b"Bearer y" in target.head("POST", headers)
    assert target.head("GET", headers).startswith(b"GET / ")
    assert target.head("POST", HEADERS) == first


def test_a_compressed_answer_is_never_asked_for() -> None:
    assert Target("http://a/").head("POST", {"Accept-Encoding": "gzip"}).count(b"ccept-encoding: identity") == 1
