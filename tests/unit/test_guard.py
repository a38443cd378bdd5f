"""Addresses, bearers and bodies, as they come from a socket."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive

from gateway_core.edge.guard import Addresses, ClientGone, bearer_of, capped, counting_address, read_body
from gateway_core.errors import ConfigError, InvalidBearer, InvalidRequest, RequestTooLarge

PROXIES = ("10.0.0.0/8", "fd00::/8")


def scope(client: str, *forwarded: str) -> dict[str, Any]:
    return {"client": (client, 1234), "headers": [(b"x-forwarded-for", each.encode()) for each in forwarded]}


@pytest.mark.parametrize(
    ("client", "forwarded", "expected"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        # Forged by a client that is no proxy.
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        # What stands left of the entry that our proxy added is the client's invention.
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1, 10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
    ],
)
def test_who_is_behind_the_proxies(client: str, forwarded: list[str], expected: str) -> None:
    assert Addresses(PROXIES).client(scope(client, *forwarded)) == expected


def test_without_a_configured_proxy_the_socket_counts() -> None:
    addresses = Addresses(())
    assert addresses.client(scope("10.0.0.1", "198.51.100.1")) == "10.0.0.1"
    assert addresses.client(scope("::ffff:10.0.0.1")) == "10.0.0.1"
    assert addresses.client({"client": None, "headers": []}) == ""


@given(st.lists(st.text(alphabet="0123456789abcdef.:[], ", max_size=40), max_size=5))
def test_a_forged_header_never_gets_past_our_own_proxy(invented: list[str]) -> None:
    line = ", ".join([*invented, "198.51.100.1"])
    assert Addresses(PROXIES).client(scope("10.0.0.1", line)) == "198.51.100.1"


def test_a_proxy_that_is_none_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"trusted_proxies: 'proxy.local' is not an address or a network"):
        Addresses(("proxy.local",))


def test_an_ipv6_client_counts_by_its_network() -> None:
    found = {counting_address(f"2001:db8:0:1::{number:x}") for number in range(1000)}
    assert found == {"2001:db8:0:1::/64"}
    assert counting_address("2001:db8:0:2::1") == "2001:db8:0:2::/64"
    assert counting_address("203.0.113.7") == counting_address("::ffff:203.0.113.7") == "203.0.113.7"
    assert counting_address("") == ""


def authorization(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", value) for value in values]


@pytest.mark.parametrize("value", [b"Bearer sk-1", b"bearer sk-1", b"BEARER   sk-1", b" Bearer sk-1 "])
def test_a_bearer_is_found(value: bytes) -> None:
    assert bearer_of(authorization(value)) == "sk-1"


def test_no_header_is_no_bearer() -> None:
    assert bearer_of([(b"cookie", b"a=b")]) is None


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"Bearer", b"Bearer ", b"Basic abc", b"sk-1"),
        *(b"Bearer a b", b"Bearer \xe4", b"Bearer a\tb", b"Bearer " + b"x" * 9000),
    ],
)
def test_any_other_header_is_refused_and_never_anonymous(value: bytes) -> None:
    with pytest.raises(InvalidBearer):
        bearer_of(authorization(value))


def test_two_headers_are_refused() -> None:
    with pytest.raises(InvalidBearer):
        bearer_of(authorization(b"Bearer sk-1", b"Bearer sk-1"))


def sender(parts: Sequence[bytes | None]) -> Receive:
    """A receive that gives the parts; None is a client that hangs up."""
    left = list(parts)

    async def receive() -> Message:
        part = left.pop(0)
        if part is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    return receive


def with_headers(**headers: str) -> dict[str, Any]:
    return {"headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]}


@pytest.mark.parametrize("parts", [[b""], [b"abcde"], [b"ab", b"cde"], [b"a", b"", b"bcde"]])
async def test_a_body_is_read_whole(parts: list[bytes]) -> None:
    assert await read_body(with_headers(), sender(parts), 5) == b"".join(parts)


@pytest.mark.parametrize("parts", [[b"abcdef"], [b"abc", b"def"], [b"abc", b"def", b"never read"]])
async def test_a_body_over_the_limit_is_refused_as_it_passes_it(parts: list[bytes]) -> None:
    receive = sender(parts)
    with pytest.raises(RequestTooLarge, match="larger than 5 bytes"):
        await read_body(with_headers(), receive, 5)
    if len(parts) == 3:
        assert (await receive())["body"] == b"never read"


@pytest.mark.parametrize("length", ["6", "99999999999999999999", "-1", "five", ""])
async def test_a_body_that_says_it_is_too_large_is_not_read(length: str) -> None:
    with pytest.raises(RequestTooLarge):
        await read_body(with_headers(content_length=length), sender([]), 5)


async def test_a_compressed_body_is_refused_unread() -> None:
    with pytest.raises(InvalidRequest, match="Content-Encoding"):
        await read_body(with_headers(content_encoding="gzip"), sender([]), 5)
    assert await read_body(with_headers(content_encoding="Identity"), sender([b"{}"]), 5) == b"{}"


@pytest.mark.parametrize("parts", [[None], [b"ab", None]])
async def test_a_client_that_hangs_up_sent_nothing(parts: list[bytes | None]) -> None:
    with pytest.raises(ClientGone):
        await read_body(with_headers(), sender(parts), 5)


async def test_a_handlers_own_reading_is_capped() -> None:
    receive = capped(with_headers(), sender([b"abc", b"de", b"f"]), 5)
    assert (await receive())["body"] == b"abc"
    assert (await receive())["body"] == b"de"
    with pytest.raises(RequestTooLarge):
        await receive()
