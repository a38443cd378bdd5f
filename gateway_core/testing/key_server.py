"""An issuer's key set over HTTP, on a port of its own, with a log of what was asked: for tests of JWKS."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class KeyServer:
    """What is served, and what was asked. `status`, `body` and `headers` may be changed while it runs."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server
        self.status = 200
        self.body = b"{}"
        self.headers: dict[str, str] = {}
        #: (method, path, Authorization header) of every request.
        self.asked: list[tuple[str, str, str | None]] = []
        #: The clients' ends of all connections.
        self.connections: set[Any] = set()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"

    def secure(self, certificate: Path, key: Path) -> None:
        """From now on by TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)


class _Server(ThreadingHTTPServer):
    """Says nothing of clients that hang up."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A handshake that the client broke off, most often."""


@contextmanager
def key_server() -> Iterator[KeyServer]:
    """Serves on 127.0.0.1 while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 5.0  # a connection that is kept open does not keep the server from closing

        def _answer(self) -> None:
            length = int(self.headers.get("content-length", 0))
            self.rfile.read(length)
            served.connections.add(self.client_address)
            served.asked.append((self.command, self.path, self.headers.get("authorization")))
            self.send_response(served.status)
            for name, value in served.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(served.body)))
            self.end_headers()
            self.wfile.write(served.body)

        do_GET = do_POST = _answer  # noqa: N815  # the base class looks for these names

        def log_message(self, *_arguments: Any) -> None:
            """Says nothing: `asked` has it."""

    server = _Server(("127.0.0.1", 0), Handler)
    served = KeyServer(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
