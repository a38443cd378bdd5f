"""Clients that leave a stream at any byte, by FIN, RST, half-close or after a stall: what they received, and what
they were billed. Each call that reached the provider must have exactly one row, and what was received is billed.

What is billed may be more than what was read, by what was on its way when the client left: the kernel had taken it.
"""

import argparse
import asyncio
import fcntl
import random
import socket
import struct
import sys
import tempfile
import termios
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gateway_core.testing.openai_fixture import UpstreamHandle, upstream_running
from gateway_core.testing.server import PATIENCE, ServedGateway, serving
from gateway_core.tokens import Tokens
from scripts.trials import books
from scripts.trials.caller import body_of, connected, no_linger, request, text_of

CONFIG = """
[upstream]
retries = 0
breaker_failures = 0

[providers.strict]
plugin = "provider-openai"
base_url = "{base_url}"
api_key = "env:STRICT_KEY"
"""
MODEL = """
[models.{name}]
routes = [{{ provider = "strict", model = "{name}" }}]
price = {{ input = "1.00", output = "10.00" }}
max_output_tokens = 100000
tokenizer = "o200k_base"
"""
#: How the provider sends: word by word, all at once, and far more than any buffer takes. It reports no usage, so that
#: what is billed is what is counted.
SCRIPTS: dict[str, dict[str, Any]] = {
    "steady": {"words": 80, "gap_ms": 4, "usage": "none"},
    "burst": {"words": 200, "usage": "none"},
    "flood": {"words": 12_000, "usage": "none"},
}
Way = Literal["fin", "rst", "half_close", "stall"]
WAYS: tuple[Way, ...] = ("fin", "rst", "half_close", "stall")
ABREAST = 12


@dataclass(frozen=True)
class Left:
    """One client that left: what it had got by then."""

    model: str
    how: Way
    request_id: str
    text: str


@dataclass
class Difference:
    """Tokens billed less tokens received, over many clients that left in one way."""

    clients: int = 0
    most: int = 0
    total: int = 0

    def add(self, tokens: int) -> None:
        """One more client."""
        self.clients += 1
        self.most = max(self.most, tokens)
        self.total += tokens


