"""POST /v1/tokenize-text and `spl tokenize`, against the real program."""

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from gateway_core.testing.server import ServedGateway, serving

CONFIG = """
include = ["shipped:self-host.toml"]
[models.exact]
routes = [{ provider = "demo", model = "demo" }]
price = "free"
tokenizer = "o200k_base"
[models.old]
routes = [{ provider = "demo", model = "demo" }]
price = "free"
tokenizer = "cl100k_base"
[models.elsewhere]
routes = [{ provider = "demo", model = "demo" }]
price = "free"
tiers = []
[models.rough]
routes = [{ provider = "demo", model = "demo" }]
price = "free"
[tiers.self-host]
requests_per_minute = 40
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    """A gateway with models of two vocabularies, and of none."""
    with serving(tmp_path_factory.mktemp("tokenize") / "home", config=CONFIG) as running:
        yield running


@pytest.fixture
def key(served: ServedGateway, request: pytest.FixtureRequest) -> str:
    """A key of an account of its own, with a minute of its own."""
    name = f"a{abs(hash(request.node.name))}"
    served.spl("account", "create", name)
    secret: str = json.loads(served.spl("keys", "mint", "--account", name, "--name", "k", "-o", "json"))["secret"]
    return secret


def post(served: ServedGateway, key: str, body: Any) -> httpx2.Response:
    return httpx2.post(
        f"{served.base_url}/tokenize-text", headers={"authorization": f"Bearer {key}"}, json=body, timeout=60
    )


def ok(served: ServedGateway, key: str, body: Any) -> dict[str, Any]:
    answer = post(served, key, body)
    assert answer.status_code == 200, answer.text
    value: dict[str, Any] = answer.json()
    assert value["count"] == len(value["tokens"])
    return value


def text_of(tokens: list[dict[str, Any]]) -> str:
    return bytes(byte for token in tokens for byte in token["bytes"]).decode()


def test_an_exact_tokenizer(served: ServedGateway, key: str) -> None:
    assert ok(served, key, {"model": "exact", "text": "hello world"}) == {
        "object": "tokenization",
        "model": "exact",
        "approximate": False,
        "tokens": [
            {"id": 24912, "text": "hello", "bytes": list(b"hello")},
            {"id": 2375, "text": " world", "bytes": list(b" world")},
        ],
        "count": 2,
    }
    assert [token["id"] for token in ok(served, key, {"model": "old", "text": "hello world"})["tokens"]] == [
        15339,
        1917,
    ]
    assert ok(served, key, {"model": "exact", "text": ""})["tokens"] == []


def test_bytes_that_are_no_text_by_themselves(served: ServedGateway, key: str) -> None:
    tokens = ok(served, key, {"model": "old", "text": "ዓ"})["tokens"]
    assert len(tokens) > 1
    assert all("�" in token["text"] for token in tokens)
    assert text_of(tokens) == "ዓ"


def test_where_no_tokenizer_is_published(served: ServedGateway, key: str) -> None:
    answer = ok(served, key, {"model": "rough", "text": "Hello, 世界"})
    assert answer["approximate"] is True
    assert [token["text"] for token in answer["tokens"]] == ["Hell", "o, ", "世", "界"]
    assert {token["id"] for token in answer["tokens"]} == {None}


def test_messages(served: ServedGateway, key: str) -> None:
    messages = [{"role": "user", "content": "hello world"}]
    answer = ok(served, key, {"model": "exact", "messages": messages})
    assert text_of(answer["tokens"]) == "userhello world"
    assert (answer["count"], answer["prompt_tokens"]) == (3, 9)


def test_a_mebibyte_of_hard_text(served: ServedGateway, key: str) -> None:
    text = "😀" * 260_000
    answer = ok(served, key, {"model": "old", "text": text})
    assert text_of(answer["tokens"]) == text
    assert ok(served, key, {"model": "exact", "text": " " * 1_000_000})["count"] > 0


def test_it_counts_as_a_request(served: ServedGateway, key: str) -> None:
    answer = post(served, key, {"model": "exact", "text": "x"})
    assert answer.headers["x-ratelimit-limit-requests"] == "40"
    assert answer.headers["x-ratelimit-remaining-requests"] == "39"
    assert answer.headers["x-ratelimit-reset-requests"] == "1m0s"
    assert answer.headers["x-syncropic-tier"] == "self-host"
    for _ in range(39):
        assert post(served, key, {"model": "exact", "text": "x"}).status_code == 200
    refused = post(served, key, {"model": "exact", "text": "x"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": "exact"}, 400, "text"),
        ({"model": "exact", "text": "a", "messages": []}, 400, "text"),
        ({"text": "a"}, 400, "model"),
        ({"model": "exact", "text": 7}, 400, "text"),
        ({"model": "exact", "messages": ["a"]}, 400, "messages[0]"),
        ({"model": "exact", "txt": "a"}, 400, "txt"),
        ({"model": "nowhere", "text": "a"}, 404, "model"),
        ({"model": "elsewhere", "text": "a"}, 402, "model"),
    ],
)
def test_bad_requests(served: ServedGateway, key: str, body: Any, status: int, param: str) -> None:
    answer = post(served, key, body)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["param"] == param


def test_a_body_that_is_too_large_is_not_read(served: ServedGateway, key: str) -> None:
    address = urlsplit(served.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        head = f"POST /v1/tokenize-text HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        connection.sendall(f"{head}content-length: {20 * 1024 * 1024}\r\n\r\n".encode())
        answer = connection.recv(65536)
    assert b" 413 " in answer.split(b"\r\n", 1)[0]


def test_the_command(served: ServedGateway) -> None:
    assert json.loads(served.spl("tokenize", "exact", "hello world"))["count"] == 2
    assert served.spl("tokenize", "exact", "hello\nworld", "-o", "text") == "hello|\n|world\n3 tokens\n"
    assert "about 3 tokens" in served.spl("tokenize", "rough", "hello world", "-o", "text")
    table = served.spl("tokenize", "exact", "hello world", "-o", "table").splitlines()
    assert [line.split() for line in table[1:]] == [
        ["24912", "hello", *_hex("hello")],
        ["2375", "world", *_hex(" world")],
    ]


def _hex(text: str) -> list[str]:
    return [f"{byte:02x}" for byte in text.encode()]
