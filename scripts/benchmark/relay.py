"""The bare relay of the gateway's own first stack: uvicorn, a raw ASGI endpoint, httpx2. Nothing durable.

python -m scripts.benchmark.relay PORT UPSTREAM_PORT
"""

import sys
from collections.abc import AsyncIterator

import httpx2

from scripts.benchmark.endpoint import serve


class Httpx2Client:
    """Asks through one httpx2.AsyncClient."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1/chat/completions"
        self.http: httpx2.AsyncClient | None = None

    async def start(self) -> None:
        limits = httpx2.Limits(max_connections=1000, max_keepalive_connections=1000)
        self.http = httpx2.AsyncClient(limits=limits, timeout=30, trust_env=False)

    async def ask(self, body: bytes) -> AsyncIterator[bytes]:
        assert self.http is not None
        headers = {"content-type": "application/json"}
        async with self.http.stream("POST", self.url, content=body, headers=headers) as response:
            async for piece in response.aiter_raw():
                yield piece


if __name__ == "__main__":
    serve(Httpx2Client(int(sys.argv[2])))