class Trial:
    """Many clients on one gateway."""

    def __init__(self, upstream: UpstreamHandle, folder: Path, seed: int) -> None:
        self._upstream = upstream
        self._dice = random.Random(seed)  # noqa: S311  # replayed by its seed
        self._home = folder / "home"
        self._tokens = Tokens()
        self._left: list[Left] = []
        self._unheard = 0
        self.differences: dict[tuple[str, str], Difference] = {}
        self.states: Counter[str] = Counter()

    def run(self, clients: int) -> None:
        """All clients, then the books. Raises AssertionError where they do not agree."""
        config = CONFIG.format(base_url=self._upstream.base_url)
        self._upstream.reset()
        for name, fields in SCRIPTS.items():
            config += MODEL.format(name=name)
            self._upstream.script(name, **fields)
        with serving(self._home, config=config, env={"STRICT_KEY": self._upstream.key}) as gateway:
            asyncio.run(self._run(gateway, clients))
            assert gateway.spl("reconcile", "-o", "json").strip() == "[]"
            assert gateway.stop() == 0

    async def _run(self, gateway: ServedGateway, clients: int) -> None:
        todo = iter(range(clients))
        key = gateway.key

        async def clients_in_turn(dice: random.Random) -> None:
            for _ in todo:
                await self._client(gateway.url, key, dice)

        await asyncio.gather(*(clients_in_turn(random.Random(self._dice.random())) for _ in range(ABREAST)))  # noqa: S311  # replayed by its seed
        await self._check(await self._settled())

    async def _client(self, url: str, key: str, dice: random.Random) -> None:
        model = dice.choices(tuple(SCRIPTS), (8, 3, 1))[0]
        how = dice.choice(WAYS)
        reads = dice.randrange(0, 2_000_000) if model == "flood" else dice.randrange(0, 24_000)
        body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "stream": True}
        with await connected(url, 4096 if how == "stall" else None) as raw:
            await asyncio.get_running_loop().sock_sendall(raw, request(key, body))
            got = await _read(raw, reads)
            if how == "stall":
                await asyncio.sleep(dice.uniform(0, 0.3))
            got += await _leave(raw, how)
        head, separator, _ = got.partition(b"\r\n\r\n")
        if not separator:
            self._unheard += 1
            return
        names = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        self._left.append(Left(model, how, names[b"x-request-id"].decode().upper(), text_of(body_of(got))))

    async def _settled(self) -> books.Books:
        """The books once every call that reached the provider is settled. Fails where one never is."""
        asked = len(self._upstream.log())
        async with asyncio.timeout(PATIENCE):
            while True:
                found = books.look(self._home / "store.sqlite3")
                if len(found.ledger) >= asked and not found.open:
                    return found
                await asyncio.sleep(0.05)  # another process's books

    async def _check(self, found: books.Books) -> None:
        asked = len(self._upstream.log())
        # Who left before the provider was asked is on the ledger too, at 0.
        early = sum(row["outcome"] == "failed" and row["charge"] == 0 for row in found.ledger.values())
        assert asked <= len(found.ledger) <= asked + early, f"{asked} calls asked, {len(found.ledger)} on the ledger"
        rows = {call_id.upper(): row for call_id, row in found.ledger.items()}
        for left in self._left:
            row = rows[left.request_id]
            self.states[row["stream_state"]] += 1
            assert row["stream_state"] in ("client_disconnect", "completed"), row
            assert row["charge"] <= row["hold_amount"], row
            received = await self._tokens.count("o200k_base", [left.text]) if left.text else 0
            difference = row["output"] - received
            assert difference >= 0, f"{left.request_id} received {received} tokens and was billed {row['output']}"
            self.differences.setdefault((left.model, left.how), Difference()).add(difference)

    def report(self) -> str:
        """The largest difference for each way of leaving."""
        lines = [f"ends: {', '.join(f'{state} {count}' for state, count in sorted(self.states.items()))}"]
        lines += [f"left before a byte was read: {self._unheard}", "tokens billed less tokens received:"]
        for (model, how), one in sorted(self.differences.items()):
            mean = one.total / one.clients
            lines.append(f"  {model:7} {how:10} {one.clients:6} clients, most {one.most}, mean {mean:.1f}")
        return "\n".join(lines)


async def _read(raw: socket.socket, most: int) -> bytes:
    """So many bytes, or what there is."""
    loop, got = asyncio.get_running_loop(), b""
    with suppress(OSError):
        while len(got) < most and (data := await loop.sock_recv(raw, min(most - len(got), 65536))):
            got += data
    return got


async def _leave(raw: socket.socket, how: Way) -> bytes:
    """Goes away; gives what had arrived by then, or still arrives where only its own half was closed."""
    loop, got = asyncio.get_running_loop(), b""
    with suppress(OSError):
        if how == "half_close":
            raw.shutdown(socket.SHUT_WR)
            while data := await loop.sock_recv(raw, 65536):
                got += data
        else:
            waiting = struct.unpack("i", fcntl.ioctl(raw, termios.FIONREAD, bytes(4)))[0]
            got = raw.recv(waiting) if waiting else b""
            if how != "fin":
                no_linger(raw)
    return got


def main() -> int:
    """Runs a trial and prints its report; 1 where the books do not agree."""
    parser = argparse.ArgumentParser(prog="scripts/soak disconnects", description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000, help="how many leave (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=18, help="replays the plan of an earlier trial (default: 18)")
    options = parser.parse_args()
    with ExitStack() as stack:
        upstream = stack.enter_context(upstream_running())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spl-disconnect-")))
        trial = Trial(upstream, folder, options.seed)
        trial.run(options.clients)
        print(f"seed {options.seed}: {options.clients} clients left\n{trial.report()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
