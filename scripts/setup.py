"""Makes the checkout's virtual environment ready; the verbs call it through lib.sh.

    python -I scripts/setup.py run|dev

The first time it needs the package registry: it makes `.venv`, puts the pinned uv there, and lets that install the
core and every plugin (editable) under the pins of conf/constraints.txt. A stamp then holds a hash of all inputs, and
while that matches nothing is done at all. Standard library only, since it runs before anything is installed.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit
from urllib.request import url2pathname

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "conf" / "constraints.txt"
STAMP = VENV / ".set-up"
UNFINISHED = VENV / ".set-up-unfinished"
GROUPS = ("run", "dev")
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
ADDRESS = re.compile(r"[a-z+]+://[^\s'\"`)\]]+|(?<=host=')[^']*|\b(?:[\w-]+\.)+(?:org|com|net|io|dev|internal|local)\b")


def main() -> None:
    """Does what is missing, one process at a time."""
    if len(sys.argv) != 2 or sys.argv[1] not in GROUPS:
        sys.exit("usage: setup.py run|dev")
    group = sys.argv[1]
    if ready(group):
        return
    with locked():
        if not ready(group):
            set_up(group)


def distributions() -> list[Path]:
    """The core's folder and every plugin's."""
    return [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]


def inputs() -> str:
    """A hash of everything that decides what `.venv` has to hold."""
    digest = hashlib.sha256(str(ROOT).encode())
    for path in [Path(__file__), CONSTRAINTS, *(folder / "pyproject.toml" for folder in distributions())]:
        content = path.read_bytes()
        digest.update(f"\0{path.relative_to(ROOT)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def read_stamp() -> dict[str, object]:
    """What the last set-up that came to its end was: its group, inputs, place and Python."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def ready(group: str) -> bool:
    """Whether an earlier set-up still serves `group`."""
    stamp = read_stamp()
    if stamp.get("inputs") != inputs() or stamp.get("root") != str(ROOT) or stamp.get("python") != VERSION:
        return False
    return stamp.get("group") in GROUPS[GROUPS.index(group) :] and PYTHON.exists() and (VENV / "bin" / "spl").exists()


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """One set-up at a time. The lock is on the checkout's folder itself: it leaves no file behind."""
    handle = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is running; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def set_up(group: str) -> None:
    """Builds or mends `.venv`, and stamps it."""
    began = time.monotonic()
    say("setting up .venv (this needs the package registry; later runs do not)")
    before = read_stamp()
    if before.get("group") == "dev":
        group = "dev"  # what was there stays there
    make_venv(moved=before.get("root", str(ROOT)) != str(ROOT))
    STAMP.unlink(missing_ok=True)
    # A set-up that was killed may have left half a package behind: then everything is installed again.
    again = ["--reinstall"] if UNFINISHED.exists() else []
    UNFINISHED.touch()
    install_uv()
    command = [str(VENV / "bin" / "uv"), "pip", "install", "--python", str(PYTHON), *again]
    command += ["--constraints", str(CONSTRAINTS), "--build-constraints", str(CONSTRAINTS)]
    if group == "dev":
        command += ["--group", f"{ROOT / 'pyproject.toml'}:dev"]
    for folder in distributions():
        command += ["--editable", str(folder)]
    done = attempt(command)
    if done.returncode and "certificate" in done.stderr:
        # uv brings its own certificates; behind a proxy with one of its own only the system's will do.
        done = attempt([*command, "--system-certs"])
    require(done, "installing the gateway and its plugins")
    remove_gone()
    UNFINISHED.unlink()
    STAMP.write_text(json.dumps({"group": group, "inputs": inputs(), "root": str(ROOT), "python": VERSION}))
    say(f"ready after {time.monotonic() - began:.1f} s")


