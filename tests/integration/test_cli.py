"""The real `spl` as a process, on real homes, against a running server and without one."""

import csv
import io
import json
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway_core.config_file import shipped_folder
from gateway_core.home import Home
from gateway_core.testing.server import SPL, ServedGateway, serving

THREAD = "th_audit_api_usage"
JQ_LINE = (
    "spl thread records th_audit_api_usage -o json | jq '.[] | .body | {cost_usd, model, tokens_input, tokens_output}'"
)

PRICED = """
include = ["shipped:self-host.toml"]
[models.demo]
price = { input = "2.50", output = "10.00" }
"""


def spl(
    *arguments: str, home: Path | None = None, env: Mapping[str, str] | None = None, stdin: str | None = None
) -> "subprocess.CompletedProcess[str]":
    """One command, as a person would run it where output is not a terminal."""
    environment = {**os.environ, **({"SPL_HOME": str(home)} if home else {}), **(env or {})}
    return subprocess.run(
        [SPL, *arguments], capture_output=True, text=True, check=False, timeout=60, env=environment, input=stdin
    )


def good(*arguments: str, home: Path | None = None, env: Mapping[str, str] | None = None) -> Any:
    """What a command printed, as JSON where it is."""
    done = spl(*arguments, home=home, env=env)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    try:
        return json.loads(done.stdout)
    except ValueError:
        return done.stdout


