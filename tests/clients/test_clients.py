"""Unmodified clients against every provider, through the running gateway: what each does, and what it sees.

A client is a program of its own, in an environment of its own (scripts/clients.py): it does all acts with all
providers, and prints what it saw. The upstreams are strict: what they would refuse, no client's request became.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway_core.testing.anthropic_fixture import anthropic_running
from gateway_core.testing.gemini_fixture import gemini_running
from gateway_core.testing.needs import lacks
from gateway_core.testing.openai_fixture import upstream_running
from gateway_core.testing.server import ServedGateway, serving
from gateway_core.testing.upstream_handle import ScriptedHandle

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PATIENCE = 180

#: Provider → the upstream's models, which all follow the rules of this one.
PROVIDERS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-3-pro"}
BUSY = ("busy", "called-busy")
ACTS = (
    "plain", "stream", "tool", "tools", "streamed", "structured", "called", "image", "pictured", "throttled", *BUSY,
)  # fmt: skip

SAID = "word0 word1 word2 word3 word4"
ANSWER = "It is sunny there."
ADA = {"name": "Ada", "age": 36}
LISBON, OSLO = ["get_weather", {"city": "Lisbon"}], ["get_weather", {"city": "Oslo"}]


@dataclass(frozen=True)
class Client:
    """How a client is run, and what it calls things."""

    command: tuple[str, ...]
    #: By status: the class of the exception.
    errors: dict[str, str]
    #: What has to be there for it.
    needs: Path | None = None
    #: Acts that it has no way to do.
    cannot: frozenset[str] = frozenset()
    #: What it calls the tool by which it gets an answer of a type.
    output_tool: str = "final_result"


OPENAI_ERRORS = {"401": "AuthenticationError", "404": "NotFoundError", "429": "RateLimitError"}
WITHOUT_TOOLS = frozenset({"tool", "tools", "streamed"})


def python(name: str, program: str, errors: dict[str, str], **more: Any) -> Client:
    """A client with an environment of its own."""
    environment = ROOT / ".venv-clients" / name
    command = (str(environment / "bin" / "python"), str(HERE / "programs" / f"{program}.py"))
    return Client(command, errors, environment / ".set-up", **more)


def node(program: str, errors: dict[str, str], **more: Any) -> Client:
    """A client for Node."""
    modules = HERE / "node" / "node_modules" / ".set-up"
    return Client(("node", str(HERE / "node" / f"{program}.mjs")), errors, modules, **more)


CLIENTS = {
    "openai-python": Client((sys.executable, str(HERE / "programs" / "openai_python.py")), OPENAI_ERRORS),
    "openai-node": node("openai-node", OPENAI_ERRORS),
    "LangChain": python(
        "langchain",
        "langchain_client",
        {"401": "OpenAIAuthenticationError", "404": "OpenAIModelNotFoundError", "429": "OpenAIRateLimitError"},
    ),
    "LlamaIndex": python("llama-index", "llama_index_client", OPENAI_ERRORS),
    "pydantic-ai": python(
        "pydantic-ai",
        "pydantic_ai_client",
        {"401": "ModelAuthenticationError", "404": "ModelNotFoundError", "429": "ModelRateLimitError"},
    ),
    "instructor": python(
        "instructor",
        "instructor_client",
        dict.fromkeys(("401", "404", "429"), "InstructorRetryException"),
        cannot=WITHOUT_TOOLS,
        output_tool="Person",
    ),
    "Vercel AI SDK": node("vercel-ai", dict.fromkeys(("401", "404", "429"), "APICallError")),
    "LiteLLM": python("litellm", "litellm_client", OPENAI_ERRORS),
    "curl": Client(
        (sys.executable, str(HERE / "programs" / "curl_client.py")),
        dict.fromkeys(("401", "404", "429"), "HTTPStatus"),
    ),
}
MESSAGES = {
    "401": "Incorrect API key provided",
    "404": "The model `no-such-model` does not exist",
    "429": "is limiting our requests",
}


class Setting:
    """The gateway with three strict upstreams, and what clients saw there."""

    def __init__(self, served: ServedGateway, upstreams: dict[str, ScriptedHandle]) -> None:
        self.served = served
        self.upstreams = upstreams
        self._seen: dict[str, dict[str, Any]] = {}
        self._logs: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def seen(self, name: str, provider: str) -> dict[str, Any]:
        """What a client saw of a provider: it is run once."""
        if name not in self._seen:
            for each, upstream in self.upstreams.items():
                upstream.reset()
                prepare(each, upstream, CLIENTS[name].output_tool)
            self._seen[name] = self._run(CLIENTS[name])
            self._logs[name] = {each: upstream.log() for each, upstream in self.upstreams.items()}
        found: dict[str, Any] = self._seen[name][provider]
        return found

    def log(self, name: str, provider: str) -> list[dict[str, Any]]:
        """What its requests became."""
        return self._logs[name][provider]

    def _run(self, client: Client) -> dict[str, Any]:
        command = [*client.command, self.served.base_url, self.served.key, *PROVIDERS]
        # Nothing that a client finds in the environment may lead it elsewhere.
        env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode == 0, f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told


def prepare(provider: str, upstream: ScriptedHandle, output_tool: str) -> None:
    """Says what the upstream answers to each act."""
    model = PROVIDERS[provider]

    def calls(*wanted: Any) -> Any:
        if provider == "openai":
            return [{"name": name, "arguments": json.dumps(given)} for name, given in wanted]
        if provider == "anthropic":
            return [{"name": name, "input": given} for name, given in wanted]
        return [[{"name": name, "args": given} for name, given in wanted]]

    upstream.script(f"{model}-tool", times=1, calls=calls(LISBON))
    upstream.script(f"{model}-tool", text=ANSWER)
    upstream.script(f"{model}-tools", times=1, calls=calls(LISBON, OSLO))
    upstream.script(f"{model}-tools", text=ANSWER)
    upstream.script(f"{model}-streamed", times=1, calls=calls(LISBON))
    upstream.script(f"{model}-streamed", text=ANSWER)
    upstream.script(f"{model}-structured", text=json.dumps(ADA))
    upstream.script(f"{model}-pictured", text=json.dumps(ADA))
    refused = {"status": 429, "headers": {"retry-after": "1"}, "body": '{"error": {"message": "Too much."}}'}
    upstream.script(f"{model}-throttled", **refused)
    for act in BUSY:
        upstream.script(f"{model}-{act}", times=1, **refused)
    for act in ("called", "called-busy"):
        upstream.script(f"{model}-{act}", calls=calls([output_tool, ADA]))


def configuration(upstreams: dict[str, ScriptedHandle]) -> str:
    """The gateway's: every act is a model."""
    lines = ['include = ["shipped:self-host.toml"]', "[upstream]", "retries = 0", "breaker_failures = 0"]
    for name, upstream in upstreams.items():
        lines += [f"[providers.strict-{name}]", f'plugin = "provider-{name}"']
        lines += [f'base_url = "{upstream.base_url}"', f'api_key = "env:{name.upper()}_TEST_KEY"']  # type: ignore[attr-defined]  # each has its own
        for act in ACTS:
            routes = f'routes = [{{ provider = "strict-{name}", model = "{PROVIDERS[name]}-{act}" }}]'
            lines += [f'[models."{name}-{act}"]', routes, 'price = { input = "1", output = "2" }']
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    """One gateway, and one upstream for each provider."""
    with ExitStack() as stack:
        upstreams: dict[str, ScriptedHandle] = {
            "openai": stack.enter_context(upstream_running()),
            "anthropic": stack.enter_context(anthropic_running()),
            "gemini": stack.enter_context(gemini_running()),
        }
        env = {f"{name.upper()}_TEST_KEY": upstream.key for name, upstream in upstreams.items()}
        home = tmp_path_factory.mktemp("clients") / "home"
        yield Setting(stack.enter_context(serving(home, config=configuration(upstreams), env=env)), upstreams)


