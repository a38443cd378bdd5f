"""An upstream that speaks OpenAI's wire, strict in what it takes and scripted in what it gives, as its own process.

    python -m gateway_core.testing.openai_upstream --port 0 [--key sk-upstream-test]

prints its port. POST /v1/chat/completions is the API; POST /script takes a `Script` or a list of them, for their
models; DELETE /script forgets all; GET /log lists every request as JSON lines, DELETE /log forgets them.
"""

import asyncio
import json
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway_core.testing.openai_rules import Refused, check
from gateway_core.testing.openai_script import Script, events_of, plain_body

KEY = "sk-upstream-test"


class _Reset(Exception):
    pass  # the script's way to end a connection


class OpenAIUpstream:
    """The server's state: scripts and the log."""

    def __init__(self, key: str = KEY) -> None:
        self._key = key
        self._scripts: dict[str, list[Script]] = {}
        self._log: list[dict[str, Any]] = []
        self._connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> asyncio.Server:
        """Listens on 127.0.0.1."""
        return await asyncio.start_server(self._connected, "127.0.0.1", port, limit=2**20)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        number = self._connections
        try:
            while await self._request(reader, writer, number):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side went away, or the process ends
        except _Reset:
            if not writer.is_closing():  # the other side may have been quicker
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        """Serves one request; whether the connection goes on."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except asyncio.IncompleteReadError:
            return False
        method, path, _ = head[0].split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if path != "/v1/chat/completions":
            await self._control(writer, method, path, body)
            return True
        entry: dict[str, Any] = {"connection": number, "headers": headers, "body": None, "state": "open", "sent": 0}
        self._log.append(entry)
        sending = asyncio.create_task(self._completion(writer, headers, body, entry))
        # A client sends nothing while it waits, so whatever can be read is its end.
        gone = asyncio.create_task(reader.read(1))
        await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            entry["state"] = "client_gone"
            sending.cancel()
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        try:
            goes_on = await sending
        except asyncio.CancelledError:
            return False
        except ConnectionError:
            if entry["state"] == "open":  # the write met its end before the read did
                entry["state"] = "client_gone"
            raise
        if entry["state"] == "open":
            entry["state"] = "answered"
        return goes_on

    async def _control(self, writer: asyncio.StreamWriter, method: str, path: str, body: bytes) -> None:
        answer = b""
        if (method, path) == ("POST", "/script"):
            given = msgspec.json.decode(body, type=list[Script] | Script)
            for script in given if isinstance(given, list) else [given]:
                self._scripts.setdefault(script.model, []).append(script)
        elif (method, path) == ("DELETE", "/script"):
            self._scripts.clear()
        elif (method, path) == ("DELETE", "/log"):
            self._log.clear()
        else:
            answer = "".join(json.dumps(entry) + "\n" for entry in self._log).encode()
        writer.write(_head(200, {"content-type": "application/json", "content-length": str(len(answer))}) + answer)
        await writer.drain()

    def _script(self, model: str) -> Script:
        """The next script for the model, counted down."""
        queue = self._scripts.get(model, [])
        if not queue:
            return Script(model=model)
        script = queue[0]
        if script.times is not None:
            queue[0] = msgspec.structs.replace(script, times=script.times - 1)
            if script.times <= 1:
                queue.pop(0)
        elif len(queue) > 1:
            queue.pop(0)
        return script

    async def _completion(
        self, writer: asyncio.StreamWriter, headers: dict[str, str], raw: bytes, entry: dict[str, Any]
    ) -> bool:
        if headers.get("authorization") != f"Bearer {self._key}":
            error = {"message": "Incorrect API key provided.", "type": "invalid_request_error", "param": None}
            return await self._refuse(writer, 401, {**error, "code": "invalid_api_key"}, entry)
        try:
            body = entry["body"] = check(raw, headers.get("content-type", ""))
        except Refused as refused:
            return await self._refuse(writer, 400, refused.error, entry)
        script = self._script(body["model"])
        await asyncio.sleep(script.delay_ms / 1000)
        if script.hang == "before_head":
            await asyncio.Event().wait()
        streams = bool(body.get("stream")) and script.body is None and script.status == 200
        pieces = events_of(script, body) if streams else [plain_body(script, body)]
        kind = script.content_type or ("text/event-stream; charset=utf-8" if streams else "application/json")
        fields = {"content-type": kind, **script.headers}
        if script.until_close:
            fields["connection"] = "close"
        elif streams:
            fields["transfer-encoding"] = "chunked"
        else:
            fields["content-length"] = str(len(pieces[0]))
        writer.write(_head(script.status, fields))
        if script.hang == "after_head":
            await asyncio.Event().wait()
        await self._write(writer, script, pieces, entry, chunked="transfer-encoding" in fields)
        return not script.until_close

    async def _write(
        self, writer: asyncio.StreamWriter, script: Script, pieces: list[bytes], entry: dict[str, Any], *, chunked: bool
    ) -> None:
        """The body in its pieces, up to where the script breaks off."""
        most = min((at for at in (script.reset_at, script.close_at) if at is not None), default=None)
        for piece in _split(pieces, script):
            kept = piece if most is None else piece[: most - entry["sent"]]
            if kept:
                writer.write(b"%x\r\n%b\r\n" % (len(kept), kept) if chunked else kept)
                await writer.drain()
                entry["sent"] += len(kept)
            if most is not None and entry["sent"] >= most:
                # What was written is to arrive before the end does.
                await asyncio.sleep(0.02)
                entry["state"] = "broken_off"
                raise _Reset if script.reset_at is not None else ConnectionAbortedError
            await asyncio.sleep(script.gap_ms / 1000)
        if chunked:
            writer.write(b"0\r\n\r\n")
            await writer.drain()

    async def _refuse(
        self, writer: asyncio.StreamWriter, status: int, error: dict[str, Any], entry: dict[str, Any]
    ) -> bool:
        entry["refused"] = error
        body = json.dumps({"error": error}).encode()
        writer.write(_head(status, {"content-type": "application/json", "content-length": str(len(body))}) + body)
        await writer.drain()
        return True


def _split(pieces: list[bytes], script: Script) -> Iterator[bytes]:
    """The body in the writes that the script wants."""
    if script.split is None and script.cuts is None:
        yield from pieces
        return
    whole = b"".join(pieces)
    ends = script.cuts if script.cuts is not None else range(script.split or 1, len(whole), script.split or 1)
    begin = 0
    for end in (*ends, len(whole)):
        if end > begin:
            yield whole[begin:end]
            begin = end


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode("latin-1")


async def _serve(port: int, key: str) -> None:
    server = await OpenAIUpstream(key).start(port)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    # Ends with the process that started it, which holds the other end of our standard input.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    server.close()


def main() -> None:
    """Serves until standard input ends."""
    arguments = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    asyncio.run(_serve(int(arguments.get("--port", "0")), arguments.get("--key", KEY)))


if __name__ == "__main__":
    main()