def fails(
    code: int, line: str, *arguments: str, home: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """A command that ends with one line on standard error."""
    done = spl(*arguments, home=home, env=env)
    assert done.returncode == code, done
    assert re.fullmatch(f"spl: {line}\n", done.stderr), done.stderr


def on_terminal(*arguments: str, home: Path, columns: int = 100) -> str:
    """What a command shows on a terminal, standard output and error together."""
    leader, follower = pty.openpty()
    env = {**os.environ, "SPL_HOME": str(home), "COLUMNS": str(columns), "TERM": "xterm"}
    env.pop("NO_COLOR", None)
    with subprocess.Popen([SPL, *arguments], stdin=follower, stdout=follower, stderr=follower, env=env) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # the terminal's other end was closed
                break
            if not piece:
                break
            shown += piece
        os.close(leader)
        assert process.wait(60) == 0, shown
    return shown.decode().replace("\r\n", "\n")


@pytest.fixture(params=["server", "none"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A home with a price on `demo`, with a server on it and without one."""
    place = tmp_path / "home"
    if request.param == "server":
        with serving(place, config=PRICED):
            yield place
    else:
        place.mkdir()
        (place / "config.toml").write_text(PRICED)
        yield place


# ---------------------------------------------------------------- the commands, with a server and without


def test_accounts_and_keys_from_making_to_revoking(home: Path) -> None:
    account = good("account", "create", "acme", "--credit-usd", "20", "--cap-usd", "100", "-o", "json", home=home)
    assert (account["name"], account["credit_usd"], account["cap_usd"]) == ("acme", "20", "100")
    assert {each["name"] for each in good("account", "list", home=home)} == {"local", "acme"}
    assert good("account", "show", account["id"], home=home)["name"] == "acme"

    mint = ("keys", "mint", "--account", "acme", "--name", "laptop", "--cap-usd", "5", "--expires", "30d")
    key = good(*mint, "--scope", "owner", "--model", "demo", "-o", "json", home=home)
    assert key["secret"].startswith("sk-")
    assert (key["name"], key["cap_usd"], key["models"], key["account"]) == ("laptop", "5", ["demo"], "acme")
    (listed,) = good("keys", "list", "--account", "acme", home=home)
    assert listed["id"] == key["id"]
    assert "secret" not in listed

    new = good("keys", "rotate", key["id"], "--overlap", "1h", home=home)
    assert new["secret"] != key["secret"]
    assert good("keys", "revoke", new["id"], home=home)["revoked_at"]

    assert good("account", "suspend", "acme", home=home)["suspended"] is True
    assert good("account", "suspend", "acme", "--resume", home=home)["suspended"] is False
    limited = good("account", "limits", "acme", "--model", "demo", "--rpm", "7", "--no-cap", home=home)
    assert (limited["limits"], limited["cap_usd"]) == ({"demo": {"rpm": 7}}, None)
    on_demo = ("account", "limits", "acme", "--model", "demo")
    assert good(*on_demo, "--tpm", "900", home=home)["limits"] == {"demo": {"rpm": 7, "tpm": 900}}
    assert good(*on_demo, "--rpm", "8", home=home)["limits"] == {"demo": {"rpm": 8, "tpm": 900}}
    assert good(*on_demo, "--no-tpm", home=home)["limits"] == {"demo": {"rpm": 8}}
    assert good(*on_demo, "--clear", home=home)["limits"] == {}
    fails(2, ".*either --tpm or --no-tpm.*", *on_demo, "--tpm", "1", "--no-tpm", home=home)
    fails(2, ".*or else --clear.*", *on_demo, "--no-rpm", "--clear", home=home)

    fails(1, r".*acme.* \[conflict, req_\w{26}\]", "account", "create", "acme", home=home)
    fails(1, r".*no such account.* \[not_found, req_\w{26}\]", "account", "show", "nobody", home=home)


def test_a_call_its_record_and_the_published_line(home: Path) -> None:
    answer = good("chat", "demo", "Hello there", home=home)
    assert answer.strip()
    whole = good("chat", "demo", "Hello there", "-o", "json", home=home)
    assert whole["choices"][0]["message"]["content"] == answer.strip()
    assert good("chat", "demo", "Hello there", "--no-stream", home=home) == answer

    assert spl("chat", "demo", "-", "--system", "Be brief.", home=home, stdin="Hello there").stdout == answer

    records = good("thread", "records", THREAD, "-o", "json", home=home)
    assert [record["body"]["model"] for record in records] == ["demo"] * 4
    assert {record["body"]["stream_state"] for record in records} == {"completed", None}
    usage = whole["usage"]
    assert records[1]["body"]["tokens_output"] == usage["completion_tokens"]
    assert records[1]["body"]["cost_usd"] != "0"

    if shutil.which("jq"):
        env = {**os.environ, "SPL_HOME": str(home), "PATH": f"{SPL.parent}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", JQ_LINE], capture_output=True, text=True, check=True, env=env)
        objects = json.loads("[" + done.stdout.replace("}\n{", "},{") + "]")
        wanted = ("cost_usd", "model", "tokens_input", "tokens_output")
        assert objects == [{name: record["body"][name] for name in wanted} for record in records]

    lines = good("thread", "records", THREAD, "-o", "jsonl", "--limit", "2", home=home)
    assert [json.loads(line) for line in lines.splitlines()] == records[:2]
    rows = list(csv.DictReader(io.StringIO(good("thread", "records", THREAD, "-o", "csv", home=home))))
    assert set(rows[0]) == {"sequence", "id", *records[0]["body"]}, "CSV has every field of a record"
    assert [row["request_id"] for row in rows] == [record["body"]["request_id"] for record in records]
    assert good("thread", "records", THREAD, "--until", "1d", home=home) == []
    assert len(good("thread", "records", THREAD, "--since", "1d", "--model", "demo", home=home)) == 4
    assert good("thread", "records", THREAD, "--month", "2020-01", home=home) == []
    fails(1, r".*\[model_not_found, req_\w{26}\]", "chat", "no-such-model", "Hello", home=home)


def test_what_an_operator_looks_at(home: Path) -> None:
    assert "demo" in {model["id"] for model in good("models", home=home)}
    capabilities = {each["model"]: each for each in good("capabilities", home=home)}
    assert "demo" in capabilities
    plugins = {plugin["name"]: plugin for plugin in good("plugins", home=home)}
    assert plugins["provider-demo"]["state"] == "on"
    assert "register_providers" in plugins["provider-demo"]["hooks"]
    assert good("config", "show", "-o", "json", home=home)["models"]["demo"]["price"]["input"] == "2.50"
    assert good("reconcile", home=home) == []
    assert good("reconcile", "-o", "table", home=home) == "agrees\n"


def test_tables_are_for_terminals(home: Path) -> None:
    shown = on_terminal("account", "list", home=home)
    assert shown.startswith("\x1b[1mID ")
    assert "local" in shown
    assert max(map(len, shown.splitlines())) <= 110
    assert "agrees\n" in on_terminal("reconcile", home=home)
    called = on_terminal("chat", "demo", "Hello", home=home)
    assert re.search(r"\d+ tokens in, \d+ out, 0\.\d+ ¢", called)
    assert "begins" not in shown


def test_a_home_that_was_not_there_is_named_to_whoever_may_have_mistyped_it(tmp_path: Path) -> None:
    place = tmp_path / "hoem"
    assert on_terminal("models", home=place).startswith(f"{place} was not there: a new instance begins in it\n")
    assert "begins" not in on_terminal("models", home=place)
    assert good("models", home=tmp_path / "unseen")


def test_a_call_that_is_refused_prints_nothing_else_and_says_what_can_be_called(home: Path) -> None:
    done = spl("chat", "gpt-9", "Hello", home=home)
    assert (done.returncode, done.stdout) == (1, "")
    assert "may not use it. `spl models` lists what can be called. [model_not_found, req_" in done.stderr


# ---------------------------------------------------------------- serving


def test_the_first_start_prints_a_call_that_works_and_later_ones_how_to_get_a_key(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving(home) as first:
        assert first.key
        assert f"{first.url}/v1\n" in first.output()
        (curl,) = re.findall(r"^curl .*$", first.output(), re.MULTILINE)
        if shutil.which("curl"):
            done = subprocess.run(["sh", "-c", f"{curl} -sS"], capture_output=True, text=True, check=True)
            assert json.loads(done.stdout)["object"] == "chat.completion"
        assert shlex.split(curl)[1] == f"{first.url}/v1/chat/completions"
        assert first.stop() == 0
    (home.parent / "home.log").unlink()
    with serving(home) as second:
        good("models", home=home)
        assert f"Mint a key:  spl --home {home} keys mint --name" in second.output()
        assert "sk-" not in second.output()


def test_why_a_server_does_not_start_is_one_line(tmp_path: Path, running_server: ServedGateway) -> None:
    home = tmp_path / "home"
    fails(3, r"the home .* is in use by the server at http.*", "serve", "--port", "0", home=running_server.home)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        fails(3, rf"port {port} on 127\.0\.0\.1 is taken .*--port", "serve", "--port", port, home=home)
    fails(3, r"2 workers need a store and limits that they share.*", "serve", "--workers", "2", home=home)
    config = tmp_path / "bad.toml"
    config.write_text("[server]\nprot = 1\n")
    fails(3, r".*bad\.toml: server\.prot: .*port.*", "serve", "--config", str(config), home=home)
    fails(3, r".*there is no file .*", "serve", "--config", str(tmp_path / "none.toml"), home=home)
    (tmp_path / "file").write_text("")
    fails(3, r"the home .* is not a directory.*", "serve", "--port", "0", home=tmp_path / "file")
    fails(2, r"--url names a gateway that runs elsewhere.*", "--url", "http://x", "serve", home=home)


def test_a_store_of_a_later_version_is_refused_in_one_line(tmp_path: Path) -> None:
    home = tmp_path / "home"
    good("account", "list", home=home)
    with sqlite3.connect(Home(home).store_path) as db:
        db.execute("INSERT INTO migrations SELECT 9999, name, checksum, applied_at FROM migrations LIMIT 1")
    db.close()
    fails(3, r".*later version.*", "account", "list", home=home)
    fails(3, r".*later version.*", "serve", "--port", "0", home=home)


def test_a_configuration_is_checked_whole_without_touching_the_home(tmp_path: Path) -> None:
    home, config = tmp_path / "home", tmp_path / "bad.toml"
    assert "good: " in good("config", "check", home=home)
    assert not home.exists()
    config.write_text('include = ["shipped:self-host.toml"]\n[server]\nprot = 1\n[bearers]\nuser_kye = "x"\n')
    done = spl("config", "check", str(config), home=home)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 2
    assert "server.prot" in done.stderr
    assert "user_key" in done.stderr
    config.write_text('include = ["shipped:self-host.toml"]\n[server]\nprot = 1\n')
    fails(1, r'.*server\.prot: unknown key; did you mean "port"\?', "config", "check", str(config), home=home)
    syncropic = spl(
        "config", "check", str(shipped_folder() / "syncropic.toml"), home=home, env={"OPENAI_API_KEY": "sk-x"}
    )
    assert re.search(
        r"good: serves [1-9]\d* of \d+ models, by 1 of 3 providers; off, without a key here: anthropic, gemini$",
        syncropic.stdout.strip(),
    )
    assert good("config", "show", "-o", "json", home=home)["server"]["port"] == 8700


# ---------------------------------------------------------------- which gateway


def test_another_gateway_by_its_address_and_a_key(running_server: ServedGateway, tmp_path: Path) -> None:
    env = {"SYNCROPEL_API_KEY": running_server.key, "SPL_HOME": str(tmp_path / "unused")}
    url = ("--url", running_server.base_url)
    assert "demo" in {model["id"] for model in good("models", *url, env=env)}
    assert good("chat", "demo", "Hello", *url, env=env)
    # The key that the first start printed calls models; what is an owner's or an operator's it may not see.
    fails(1, r".*\[insufficient_scope, req_\w{26}\]", "account", "list", *url, env=env)
    fails(1, r".*Set SYNCROPEL_API_KEY.*", "account", "list", *url, env={**env, "SYNCROPEL_API_KEY": ""})
    fails(1, r".*Is SYNCROPEL_API_KEY a key.*", "models", *url, env={**env, "SYNCROPEL_API_KEY": "sk-wrong"})
    owner = json.loads(running_server.spl("keys", "mint", "--name", "owner", "--scope", "owner", "-o", "json"))
    records = good("thread", "records", THREAD, *url, env={**env, "SYNCROPEL_API_KEY": owner["secret"]})
    assert records[-1]["body"]["model"] == "demo"
    assert not (tmp_path / "unused").exists()


def test_a_home_that_is_held_while_nothing_answers_is_one_line_after_a_while(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with home.lock():
        fails(3, r"no server answers, and the home .* is in use by process \d+.*", "models", home=home.path)


def test_what_a_killed_server_left_is_not_believed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving(home) as served:
        served.process.send_signal(signal.SIGKILL)
        served.process.wait()
    assert Home(home).server_file.exists()
    assert good("account", "list", home=home)
    assert not Home(home).server_file.exists()


def test_following_needs_a_server_and_shows_what_comes(running_server: ServedGateway, tmp_path: Path) -> None:
    fails(3, r"--follow needs a running server.*", "thread", "records", THREAD, "--follow", home=tmp_path / "home")
    count = len(good("thread", "records", THREAD, home=running_server.home))
    command = [str(SPL), "thread", "records", THREAD, "--follow", "--limit", str(count + 2)]
    env = {**os.environ, "SPL_HOME": str(running_server.home)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as follower:
        for text in ("one", "two"):
            good("chat", "demo", text, home=running_server.home)
        output, _ = follower.communicate(timeout=60)
    rows = [json.loads(line) for line in output.splitlines()]
    assert len(rows) == count + 2
    assert [row["sequence"] for row in rows] == sorted({row["sequence"] for row in rows})


def test_reading_only_the_beginning_is_no_error_message(running_server: ServedGateway) -> None:
    good("chat", "demo", "Hello", home=running_server.home)
    env = {**os.environ, "SPL_HOME": str(running_server.home), "PATH": f"{SPL.parent}:{os.environ['PATH']}"}
    line = f"yes | head -n 3 | while read x; do spl thread records {THREAD} -o jsonl; done | head -n 1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, env=env)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


# ---------------------------------------------------------------- backup and restore


@pytest.mark.parametrize("with_server", [True, False])
def test_a_backup_restored_elsewhere_has_its_records_and_its_keys_work(tmp_path: Path, with_server: bool) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "backup.tar"
    with serving(old) as served:
        key = served.key
        good("chat", "demo", "Hello", home=old)
        if not with_server:
            served.stop()
        done = spl("backup", str(file), home=old)
    assert (done.returncode, done.stdout) == (0, "")
    assert "it holds secrets" in done.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    fails(3, r".* is there already.*--force.*", "backup", str(file), home=old)

    done = spl("restore", str(file), home=new)
    assert done.returncode == 0, done.stderr
    records = good("thread", "records", THREAD, home=new)
    assert records == good("thread", "records", THREAD, home=old)
    with serving(new) as restored:
        assert "sk-" not in restored.output()
        assert good("chat", "demo", "Hello", "--url", restored.url, env={"SYNCROPEL_API_KEY": key})
        assert good("reconcile", home=new) == []
        fails(3, r"the home .* is in use by the server.*", "restore", str(file), "--force", home=new)
    fails(3, r".* has a store already.*--force.*", "restore", str(file), home=new)
    done = spl("restore", str(file), "--force", home=new)
    assert done.returncode == 0, done.stderr
    (aside,) = new.glob("replaced-*")
    assert (aside / "store.sqlite3").exists()
    assert good("thread", "records", THREAD, home=new) == records


def test_a_backup_that_is_not_whole_changes_nothing(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "backup.tar"
    good("account", "create", "acme", home=home)
    assert spl("backup", str(file), home=home).returncode == 0
    file.write_bytes(file.read_bytes()[:-30_000])
    fails(1, r".* is not a whole backup of spl.*", "restore", str(file), "--force", home=home)
    assert good("account", "show", "acme", home=home)
    fails(3, r"there is no instance at .*", "backup", str(tmp_path / "b.tar"), home=tmp_path / "none")


# ---------------------------------------------------------------- plugins and shells

PLUGIN = '''
import click
from gateway_core.hookspecs import API, hookimpl

class Plugin:
    API = API

    @hookimpl
    def register_commands(self):
        @click.command("hello", short_help="Say which models there are.")
        @click.pass_obj
        def hello(target):
            """Say which models there are."""
            print(target.run(lambda api: api.get("/v1/models"))["data"][0]["id"])
        return [hello]
'''


def test_a_plugins_command_is_listed_and_works(tmp_path: Path) -> None:
    site, home = tmp_path / "site", tmp_path / "home"
    (site / "spl_hello-1.dist-info").mkdir(parents=True)
    (site / "spl_hello.py").write_text(PLUGIN)
    (site / "spl_hello-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: spl-hello\nVersion: 1\n")
    (site / "spl_hello-1.dist-info" / "entry_points.txt").write_text("[spl_gateway]\nhello = spl_hello:Plugin\n")
    env = {"PYTHONPATH": str(site)}
    ours = re.compile(r"^  hello +Say which models there are\.$", re.MULTILINE)
    _, _, from_plugins = good("--help", home=home, env=env).partition("From plugins:\n")
    assert ours.search(from_plugins)
    assert good("hello", home=home, env=env).strip()
    assert not ours.search(good("--help", home=home))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_spl(shell: str) -> None:
    script = good("completion", shell)
    assert "_SPL_COMPLETE" in script
    asked = {
        "_SPL_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "spl acc",
        "COMP_CWORD": "acc" if shell == "fish" else "1",
    }
    assert "account" in good(env=asked)
