"""The server on a real socket: slow and huge requests, taken ports, a drain. Faults 15 and 30."""

import json
import re
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from gateway_core.config import ServerConfig
from gateway_core.edge import server
from gateway_core.errors import ConfigError
from gateway_core.home import Home
from gateway_core.testing.server import PATIENCE, SPL, ServedGateway, serving

QUICK = """
include = ["shipped:self-host.toml"]
[server]
request_timeout = 1.5
max_body_bytes = 100000
grace_seconds = 30
"""


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedGateway]:
    """A server with a short patience and a small body cap."""
    with serving(tmp_path_factory.mktemp("quick") / "home", config=QUICK) as served:
        yield served


def connect(served: ServedGateway) -> socket.socket:
    parts = urlsplit(served.url)
    assert parts.hostname
    assert parts.port
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def all_of(connection: socket.socket) -> bytes:
    """Everything until the server hangs up, by FIN or RST."""
    found = b""
    try:
        while data := connection.recv(65536):
            found += data
    except ConnectionResetError:
        pass
    return found


def head(served: ServedGateway, *lines: str) -> bytes:
    first = ("POST /v1/chat/completions HTTP/1.1", "host: x", f"authorization: Bearer {served.key}", *lines)
    return "\r\n".join(first).encode() + b"\r\n\r\n"


def test_15_a_head_that_does_not_end_is_ended(quick: ServedGateway) -> None:
    with connect(quick) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n")
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert re.search(rb"\r\nx-request-id: req_[0-9A-Z]{26}\r\n", answer)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_request"


def test_a_connection_that_says_nothing_is_ended(quick: ServedGateway) -> None:
    with connect(quick) as connection:
        assert all_of(connection) == b""


def test_blank_lines_do_not_keep_a_connection(quick: ServedGateway) -> None:
    with connect(quick) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b'{"status":"ok"}'):
            answer += connection.recv(65536)
        connection.sendall(b"\r\n")
        assert all_of(connection) == b""


def test_15_a_dripping_body_is_ended(quick: ServedGateway) -> None:
    with connect(quick) as connection:
        connection.sendall(head(quick, "content-length: 100") + b'{"model"')
        assert all_of(connection).startswith(b"HTTP/1.1 408 ")


def test_15_a_huge_head_is_refused(quick: ServedGateway) -> None:
    for filler in (b"x-a: " + b"a" * 70_000 + b"\r\n", b"x-a: b\r\n" * 9_000, b"x-a: " + b"a" * 1_000_000):
        with connect(quick) as connection:
            try:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + filler + b"\r\n")
            except (ConnectionResetError, BrokenPipeError):
                continue  # it hung up before all of it was sent
            answer = all_of(connection)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 431 "), answer[:100]


def test_a_head_just_below_the_cap_is_fine(quick: ServedGateway) -> None:
    assert httpx2.get(quick.url + "/healthz", headers={"x-a": "a" * 60_000}).status_code == 200


