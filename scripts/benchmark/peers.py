"""Other gateways, measured in the same run as ours: each installed into a folder of its own, by its own packager.

LiteLLM comes from its Python package, Portkey from its Node package. Neither is part of what we install: the folder is
in the user's cache, or where --peer-dir says, and can be removed at any time.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.benchmark.targets import Missing, Target, free_port

LITELLM = """
model_list:
  - model_name: fake
    litellm_params: {{model: openai/fake, api_base: "http://127.0.0.1:{port}/v1", api_key: not-a-secret}}
  - model_name: fake-slow
    litellm_params: {{model: openai/fake-slow, api_base: "http://127.0.0.1:{port}/v1", api_key: not-a-secret}}
litellm_settings: {{telemetry: false}}
general_settings: {{master_key: sk-bench}}
"""

# Of the servers that its package accepts, later ones answer every stream with 500.
PORTKEY = {"dependencies": {"@portkey-ai/gateway": "^1.15.2"}, "overrides": {"@hono/node-server": "1.3.3"}}


def default_folder() -> Path:
    """Where peers are installed when nobody says otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "spl-gateway" / "bench-peers"


def litellm(upstream_port: int, folder: Path, installed: Path) -> Target:
    """LiteLLM's proxy with a key and without a database: nothing is billed."""
    home = installed / "litellm"
    program = home / "bin" / "litellm"
    if not program.exists():
        _run("litellm", [sys.executable, "-m", "venv", str(home)])
        _run("litellm", [str(home / "bin" / "pip"), "install", "--quiet", "litellm[proxy]"])
    config = folder / "litellm.yaml"
    config.write_text(LITELLM.format(port=upstream_port))
    port = free_port()
    # Without a database, whatever our own surroundings name; and its price list comes with the package.
    command = [
        "env",
        "-u",
        "DATABASE_URL",
        str(program),
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--num_workers",
        "1",
    ]
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    return Target("litellm", port, command, "sk-bench", env, patience=120)


def portkey(upstream_port: int, folder: Path, installed: Path) -> Target:
    """Portkey's gateway: it checks no bearer and bills nothing; the upstream is named in each request's headers."""
    del folder
    home = installed / "portkey"
    server = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not server.exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text(json.dumps(PORTKEY))
        _run("portkey", ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(home)])
    port = free_port()
    headers = ("x-portkey-provider: openai", f"x-portkey-custom-host: http://127.0.0.1:{upstream_port}/v1")
    command = ["node", str(server), f"--port={port}", "--headless"]
    return Target("portkey", port, command, "bench", headers=headers, patience=60)


PEERS: Mapping[str, Callable[[int, Path, Path], Target]] = {"litellm": litellm, "portkey": portkey}


def _run(peer: str, command: list[str]) -> None:
    """One step of an installation."""
    print(f"{peer}: {Path(command[0]).name} {' '.join(command[1:3])} …", file=sys.stderr, flush=True)
    if shutil.which(command[0]) is None:
        raise Missing(f"{peer} cannot be installed: {command[0]} is not on PATH. Install it, or leave {peer} out")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-400:]
        raise Missing(f"{peer} cannot be installed: {Path(command[0]).name} ended with {done.returncode}: {said}")
