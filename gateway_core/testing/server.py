"""The real program in tests: `spl serve` as a process of its own, on a free port and a home of the test's."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway_core.home import Home

SPL = Path(sys.executable).with_name("spl")
PATIENCE = 30.0
"""Seconds after which a process that says nothing counts as stuck: a bound, never waited out when all is well."""
_KEY = re.compile(r"\bsk-[\w-]{20,}")


@dataclass
class ServedGateway:
    """A running gateway: where it is, and what opens it."""

    url: str
    home: Path
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def base_url(self) -> str:
        """What an OpenAI SDK takes as one."""
        return f"{self.url}/v1"

    @property
    def key(self) -> str:
        """The key that the first start printed."""
        deadline = time.monotonic() + PATIENCE
        while (found := _KEY.search(self.output())) is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"no key was printed:\n{self.output()}")
            time.sleep(0.01)
        return found.group()

    @property
    def operator_key(self) -> str:
        """The operator's credential of its home."""
        return Home(self.home).operator_key_path.read_text().strip()

    def output(self) -> str:
        """Everything it has printed so far."""
        return self.log.read_text(errors="replace")

    def spl(self, *arguments: str) -> str:
        """What a command of `spl` prints that is run against it."""
        env = {**os.environ, "SPL_HOME": str(self.home)}
        command = [str(SPL), *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, f"spl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.terminate()
        return self.process.wait(PATIENCE)


@contextmanager
def serving(
    home: Path, *, config: str | None = None, arguments: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> Iterator[ServedGateway]:
    """Serves `home` on a free port of 127.0.0.1 while the block lasts; `config` is TOML, default the shipped one."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [str(SPL), "--home", str(home), "serve", "--port", "0", *arguments]
    if config is not None:
        file = home / "test.toml"
        file.write_text(config)
        command += ["--config", str(file)]
    log = home.parent / f"{home.name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(env or {})}
        )
    try:
        yield ServedGateway(_url(Home(home), process, log), home, process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _url(home: Home, process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while True:
        server = home.running()
        if server is not None and server.pid == process.pid:
            return server.url
        if process.poll() is not None:
            raise AssertionError(
                f"spl serve ended with status {process.returncode}:\n{log.read_text(errors='replace')}"
            )
        if time.monotonic() > deadline:
            raise AssertionError(f"spl serve is not serving:\n{log.read_text(errors='replace')}")
        time.sleep(0.01)
