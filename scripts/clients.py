"""Makes ready what the tests of unmodified clients want; scripts/test calls it after setup.py.

    python -I scripts/clients.py

Each client of conf/clients/NAME.txt gets an environment of its own, `.venv-clients/NAME`: their pins contradict each
other's, and the gateway's. Those for Node, where node is, go to tests/clients/node/node_modules. The first time needs
the package registries; a stamp then holds a hash of the pins, and while that matches nothing is done at all. What
cannot be had is said, and its tests are skipped. Standard library only.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import setup

PINS = setup.ROOT / "conf" / "clients"
ENVIRONMENTS = setup.ROOT / ".venv-clients"
NODE = setup.ROOT / "tests" / "clients" / "node"
UV = setup.VENV / "bin" / "uv"
STAMP = ".set-up"
OLDEST = 20
"""What the clients for Node run on."""


def main() -> None:
    """Does what is missing, one process at a time."""
    wanted = [path.stem for path in sorted(PINS.glob("*.txt"))]
    if not any(missing(name) for name in wanted) and not node_missing():
        return
    with setup.locked():
        for name in wanted:
            if missing(name):
                set_up(name)
        if node_missing():
            set_up_node()


def stamp_of(*inputs: Path) -> str:
    """A hash of what decides what has to be there."""
    digest = hashlib.sha256(f"{setup.ROOT}\0{setup.VERSION}".encode())
    for path in inputs:
        digest.update(b"\0" + path.read_bytes())
    return digest.hexdigest()


def stamped(folder: Path, stamp: str) -> bool:
    """Whether the last set-up of a folder came to its end with these inputs."""
    try:
        return (folder / STAMP).read_text() == stamp
    except OSError:
        return False


def missing(name: str) -> bool:
    """Whether a client's environment is not as its pins say."""
    return not stamped(ENVIRONMENTS / name, stamp_of(PINS / f"{name}.txt"))


def set_up(name: str) -> None:
    """Makes one client's environment, or says why not."""
    began = time.monotonic()
    setup.say(f"a client's environment for tests: {name} (this needs the package registry; later runs do not)")
    folder, pins = ENVIRONMENTS / name, PINS / f"{name}.txt"
    shutil.rmtree(folder, ignore_errors=True)
    made = setup.attempt([str(UV), "venv", "--quiet", "--python", str(setup.PYTHON), str(folder)])
    command = [str(UV), "pip", "sync", "--quiet", "--python", str(folder / "bin" / "python"), "--require-hashes"]
    done = made if made.returncode else setup.attempt([*command, str(pins)])
    if done.returncode and "certificate" in done.stderr:
        done = setup.attempt([*command, "--system-certs", str(pins)])
    finish(folder, done, name, stamp_of(pins), began)


def node_missing() -> bool:
    """Whether there is a node that is new enough, and its clients are not as the lock file says."""
    if stamped(NODE / "node_modules", node_stamp()) or shutil.which("npm") is None:
        return False
    return setup.works(["node", "-e", f"if (parseInt(process.versions.node) < {OLDEST}) throw new Error()"])


def node_stamp() -> str:
    """Of what npm installs."""
    return stamp_of(NODE / "package.json", NODE / "package-lock.json")


def set_up_node() -> None:
    """Installs the clients for Node, or says why not."""
    began = time.monotonic()
    setup.say("clients for Node, for tests (this needs their package registry; later runs do not)")
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    done = subprocess.run(
        command, cwd=NODE, env=os.environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    finish(NODE / "node_modules", done, "clients for Node", node_stamp(), began)


def finish(folder: Path, done: "subprocess.CompletedProcess[str]", what: str, stamp: str, began: float) -> None:
    """Stamps what is whole; of what is not, says so: the tests say it again."""
    if done.returncode == 0:
        (folder / STAMP).write_text(stamp)
        setup.say(f"{what}: ready after {time.monotonic() - began:.1f} s")
        return
    output = setup.ADDRESS.sub("<registry>", done.stdout + done.stderr).strip().splitlines()
    setup.say(f"{what}: could not be set up, so its tests are skipped:")
    for line in output[-5:]:
        print("  " + line, file=sys.stderr)


if __name__ == "__main__":
    main()
