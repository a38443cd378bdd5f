"""kill -9 under mixed load, at random and at named points, again and again on one home; and what every start finds.

After each kill: SQLite's integrity check; what was acknowledged is on the ledger once, for the price that was named;
what was open is settled once as gateway_restart; nothing that was settled has changed; every balance is the sum of
its rows and every chain whole (reconcile); no cap is passed; nothing is open. At the end: a sink has every record in
order, no hold is left, and no provider's key and no prompt is in the log. The seed replays the plan of a trial.
"""

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from gateway_core.clock import SystemClock
from gateway_core.home import Home
from gateway_core.store.sqlite import SqliteStore
from gateway_core.testing import crash_points
from gateway_core.testing.installed import install
from gateway_core.testing.openai_fixture import UpstreamHandle, upstream_running
from gateway_core.testing.server import PATIENCE, ServedGateway, serving
from scripts.trials import books
from scripts.trials.load import CONFIG, PROMPT_CANARY, Bearer, Load, Told, open_accounts, script

CALLERS = 12
NOT_PASSED = 8.0
"""Seconds of load after which a point that was not passed is given up, and the process killed all the same."""

_PASSINGS = {"mid_stream": 600}


@dataclass(frozen=True)
class Plan:
    """How one run ends: at a named point's n-th passing, or after so many seconds."""

    point: str
    passing: int
    seconds: float


