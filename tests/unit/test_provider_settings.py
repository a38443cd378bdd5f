"""What a provider's settings may not be, told without the secret in them."""

import pytest

from gateway_core.errors import ConfigError
from gateway_core.upstream.provider_settings import check_base_url, checked_headers, checked_key


@pytest.mark.parametrize("base_url", ["https://a.example", "http://127.0.0.1:8000/v1/", "https://[::1]/"])
def test_an_address_that_can_be(base_url: str) -> None:
    check_base_url("mine", base_url, "https://b.example")


@pytest.mark.parametrize(
    "base_url",
    ["a.example/v1", "ftp://a.example", "https://user:secret@a.example", "https://a.example?key=secret", "https://",
     "https://a.example#secret", "https://[secret", "https://a.example:99999", ""],
)  # fmt: skip
def test_an_address_that_cannot_be(base_url: str) -> None:
    with pytest.raises(ConfigError, match=r"^providers\.mine\.base_url: .*https://b\.example") as refused:
        check_base_url("mine", base_url, "https://b.example")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("key", ["", "secret\n", " secret", "secrét"])
def test_a_key_that_no_header_can_carry(key: str) -> None:
    with pytest.raises(ConfigError, match=r"^providers\.mine\.api_key: ") as refused:
        checked_key("mine", key)
    assert "secr" not in str(refused.value)


def test_headers_are_in_lower_case() -> None:
    assert checked_headers("mine", {"X-Team": "a b"}) == {"x-team": "a b"}


@pytest.mark.parametrize(
    ("header", "value"),
    [("x y", "secret"), ("", "secret"), ("x", "secret\r\ny: z"), ("x", ""), ("Host", "secret"), ("X-Key", "secret")],
)
def test_headers_that_cannot_be(header: str, value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        checked_headers("mine", {header: value}, reserved=("x-key",))
    assert refused.value.where == f"providers.mine.headers.{header}"
    assert "secret" not in str(refused.value)
