"""The command line as a whole: what each failure looks like, what help needs, and that the manual names everything."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest

from gateway_core.cli import extensions, failure, options, root, serve
from gateway_core.cli.failure import Failure
from gateway_core.cli.target import Target
from gateway_core.clock import month_bounds
from gateway_core.errors import StoreLocked

MANUAL = Path(__file__).parents[2] / "docs" / "cli.md"
HEAVY = ("httpx2", "starlette", "uvicorn", "tiktoken", "msgspec", "cryptography", "asyncio", "pluggy")


def commands(command: click.Command, path: tuple[str, ...] = ("spl",)) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path), command
    if isinstance(command, click.Group):
        names = root.BUILT_IN if command is root.spl else command.list_commands(click.Context(command))
        for name in names:
            child = command.get_command(click.Context(command), name)
            assert child is not None, name
            yield from commands(child, (*path, name))


ALL = dict(commands(root.spl))
MISSING = Path(__file__).with_name("data") / "missing_plugin.toml"
LEAVES = {path: command for path, command in ALL.items() if not isinstance(command, click.Group)}


@pytest.fixture
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "entry_points", lambda **_: ())


# ---------------------------------------------------------------- help and the manual


@pytest.mark.parametrize("path", LEAVES)
def test_each_command_has_a_line_an_example_and_a_word_on_every_option(path: str) -> None:
    command = LEAVES[path]
    assert command.short_help
    assert command.help is not None
    assert re.search(rf"Example:\n.*{path}", command.help, re.DOTALL), f"{path} --help shows no example"
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or getattr(parameter, "help", None), (path, parameter.name)


def _sections() -> dict[str, str]:
    parts = re.split(r"^#+ `(spl[^`]*)`$", MANUAL.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("path", LEAVES)
def test_the_manual_has_every_command_with_every_option_of_its_own(path: str) -> None:
    section = _sections()[path]
    common = {option for parameter in root.spl.params for option in parameter.opts}
    for parameter in LEAVES[path].params:
        names = [parameter.human_readable_name] if isinstance(parameter, click.Argument) else parameter.opts
        for name in set(names) - common - {"-o", "--output"}:
            assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", section), f"docs/cli.md: {path} does not name {name}"


def test_the_manual_has_no_command_that_is_not_there_and_all_that_is_common() -> None:
    assert set(_sections()) == set(LEAVES)
    text = MANUAL.read_text()
    for parameter in root.spl.params:
        assert all(f"`{option}" in text for option in parameter.opts), parameter.name
    for code in (failure.FAILED, failure.USAGE, failure.UNAVAILABLE, failure.CUT_SHORT, failure.INTERRUPTED):
        assert f"| {code} |" in text


def test_help_of_every_command_imports_nothing_heavy() -> None:
    program = f"""
import sys
from importlib import import_module
from gateway_core.cli import extensions, root
extensions.entry_points = lambda **_: ()
for path in {[path.split()[1:] for path in ALL]!r}:
    assert root.run([*path, "--help"]) == 0
print(*(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stderr.strip() == ""


# ---------------------------------------------------------------- failures


NO_ADDRESSES = ("http://[::1", "http://x y", "http://x:99999", "http://u:p@x")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["chat"], 2, r"spl: Missing argument 'MODEL'\. See 'spl chat --help'\."),
        (["chatt", "a"], 2, r"spl: No such command 'chatt'\..*chat.*See 'spl --help'\."),
        (["chat", "m", "t", "--url", "ftp://x"], 2, r".*give a whole address.*\. See 'spl chat --help'\."),
        *((["chat", "m", "t", "--url", url], 2, r".*give a whole address.*") for url in NO_ADDRESSES),
        (["chat", "m", "\udcff", "--url", "http://127.0.0.1:9"], 2, r"spl: an argument is not text: .*no UTF-8"),
        (["thread", "records", "t", "--month", "2026-13"], 2, r".*not a month such as 2026-11\. See 'spl .*"),
        (["completion"], 2, r".*bash, zsh, fish\. See 'spl completion --help'\."),
        (["config", "check", str(MISSING)], 1, r"spl: plugin nothing: not installed, .*"),
        (["config", "check", "none.toml"], 1, r"spl: .*there is no file none\.toml"),
        (["thread", "records", "t", "--month", "2026-11", "--since", "1d"], 2, r".*either --month or.*"),
        (["thread", "records", "t", "--follow", "-o", "json"], 2, r".*use -o jsonl.*"),
        (["chat", "m", "t", "--url", "http://127.0.0.1:9"], 3, r"spl: no gateway answers at http://127.0.0.1:9: .*"),
    ],
)
def test_a_failure_is_one_line_on_standard_error(
    arguments: list[str], code: int, line: str, capsys: pytest.CaptureFixture[str], no_plugins: None
) -> None:
    assert root.run(arguments) == code
    printed = capsys.readouterr()
    assert printed.out.strip() == ""
    assert re.fullmatch(line + "\n", printed.err), printed.err


