"""The command `spl` itself: its help, its global options, and how every failure ends."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click
from click.exceptions import NoArgsIsHelpError, NoSuchCommand

from gateway_core.cli.failure import FAILED, INTERRUPTED, UNAVAILABLE, USAGE, Failure
from gateway_core.cli.options import connected
from gateway_core.cli.output import printable
from gateway_core.cli.target import Target
from gateway_core.errors import SplError

SECTIONS = {
    "Run it": ("serve", "chat"),
    "Accounts and keys": ("account", "keys", "instance", "token"),
    "Money": ("plan", "subscription", "usage", "invoice", "adjust"),
    "Look": ("models", "capabilities", "tokenize", "thread", "providers", "plugins", "config"),
    "Look after it": ("reconcile", "outbox", "backup", "restore", "completion"),
}
"""Every built-in command. `NAME` is the attribute `NAME` of `gateway_core.cli.NAME`, imported when it is needed."""

BUILT_IN = tuple(name for names in SECTIONS.values() for name in names)


class Spl(click.Group):
    """Finds commands when they are asked for: the built-in ones by name, then those that plugins bring."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from gateway_core.cli.extensions import offered

        return [*BUILT_IN, *offered(ctx.ensure_object(Target))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in BUILT_IN:
            built_in: click.Command = getattr(import_module(f"gateway_core.cli.{cmd_name}"), cmd_name)
            return built_in
        from gateway_core.cli.extensions import offered

        return offered(ctx.ensure_object(Target)).get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            # click looks for the nearest name among commands that are imported.
            raise NoSuchCommand(error.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = [name for name in self.list_commands(ctx) if name not in BUILT_IN]
        for title, names in {**SECTIONS, "From plugins": own}.items():
            if not names:
                continue
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl([(name, command.get_short_help_str(90)) for name, command in commands if command])


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        from importlib.metadata import version

        click.echo(f"spl {version('spl-gateway')}")
        ctx.exit()


@click.group(
    cls=Spl,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110, "auto_envvar_prefix": None},
    epilog="""\b
First steps:
  spl serve                  starts a gateway, prints a key and a call to try
  spl chat demo "Hello"      calls a model
  spl thread records th_audit_api_usage
                             shows what each call cost

Exit codes: 0 done · 1 refused, failed or something differs · 2 wrong usage · 3 the home, the configuration or the
server cannot be used · 4 what was printed is incomplete · 130 interrupted.

SPL_DEBUG=1 prints where an unexpected error came from; NO_COLOR=1 turns colours off.""",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@connected
@click.pass_context
def spl(ctx: click.Context) -> None:
    """An LLM gateway that bills exactly what it delivered.

    Commands talk to the server that runs on the home (or at --url); where none runs, each takes the home
    for itself while it works.
    """
    ctx.ensure_object(Target)


def _line(error: BaseException) -> tuple[str, int]:
    """What an error says to a person, and the exit code it ends with."""
    if isinstance(error, Failure):
        return error.message, error.code
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "spl"
        message = error.format_message().rstrip()
        end = "" if message.endswith((".", "?", "!", "?)")) else "."
        return f"{message}{end} See '{command} --help'.", USAGE
    if isinstance(error, click.ClickException):
        return error.format_message(), error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "interrupted", INTERRUPTED
    if isinstance(error, SplError):
        return str(error), UNAVAILABLE
    if isinstance(error, UnicodeEncodeError) and "\ud800" <= error.object[error.start] <= "\udfff":
        return "an argument is not text: it has bytes that are no UTF-8", USAGE
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", UNAVAILABLE
    return f"unexpected {type(error).__name__}: {error}. SPL_DEBUG=1 shows where; please report it.", FAILED


def run(args: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code; whatever fails is one line on standard error."""
    target = Target()
    if os.environ.get("SPL_HOME"):
        target.home = Path(os.environ["SPL_HOME"]).expanduser().absolute()
    try:
        result = spl.main(args=args, prog_name="spl", standalone_mode=False, obj=target)
        sys.stdout.flush()
    except NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except BrokenPipeError:
        # Whoever read us has gone, e.g. `| head`: nothing to say, and nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (Exception, KeyboardInterrupt) as error:  # the last line of defence: one line, never a traceback
        if os.environ.get("SPL_DEBUG"):
            raise
        line, code = _line(error)
        # What a gateway elsewhere says does not get to steer the terminal.
        click.echo(f"spl: {printable(' '.join(line.split()))}", err=True)
        return code
    return result if isinstance(result, int) else 0


def main() -> None:
    """The entry point of the command `spl`."""
    sys.exit(run())