def plans(runs: int, dice: random.Random) -> list[Plan]:
    """Every other run ends at a named point, these in turn."""
    made = []
    for number in range(runs):
        point = crash_points.POINTS[number // 2 % len(crash_points.POINTS)] if number % 2 else ""
        made.append(Plan(point, dice.randrange(1, _PASSINGS.get(point, 60)), dice.uniform(0.1, 1.2)))
    return made


class Trial:
    """One home that is killed again and again."""

    def __init__(self, folder: Path, upstream: UpstreamHandle, seed: int) -> None:
        self._folder = folder
        self._upstream = upstream
        self.dice = random.Random(seed)  # noqa: S311  # replayed by its seed
        self._told = Told()
        self._before: books.Books | None = None
        self._bearers: list[Bearer] = []
        self._env = install(folder / "site", "spl-crash-points", f"crash-points = {crash_points.__name__}:Plugin")
        self.home = folder / "home"
        self.sink = folder / "sink"
        self.deaths: Counter[str] = Counter()
        self.recovered = 0
        self.repeats = 0

    @contextmanager
    def _served(self, point: str = "", passing: int = 1) -> Iterator[ServedGateway]:
        armed = f'\n[plugins.crash-points]\npoint = "{point}"\npassing = {passing}\nsink = "{self.sink}"\n'
        config = CONFIG.format(base_url=self._upstream.base_url) + armed
        env = {"STRICT_KEY": self._upstream.key, **self._env}
        with serving(self.home, config=config, env=env) as gateway:
            yield gateway

    def run(self, runs: int) -> None:
        """All runs, and the closing of the books. Raises AssertionError where an invariant does not hold."""
        script(self._upstream)
        with self._served() as gateway:
            self._bearers = open_accounts(gateway)
        for number, plan in enumerate(plans(runs, self.dice)):
            try:
                self._one(plan)
            except AssertionError as error:
                raise AssertionError(f"run {number + 1}, {plan}: {error}") from error
        self._close()

    def _one(self, plan: Plan) -> None:
        with ExitStack() as stack:
            try:
                gateway = stack.enter_context(self._served(plan.point, plan.passing))
            except AssertionError as error:
                if "ended with status -9" not in str(error):
                    raise
                self.deaths[f"{plan.point}, recovering"] += 1
            else:
                self.deaths[self._until_dead(gateway, plan)] += 1
        found = books.look_at_the_dead(self.home / "store.sqlite3", self._folder / "dead")
        # Where a start was killed, the next one has to make good what the first death left.
        self._before = self._before or found

    def _until_dead(self, gateway: ServedGateway, plan: Plan) -> str:
        """Checks, then loads it until it dies; gives where it died."""
        try:
            self._check(gateway)
        except httpx2.TransportError:
            assert gateway.process.wait(PATIENCE) == -signal.SIGKILL, "it ended, and not by a point"
            return f"{plan.point}, after the start"
        return plan.point if asyncio.run(self._load_until_dead(gateway, plan)) else "at random"

    async def _load_until_dead(self, gateway: ServedGateway, plan: Plan) -> bool:
        """Whether it died at the plan's point."""
        load = Load(gateway.url, self._bearers, self._told, self.dice)
        async with asyncio.timeout(PATIENCE + NOT_PASSED):
            calling = asyncio.ensure_future(load.run(CALLERS))
            await asyncio.wait({calling}, timeout=NOT_PASSED if plan.point else plan.seconds)
            reached = gateway.process.poll() is not None
            gateway.process.kill()
            await calling
        gateway.process.wait()
        return reached

    def _check(self, gateway: ServedGateway) -> None:
        """What must hold after every start, before the next load."""
        path = self.home / "store.sqlite3"
        after = books.look(path)
        if self._before is not None:
            self.recovered += books.check_restart(self._before, after)
            self._before = None
        books.check_told(self._told, after)
        books.check_caps(after)
        books.check_records(path)
        operator = {"Authorization": f"Bearer {gateway.operator_key}"}
        answer = httpx2.post(f"{gateway.url}/v1/admin/reconcile", headers=operator, json={}, timeout=PATIENCE)
        assert answer.json()["data"] == [], f"reconcile: {answer.text[:2000]}"

    def _close(self) -> None:
        """The last start: the sink gets what it lacks, the process is stopped, no hold is left."""
        path = self.home / "store.sqlite3"
        with self._served() as gateway:
            self._check(gateway)
            deadline = time.monotonic() + PATIENCE
            expected = {row["id"] for row in books.look(path).ledger.values()}
            while self._delivered() < len(expected) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert gateway.stop() == 0, "SIGTERM does not end it properly"
        self.repeats = books.check_sink(path, self.sink)
        assert asyncio.run(self._held()) == 0, "a hold is left"
        log = (self._folder / f"{self.home.name}.log").read_text(errors="replace")
        for canary in (PROMPT_CANARY, self._upstream.key, *(bearer.secret for bearer in self._bearers)):
            assert canary not in log, "a secret or a prompt is in the log"
        assert "Traceback" not in log, "the log has a traceback"

    def _delivered(self) -> int:
        return len(set(self.sink.read_bytes().splitlines()))

    async def _held(self) -> int:
        store = SqliteStore(Home(self.home).store_path, SystemClock())
        await store.open()
        held = 0
        for bearer in self._bearers:
            account = await store.directory.account_named(bearer.account)
            assert account is not None
            for row in books.look(self.home / "store.sqlite3").ledger.values():
                held += (await store.ledger.month(account.id, row["month"])).held
                break
        await store.close()
        return held

    def report(self) -> str:
        """What happened, in a few lines."""
        ledger = books.look(self.home / "store.sqlite3").ledger.values()
        ends = Counter(row["stream_state"] or row["error_code"] or "plain, whole" for row in ledger)
        lines = [f"killed: {_listed(self.deaths)}"]
        lines.append(
            f"calls: {self._told.sent} sent, {len(self._told.whole)} acknowledged whole, {len(ledger)} on the ledger"
        )
        lines.append(f"ends: {_listed(ends)}")
        lines.append(f"settled by a start: {self.recovered}; repeated to the sink: {self.repeats}")
        return "\n".join(lines)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def main() -> int:
    """Runs a trial and prints its report; 1 where an invariant did not hold."""
    parser = argparse.ArgumentParser(prog="scripts/crash", description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="how often it is killed (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="replays the plan of an earlier trial (default: a new one)")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="an empty directory for the home, its log and the sink"
    )
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    with ExitStack() as stack:
        upstream = stack.enter_context(upstream_running())
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spl-crash-")))
        trial = Trial(folder, upstream, seed)
        try:
            trial.run(options.runs)
        except AssertionError as error:
            print(f"seed {seed}: does not hold: {str(error)[-5000:]}", file=sys.stderr)
            return 1
        print(f"seed {seed}: {options.runs} kills, every invariant held\n{trial.report()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