@pytest.fixture(params=CLIENTS)
def name(request: pytest.FixtureRequest) -> str:
    """A client that is there."""
    client = CLIENTS[request.param]
    needed = [client.command[0] if Path(client.command[0]).is_absolute() else shutil.which(client.command[0])]
    if request.param == "curl":
        needed.append(shutil.which("curl"))
    if not all(each and Path(each).exists() for each in [*needed, client.needs or HERE]):
        lacks(f"{request.param} is not set up: scripts/test does that, where its package registry can be reached")
    return str(request.param)


def wanted(client: Client) -> dict[str, Any]:
    """What a client has to see, act by act; what it has no way to do is not in it."""
    structured = "tool" in client.cannot
    said = "Ada 36" if structured else SAID
    everything: dict[str, Any] = {
        "plain": {"text": said, "finish": "stop"},
        "stream": {"text": said},
        "tool": {"calls": [LISBON], "text": ANSWER},
        "tools": {"calls": [LISBON, OSLO], "text": ANSWER},
        "streamed": {"calls": [LISBON]},
        "structured": ADA,
        "image": {"text": said},
        "retried": ADA if structured else {"text": SAID},
    }
    return {act: expected for act, expected in everything.items() if act not in client.cannot}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_client_does_everything_with_a_provider(name: str, provider: str, setting: Setting) -> None:
    client = CLIENTS[name]
    seen = setting.seen(name, provider)
    failed = {act: each["failed"] for act, each in seen.items() if isinstance(each, dict) and "failed" in each}
    assert not failed, "\n".join(f"{act}:\n{why}" for act, why in failed.items())
    for act, expected in wanted(client).items():
        assert {key: seen[act][key] for key in expected} == expected, (act, seen[act])
    assert seen["plain"]["usage"]["input"] > 0
    assert seen["plain"]["usage"]["output"] > 0
    assert seen["stream"]["pieces"] > 1
    assert seen["stream"].get("usage", seen["plain"]["usage"]) == seen["plain"]["usage"]
    if "called" in seen:
        assert seen["called"] == ADA
    for status, raised in client.errors.items():
        assert seen[status]["raised"] == raised, seen[status]
        assert MESSAGES[status] in seen[status]["says"], seen[status]
    log = setting.log(name, provider)
    assert [entry["refused"] for entry in log if entry.get("refused")] == []
    picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    assert [entry for entry in log if picture in json.dumps(entry["body"])], "the picture never arrived"