@pytest.mark.parametrize("key", ["sk-\udcff", "sk-é", "sk-a b", "sk-a\nb"])
def test_a_key_that_is_none_is_told_and_not_sent(
    key: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, no_plugins: None
) -> None:
    monkeypatch.setenv("SYNCROPEL_API_KEY", key)
    assert root.run(["models", "--url", "http://127.0.0.1:9"]) == 3
    assert capsys.readouterr().err == "spl: SYNCROPEL_API_KEY is no key: it has characters that none has\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Failure("no\nsuch  thing", 4), 4, "spl: no such thing"),
        (Failure("no \x1b]0;title\x07 \x9b31m thing"), 1, "spl: no �]0;title� �31m thing"),
        (StoreLocked("the home is in use"), 3, "spl: the home is in use"),
        (PermissionError(13, "Permission denied", "/x"), 3, "spl: /x: Permission denied"),
        (KeyboardInterrupt(), 130, "spl: interrupted"),
        (ValueError("odd"), 1, "spl: unexpected ValueError: odd. SPL_DEBUG=1 shows where; please report it."),
    ],
)
def test_whatever_is_raised_ends_in_a_line_and_a_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def fails() -> None:
        raise error

    monkeypatch.setattr(root.spl, "get_command", lambda _ctx, _name: fails)
    assert root.run(["fails"]) == code
    assert capsys.readouterr().err.strip() == line


@pytest.mark.parametrize("columns", [80, 200])
def test_its_help_fits_the_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_plugins: None
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert root.run(["--help"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert max(map(len, shown)) <= min(columns, 110)


def test_spl_alone_prints_its_help(capsys: pytest.CaptureFixture[str], no_plugins: None) -> None:
    assert root.run([]) == 2
    assert "First steps" in capsys.readouterr().err


# ---------------------------------------------------------------- options


def parsed(*arguments: str, environment: str | None = None, monkeypatch: pytest.MonkeyPatch) -> Target:
    seen: list[Target] = []

    @click.command()
    @options.connected
    @click.pass_obj
    def look(target: Target) -> None:
        seen.append(target)

    monkeypatch.setattr(root.spl, "get_command", lambda _ctx, _name: look)
    if environment is not None:
        monkeypatch.setenv("SPL_HOME", environment)
    else:
        monkeypatch.delenv("SPL_HOME", raising=False)
    assert root.run(list(arguments)) == 0
    return seen[0]


def test_the_home_is_the_option_wherever_it_stands_then_the_environment_then_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert parsed("look", monkeypatch=monkeypatch).home == Path.home() / ".spl"
    assert parsed("look", environment="/e", monkeypatch=monkeypatch).home == Path("/e")
    assert parsed("--home", "/a", "look", environment="/e", monkeypatch=monkeypatch).home == Path("/a")
    assert parsed("--home", "/a", "look", "--home", "/b", monkeypatch=monkeypatch).home == Path("/b")


def test_the_address_is_taken_with_or_without_the_part_that_sdks_want(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("https://g.example", "https://g.example/", "https://g.example/v1", "https://g.example/v1/"):
        assert parsed("look", "--url", url, monkeypatch=monkeypatch).url == "https://g.example"


def test_values() -> None:
    assert options.seconds_in(options.DURATION.convert("30d", None, None)) == 30 * 86_400
    assert options.USD.convert("20.50", None, None) == "20.5"
    assert options.INSTANT.convert("2026-11-22", None, None) == 1_795_305_600_000
    assert options.INSTANT.convert("2026-11-22T01:00+01:00", None, None) == 1_795_305_600_000
    assert month_bounds("2026-12") == (1_796_083_200_000, 1_798_761_600_000)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (options.DURATION, "0d"),
        (options.DURATION, "3"),
        (options.DURATION, "-1d"),
        (options.USD, "1e3"),
        (options.USD, "-1"),
        (options.USD, "2000000"),
        (options.INSTANT, "yesterday"),
        (options.INSTANT, "999999w"),
        (options.MONTH, "2026-1"),
    ],
)
def test_values_that_are_refused(kind: click.ParamType[object], text: str) -> None:
    with pytest.raises(click.BadParameter):
        kind.convert(text, None, None)


# ---------------------------------------------------------------- commands of plugins


def entry(package: str) -> EntryPoint:
    return EntryPoint("x", f"{package}:Plugin", "spl_gateway")


def test_only_plugins_whose_source_speaks_of_commands_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spl_quiet").mkdir()
    (tmp_path / "spl_quiet" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "spl_brings").mkdir()
    (tmp_path / "spl_brings" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "spl_brings" / "plugin.py").write_text("def register_commands(self): ...")
    (tmp_path / "spl_single.py").write_text("def register_commands(self): ...")
    monkeypatch.syspath_prepend(str(tmp_path))
    brings = {
        name: extensions._may_bring(entry(name)) for name in ("spl_quiet", "spl_brings", "spl_single", "spl_gone")
    }
    assert brings == {"spl_quiet": False, "spl_brings": True, "spl_single": True, "spl_gone": False}
    assert not extensions._may_bring(entry("gateway_core.store"))


def test_what_a_start_tells_to_type_names_its_home_unless_that_is_the_usual_one(tmp_path: Path) -> None:
    told = serve._lines("http://g.example", tmp_path / "a home", None, None)
    assert told[-1] == f"Mint a key:  spl --home '{tmp_path}/a home' keys mint --name NAME"
    told = serve._lines("http://g.example", Path.home() / ".spl", None, None)
    assert told[-1] == "Mint a key:  spl keys mint --name NAME"
