"""Fault 36: floods of 401 and of 400, and 20 MiB for the tokenizer: limited by address, and others are served on."""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from gateway_core.testing.profiles import MESSAGES
from gateway_core.testing.server import ServedGateway, serving

CONFIG = """
include = ["shipped:self-host.toml"]
[server]
trusted_proxies = ["127.0.0.1"]
failures_per_minute = 20
[models.exact]
routes = [{ provider = "demo", model = "demo" }]
price = "free"
tokenizer = "o200k_base"
"""
GOOD = {"model": "demo", "messages": MESSAGES}
BAD = {"model": "demo", "messages": MESSAGES, "temperature": 17}
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    """A gateway behind a proxy that it trusts: tests choose their address."""
    with serving(tmp_path_factory.mktemp("floods") / "home", config=CONFIG) as gateway:
        yield gateway


def client(served: ServedGateway, address: str, key: str | None = None) -> httpx2.Client:
    headers = {"x-forwarded-for": address, "authorization": f"Bearer {key or served.key}"}
    return httpx2.Client(base_url=served.base_url, headers=headers, timeout=60)


@pytest.mark.parametrize(
    ("address", "key", "body", "status", "what"),
    [
        ("192.0.2.1", "sk-wrong", GOOD, 401, "refused bearers"),
        ("2001:db8::1", "sk-wrong", GOOD, 401, "refused bearers"),
        ("192.0.2.2", None, BAD, 400, "bad requests"),
    ],
)
def test_a_flood_of_failures_is_limited_by_its_address(
    served: ServedGateway, address: str, key: str | None, body: Any, status: int, what: str
) -> None:
    with client(served, address, key) as flood:
        statuses = [flood.post("/chat/completions", json=body).status_code for _ in range(100)]
        assert statuses == [status] * 20 + [429] * 80
        refused = flood.get("/models")
        error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (429, "rate_limited")
    wait = refused.headers["retry-after"]
    assert error["message"] == f"20 {what} per minute from one address; retry in {wait}s"
    assert 1 <= int(wait) <= 60
    with client(served, address) as same, client(served, "198.51.100.1") as other:
        # Who is behind that address waits, too; nobody else notices. Health is answered always.
        assert same.post("/chat/completions", json=GOOD).status_code == 429
        assert other.post("/chat/completions", json=GOOD).status_code == 200
        assert same.get(f"{served.url}/healthz").status_code == 200


def test_nothing_is_looked_up_for_who_is_not_listened_to(served: ServedGateway) -> None:
    """The head alone is answered: neither the bearer nor the body was waited for."""
    with client(served, "192.0.2.3", "sk-wrong") as flood:
        for _ in range(20):
            assert flood.get("/models").status_code == 401
    host, port = served.url.removeprefix("http://").split(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\nx-forwarded-for: 192.0.2.3\r\n"
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"{head}content-length: 10000000\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 429 ")


def test_others_are_served_while_many_flood(served: ServedGateway) -> None:
    stop = threading.Event()

    def flood(number: int) -> int:
        sent = 0
        with client(served, f"203.0.113.{number}", "sk-wrong") as flooding:
            while not stop.is_set():
                assert flooding.post("/chat/completions", json=GOOD).status_code in {401, 429}
                sent += 1
        return sent

    with ThreadPoolExecutor(8) as pool, client(served, "198.51.100.2") as other:
        floods = [pool.submit(flood, number) for number in range(8)]
        try:
            answered = [other.post("/chat/completions", json=GOOD).status_code for _ in range(100)]
        finally:
            stop.set()
        sent = [each.result() for each in floods]
    assert answered == [200] * 100
    # All of them were in it at the same time, and got no more turns than the one that was served.
    assert all(sent)


@pytest.mark.parametrize("chunked", [False, True])
def test_20_mib_for_the_tokenizer_are_refused_before_they_are_read(served: ServedGateway, chunked: bool) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    length = "transfer-encoding: chunked" if chunked else f"content-length: {20 * MIB}"
    head = (
        f"POST /v1/tokenize-text HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {served.key}\r\n"
        f"content-type: application/json\r\n{length}\r\n\r\n"
    )
    part = b'{"model": "exact", "text": "' + b"a" * (64 * 1024)
    sent = 0
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.encode())
        connection.setblocking(False)
        answer = b""
        while not answer and sent < 20 * MIB:
            piece = b"%x\r\n%b\r\n" % (len(part), part) if chunked else part
            try:
                sent += connection.send(piece)
            except BlockingIOError:
                connection.settimeout(20)
                answer = connection.recv(65536)
            else:
                try:
                    answer = connection.recv(65536)
                except BlockingIOError:
                    continue
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"request_too_large" in answer
    assert sent < 8 * MIB


def test_the_loop_turns_while_the_largest_texts_are_tokenized(served: ServedGateway) -> None:
    """Counted: what else is answered before the first of the large ones is done."""
    text = ("The quick brown fox jumps over the lazy dog. " * (MIB // 45))[: MIB - 100]
    body = json.dumps({"model": "exact", "text": text})

    def tokenize(number: int) -> int:
        with client(served, f"203.0.113.1{number}") as large:
            answer = large.post("/tokenize-text", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 200
            return int(answer.json()["count"])

    with ThreadPoolExecutor(4) as pool, client(served, "198.51.100.3") as other:
        assert other.post("/tokenize-text", json={"model": "exact", "text": "warm"}).status_code == 200
        large = [pool.submit(tokenize, number) for number in range(4)]
        turns = 0
        while not all(each.done() for each in large):
            assert other.get(f"{served.url}/healthz").status_code == 200
            turns += 1
        counts = [each.result() for each in large]
    assert len(set(counts)) == 1
    assert turns >= 20