def test_the_page_says_what_is_tested() -> None:
    """docs/clients.md: a row for each client, how many acts it does with each provider, and its exceptions."""
    page = (ROOT / "docs" / "clients.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and " acts" in line]
    expected = []
    for name, client in CLIENTS.items():
        acts = f"{len(wanted(client)) + len(client.errors)} acts"
        raised = ", ".join(f"`{each}`" for each in dict.fromkeys(client.errors.values()))
        expected.append(f"| {name} | {' | '.join(acts for _ in PROVIDERS)} | {raised} |")
    assert rows == expected


def test_every_environment_has_its_client_and_its_pins() -> None:
    pins = ROOT / "conf" / "clients"
    assert {path.stem for path in pins.glob("*.in")} == {path.stem for path in pins.glob("*.txt")}
    used = {client.needs.parent.name for client in CLIENTS.values() if client.needs is not None}
    assert used == {path.stem for path in pins.glob("*.txt")} | {"node_modules"}
    for path in pins.glob("*.txt"):
        blocks = [block for block in path.read_text().split("\n") if "==" in block]
        assert all(block.endswith("\\") for block in blocks), f"{path.name}: every pin has its hashes"
    lock = json.loads((HERE / "node" / "package-lock.json").read_text())
    assert all("integrity" in each and "resolved" not in each for name, each in lock["packages"].items() if name)
