"""A provider's upstream as a process of its own, whatever its wire: HTTP, scripts, a log of every request.

A wire is a subclass of `ScriptedUpstream` with its path, its rules and what it answers. POST /script takes a script or
a list of them, for their models; DELETE /script forgets all; GET /log lists every request as JSON lines, DELETE /log
forgets them.
"""

import asyncio
import json
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Generic, Literal, TypeVar

import msgspec


class BaseScript(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How requests for one model are answered: what is the same on every wire."""

    model: str
    #: Requests that it serves before it is used up; None: all.
    times: int | None = None
    status: int = 200
    headers: Mapping[str, str] = {}
    #: Instead of a proper answer.
    body: str | None = None
    content_type: str | None = None
    #: Data of the stream's events, instead of proper ones.
    events: tuple[str, ...] | None = None
    #: Milliseconds before the head, and between two writes.
    delay_ms: float = 0
    gap_ms: float = 0
    hang: Literal["never", "before_head", "after_head"] = "never"
    #: After so many bytes of the body: a reset, or the connection's plain end.
    reset_at: int | None = None
    close_at: int | None = None
    #: Bytes in one write; None: an event.
    split: int | None = None
    #: Ends of writes, as places in the whole body, instead.
    cuts: tuple[int, ...] | None = None
    #: Comments, and lines of other fields, before every event.
    comments: bool = False
    #: No chunks and no length: the connection's end is the body's.
    until_close: bool = False


class Reply(msgspec.Struct, frozen=True):
    """An answer of the wire's own: an error, most often."""

    status: int
    body: bytes
    content_type: str = "application/json"


class Exchange(msgspec.Struct):
    """One request, as far as HTTP knows it."""

    path: str
    headers: dict[str, str]
    raw: bytes
    #: Its line in the log: `body` once the rules have taken it, `refused` where they have not.
    entry: dict[str, Any]


class _Reset(Exception):
    pass  # the script's way to end a connection


S = TypeVar("S", bound=BaseScript)


class ScriptedUpstream(Generic[S]):
    """The server's state: scripts and the log."""

    #: The wire's own type of scripts.
    script_type: type[S]

    def __init__(self) -> None:
        self._scripts: dict[str, list[S]] = {}
        self._log: list[dict[str, Any]] = []
        self._connections = 0

    # ------------------------------------------------------------ of each wire

    def serves(self, path: str) -> bool:
        """Whether it is the API's, and not the control's."""
        raise NotImplementedError

    def take(self, exchange: Exchange) -> Reply | tuple[S, bool]:
        """Checks a request: a refusal, or the script for it and whether it is to be streamed."""
        raise NotImplementedError

    def whole(self, script: S, exchange: Exchange) -> bytes:
        """A plain answer."""
        raise NotImplementedError

    def pieces(self, script: S, exchange: Exchange) -> list[bytes]:
        """A stream's events as they are written."""
        raise NotImplementedError

    # ------------------------------------------------------------ of all

    def next_script(self, model: str) -> S:
        """The next script for the model, counted down."""
        queue = self._scripts.get(model, [])
        if not queue:
            return self.script_type(model=model)
        script = queue[0]
        if script.times is not None:
            queue[0] = msgspec.structs.replace(script, times=script.times - 1)
            if script.times <= 1:
                queue.pop(0)
        elif len(queue) > 1:
            queue.pop(0)
        return script

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
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        if not self.serves(path):
            await self._control(writer, method, path, raw)
            return True
        entry = {"connection": number, "path": path, "headers": headers, "body": None, "state": "open", "sent": 0}
        self._log.append(entry)
        return await self._served(reader, writer, Exchange(path, headers, raw, entry))

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, exchange: Exchange) -> bool:
        """Answers one request of the API's; whether the connection goes on."""
        entry = exchange.entry
        sending = asyncio.create_task(self._answer(writer, exchange))
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

    async def _control(self, writer: asyncio.StreamWriter, method: str, path: str, raw: bytes) -> None:
        answer = b""
        if (method, path) == ("POST", "/script"):
            given: Any = msgspec.json.decode(raw)
            for one in given if isinstance(given, list) else [given]:
                script = msgspec.convert(one, self.script_type)
                self._scripts.setdefault(script.model, []).append(script)
        elif (method, path) == ("DELETE", "/script"):
            self._scripts.clear()
        elif (method, path) == ("DELETE", "/log"):
            self._log.clear()
        else:
            answer = "".join(json.dumps(entry) + "\n" for entry in self._log).encode()
        writer.write(_head(200, {"content-type": "application/json", "content-length": str(len(answer))}) + answer)
        await writer.drain()

    async def _answer(self, writer: asyncio.StreamWriter, exchange: Exchange) -> bool:
        taken = self.take(exchange)
        if isinstance(taken, Reply):
            exchange.entry["refused"] = taken.body.decode()
            fields = {"content-type": taken.content_type, "content-length": str(len(taken.body))}
            writer.write(_head(taken.status, fields) + taken.body)
            await writer.drain()
            return True
        script, streams = taken
        await asyncio.sleep(script.delay_ms / 1000)
        if script.hang == "before_head":
            await asyncio.Event().wait()
        streams = streams and script.body is None and script.status == 200
        if streams:
            pieces = self.pieces(script, exchange)
        else:
            pieces = [script.body.encode() if script.body is not None else self.whole(script, exchange)]
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
        await self._write(writer, script, pieces, exchange.entry, chunked="transfer-encoding" in fields)
        return not script.until_close

    async def _write(
        self, writer: asyncio.StreamWriter, script: S, pieces: list[bytes], entry: dict[str, Any], *, chunked: bool
    ) -> None:
        """The body in its pieces, up to where the script breaks off."""
        most = min((at for at in (script.reset_at, script.close_at) if at is not None), default=None)
        for piece in split(pieces, script):
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


def split(pieces: list[bytes], script: BaseScript) -> Iterator[bytes]:
    """The same bytes in the writes that the script wants."""
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


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode("latin-1")


async def _serve(upstream: ScriptedUpstream[Any], port: int) -> None:
    server = await upstream.start(port)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    # Ends with the process that started it, which holds the other end of our standard input.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    server.close()


def serve(upstream: ScriptedUpstream[Any], port: int) -> None:
    """Prints its port, and serves until standard input ends."""
    asyncio.run(_serve(upstream, port))
