"""A provider for many calls at once: canned answers, and streams that it holds open until it is told to end them.

    python -m scripts.trials.canned

prints its port. The model `held` streams an event a second; GET /end ends all of these properly. Ends with the
process that started it, which holds the other end of its standard input.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
CHUNK = {"id": "chatcmpl-canned", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "canned"}
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVERY = 1.0
"""Seconds between two events of a stream that is held."""


def _plain() -> bytes:
    message = {"role": "assistant", "content": "one two three four"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    answer = {**CHUNK, "object": "chat.completion", "choices": [choice], "usage": USAGE}
    body = json.dumps(answer).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _event(delta: dict[str, Any] | None, finish: str | None = None) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    data = json.dumps({**CHUNK, "choices": choices, "usage": USAGE if delta is None else None})
    return _sent(f"data: {data}\n\n".encode())


def _sent(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


PLAIN = _plain()
BEGINNING = STREAM_HEAD + _event({"role": "assistant", "content": "one"})
MORE = _event({"content": " more"})
END = _event({}, "stop") + _event(None) + _sent(b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Canned(asyncio.Protocol):
    """One connection."""

    def __init__(self, held: "set[asyncio.Transport]") -> None:
        self._held = held
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps where to answer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        """Nobody is there any more."""
        self._held.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """Answers a request once it is whole."""
        self._came += data
        head, separator, body = self._came.partition(b"\r\n\r\n")
        if not separator:
            return
        lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if len(body) < int(lengths[0] if lengths else b"0"):
            return
        self._came = b""
        if head.startswith(b"GET /end "):
            for each in self._held:
                each.write(END)
            self._held.clear()
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        elif b'"stream":true' not in body:
            self._transport.write(PLAIN)
        elif b'"model":"held"' in body:
            self._transport.write(BEGINNING)
            self._held.add(self._transport)
        else:
            self._transport.write(BEGINNING + MORE * 3 + END)


async def _serve() -> None:
    held: set[asyncio.Transport] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Canned(held), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)

    async def go_on() -> None:
        while True:
            await asyncio.sleep(EVERY)
            for each in list(held):
                each.write(MORE)

    going_on = asyncio.create_task(go_on())
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    going_on.cancel()
    server.close()


@contextmanager
def canned_upstream() -> Iterator[str]:
    """The provider as a process while the block lasts: its `base_url`."""
    command = [sys.executable, "-m", "scripts.trials.canned"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        process.stdin.close()
        process.wait(10)


if __name__ == "__main__":
    asyncio.run(_serve())