def test_nonsense_is_refused_in_the_error_shape(quick: ServedGateway) -> None:
    with connect(quick) as connection:
        connection.sendall(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"invalid_request"' in answer


def test_a_body_that_is_said_to_be_too_large_is_not_asked_for(quick: ServedGateway) -> None:
    with connect(quick) as connection:
        connection.sendall(head(quick, "content-length: 100001", "expect: 100-continue"))
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"request_too_large"' in answer


def test_a_body_over_the_cap_gets_its_answer(quick: ServedGateway) -> None:
    """The SDKs send a body whole before they look: they must see the 413, not a reset."""
    headers = {"authorization": f"Bearer {quick.key}"}
    for content in (b"x" * 150_000, iter([b"x" * 50_000] * 10)):
        answer = httpx2.post(quick.url + "/v1/chat/completions", content=content, headers=headers)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "request_too_large"


def test_15_an_endless_body_is_cut_off(quick: ServedGateway) -> None:
    sent = 0
    with connect(quick) as connection:
        connection.sendall(head(quick, "transfer-encoding: chunked"))
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        try:
            while sent < 1 << 30:
                connection.sendall(chunk)
                sent += 65536
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert sent < 64 << 20
    assert httpx2.get(quick.url + "/healthz").status_code == 200


def test_a_compressed_body_is_refused(quick: ServedGateway) -> None:
    headers = {"authorization": f"Bearer {quick.key}", "content-encoding": "gzip"}
    answer = httpx2.post(quick.url + "/v1/chat/completions", content=b"\x1f\x8b", headers=headers)
    assert answer.status_code == 400
    assert "Content-Encoding" in answer.json()["error"]["message"]


def test_a_connection_is_used_again_after_a_refusal(quick: ServedGateway) -> None:
    with httpx2.Client(base_url=quick.url) as http:
        for _ in range(3):
            assert http.post("/v1/chat/completions", content=b"x" * 1000).status_code == 401
        assert http.get("/healthz").status_code == 200


def test_04_a_second_server_on_the_home_is_refused(quick: ServedGateway) -> None:
    done = subprocess.run(
        [SPL, "--home", quick.home, "serve", "--port", "0"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert f"the server at {quick.url} (process {quick.process.pid})" in done.stderr.splitlines()[-1]


def test_a_taken_port_is_one_clear_line(quick: ServedGateway, tmp_path: Path) -> None:
    port = urlsplit(quick.url).port
    done = subprocess.run(
        [SPL, "--home", tmp_path, "serve", "--port", str(port)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert f"port {port} on 127.0.0.1 is taken" in done.stderr.splitlines()[-1]
    assert "--port" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "server.json").exists()


def test_what_cannot_be_bound_is_said_so() -> None:
    for address in ("192.0.2.1", "no.such.host.invalid"):
        with pytest.raises(ConfigError, match=r"address of this machine; choose another with --host"):
            server.bind(address, 0)


def test_its_url_can_be_called() -> None:
    for address, url in (("0.0.0.0", "http://127.0.0.1:"), ("127.0.0.1", "http://127.0.0.1:")):  # noqa: S104  # what is tested
        with server.bind(address, 0) as listener:
            assert server.url_of(listener) == url + str(listener.getsockname()[1])


def test_an_open_address_without_tls_is_warned_about() -> None:
    warning = server.exposure("0.0.0.0", ServerConfig())  # noqa: S104  # what is tested
    assert warning is not None
    assert "without TLS" in warning
    assert server.exposure("192.0.2.1", ServerConfig(trusted_proxies=("192.0.2.2",))) is None
    for address in ("127.0.0.1", "localhost", "::1", "127.8.8.8"):
        assert server.exposure(address, ServerConfig()) is None


def test_more_than_one_worker_is_refused() -> None:
    server.check_workers(1)
    with pytest.raises(ConfigError, match="need a store and limits that they share"):
        server.check_workers(2)


def test_30_a_drain_ends_what_runs_and_refuses_what_comes(tmp_path: Path) -> None:
    """SIGTERM: not ready, a call that is under way ends, new ones get 503 with Retry-After, and the exit is clean."""
    # The body that follows late must not be late for the server.
    config = QUICK.replace("request_timeout = 1.5", f"request_timeout = {PATIENCE}")
    with serving(tmp_path / "home", config=config) as served:
        headers = {"authorization": f"Bearer {served.key}"}
        with connect(served) as connection:
            body = json.dumps({"model": "demo", "messages": [{"role": "user", "content": "hi"}]}).encode()
            # A call whose body is still coming: it is under way, and it may end.
            connection.sendall(head(served, f"content-length: {len(body)}") + body[:10])
            while httpx2.get(served.url + "/readyz").status_code != 200:
                pass
            served.process.send_signal(signal.SIGTERM)
            while (ready := httpx2.get(served.url + "/readyz")).status_code == 200:
                pass
            assert ready.json()["status"] == "draining"
            assert httpx2.get(served.url + "/healthz").status_code == 200
            refused = httpx2.post(served.url + "/v1/chat/completions", json=json.loads(body), headers=headers)
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "5"
            assert refused.json()["error"]["code"] == "internal_error"
            connection.sendall(body[10:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        assert served.process.wait(PATIENCE) == 0
        assert not (served.home / "server.json").exists()
        assert Home(served.home).running() is None


def test_a_killed_server_can_be_started_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving(home) as served:
        served.process.kill()
        served.process.wait()
    assert (home / "server.json").exists()
    with serving(home) as served:
        assert json.loads((home / "server.json").read_text())["pid"] == served.process.pid
        assert httpx2.get(served.url + "/readyz").json()["status"] == "ready"
        assert served.stop() == 0


@pytest.mark.parametrize(("soft", "set_to"), [(256, 4096), (5000, 5000)])
def test_a_system_that_takes_no_unlimited_number_of_files_is_served_on(
    soft: int, set_to: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As macOS is: it names no limit, and refuses to set none."""
    limits = {"files": (soft, resource.RLIM_INFINITY)}

    def setrlimit(_which: int, wanted: tuple[int, int]) -> None:
        if wanted[0] == resource.RLIM_INFINITY:
            raise ValueError("current limit exceeds maximum limit")
        limits["files"] = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda _which: limits["files"])
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    server._raise_file_limit()
    assert limits["files"] == (set_to, resource.RLIM_INFINITY)