def make_venv(*, moved: bool) -> None:
    """Makes `.venv` where there is none, and anew where it is of another place or Python, or does not run."""
    probe = f"import sys, pip; sys.exit([sys.prefix, '%d.%d' % sys.version_info[:2]] != {[str(VENV), VERSION]!r})"
    if not moved and works([str(PYTHON), "-I", "-c", probe]):
        return
    base = sys.executable
    if Path(base).is_relative_to(VENV):  # it can run this file without its pip; the new one needs its base
        base = getattr(sys, "_base_executable", base)
    if VENV.exists():
        say(".venv does not run here; making it anew")
        shutil.rmtree(VENV)
    if importlib.util.find_spec("ensurepip") is None:
        stop("this Python has no venv module. Debian and Ubuntu: apt install python3-venv")
    run([base, "-m", "venv", str(VENV)], "making the virtual environment")


def install_uv() -> None:
    """Puts the pinned uv into `.venv`."""
    uv = VENV / "bin" / "uv"
    blocks = re.split(r"\n(?=\S)", CONSTRAINTS.read_text())
    pin = next((block for block in blocks if block.startswith("uv==")), None)
    if pin is None:
        stop("conf/constraints.txt has no pin for uv; scripts/pin writes it")
    version = pin.split("==")[1].split()[0]
    if works([str(uv), "--version"], expect=f"uv {version}"):
        return
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(pin)
        file.flush()
        command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--force-reinstall"]
        run([*command, "--require-hashes", "--requirement", file.name], "installing uv")


def remove_gone() -> None:
    """Takes out plugins of this checkout whose folder is no longer there: their entry points would lead nowhere."""
    for file in VENV.glob("lib/python*/site-packages/spl_*.dist-info/direct_url.json"):
        folder = Path(url2pathname(urlsplit(json.loads(file.read_text())["url"]).path))
        if folder.is_relative_to(ROOT) and not (folder / "pyproject.toml").exists():
            name = file.parent.name.split("-")[0]
            run([str(VENV / "bin" / "uv"), "pip", "uninstall", "--python", str(PYTHON), name], f"removing {name}")


def works(command: list[str], expect: str = "") -> bool:
    """Whether a command runs to a good end and prints what is expected."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.startswith(expect)


def environment() -> dict[str, str]:
    """The caller's environment without what would turn pip or uv away from `.venv`."""
    away = ("PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_CONSTRAINT", "UV_CONSTRAINT")
    env = {name: value for name, value in os.environ.items() if name not in away}
    env |= {"VIRTUAL_ENV": str(VENV), "UV_PYTHON_DOWNLOADS": "never"}
    home = Path(env.get("XDG_CACHE_HOME") or env.get("HOME") or "/nonexistent")
    if "UV_CACHE_DIR" not in env and not os.access(home, os.W_OK):
        env["UV_CACHE_DIR"] = str(VENV / ".uv-cache")
    return env


def run(command: list[str], what: str) -> None:
    """Runs one step, which has to succeed."""
    require(attempt(command), what)


def attempt(command: list[str]) -> "subprocess.CompletedProcess[str]":
    """Runs one step quietly."""
    return subprocess.run(
        command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def require(done: "subprocess.CompletedProcess[str]", what: str) -> None:
    """Ends the set-up where a step failed: shows its last lines, without the addresses of anybody's registry."""
    if done.returncode == 0:
        return
    output = ADDRESS.sub("<registry>", done.stdout + done.stderr).strip().splitlines()
    say(f"{what} failed:")
    for line in output[-15:]:
        print("  " + line, file=sys.stderr)
    stop(
        "set-up is not complete. The first one needs a package registry: is there a network, and do pip and uv know "
        "your mirror (PIP_INDEX_URL, UV_DEFAULT_INDEX)? Then run the same command again."
    )


def say(text: str) -> None:
    """A line for the person who waits."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


def stop(text: str) -> NoReturn:
    """The last line of a set-up that cannot go on."""
    sys.exit(f"setup: {text}")


if __name__ == "__main__":
    main()
