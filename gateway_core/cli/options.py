"""The options and values that commands share. Cheap to import: every `--help` needs it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from gateway_core.cli.target import Target

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("table", "json", "jsonl", "csv")

_DURATION = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_MONTH = re.compile(r"(?!0000|9999)\d{4}-(0[1-9]|1[0-2])", re.ASCII)


def _target(ctx: click.Context) -> Target:
    return ctx.find_root().ensure_object(Target)


def _set_home(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        _target(ctx).home = value.expanduser().absolute()


def _set_url(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    from gateway_core.config_checks import is_http_url

    if not is_http_url(value):
        raise click.BadParameter("give a whole address such as https://gateway.example.com", ctx=ctx)
    _target(ctx).url = value.rstrip("/").removesuffix("/v1")


def _set_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        _target(ctx).config = value


def home_option(fn: F) -> F:
    """`--home`: which instance."""
    return click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        callback=_set_home,
        expose_value=False,
        help="The instance's home directory.  [env: SPL_HOME; default: ~/.spl]",
    )(fn)


def config_option(fn: F) -> F:
    """`--config`: the configuration where no server runs."""
    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        callback=_set_config,
        expose_value=False,
        help="Configuration to use.  [default: config.toml in the home, else the self-hoster's]",
    )(fn)


def connected(fn: F) -> F:
    """The options that say which gateway a command talks to: `--home`, `--url`, `--config`."""
    url = click.option(
        "--url",
        metavar="URL",
        callback=_set_url,
        expose_value=False,
        help="A gateway elsewhere, called with the key in SYNCROPEL_API_KEY.",
    )
    return home_option(url(config_option(fn)))


def output_option(fn: F) -> F:
    """`-o`: how results are printed."""
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(FORMATS),
        help="How to print.  [default: table on a terminal, json elsewhere]",
    )(fn)


class _Usd(click.ParamType[str]):
    name = "usd"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from gateway_core.money import parse_usd, usd

        try:
            return usd(parse_usd(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Duration(click.ParamType[str]):
    """A span of time as the API takes it, too."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not _DURATION.fullmatch(value) or not seconds_in(value):
            self.fail(f"{value!r} is not a time such as 30d, 12h or 45m", param, ctx)
        return str(value)


class _Instant(click.ParamType[int]):
    """Milliseconds since the epoch, from a date, a time, or how long ago."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            if _DURATION.fullmatch(value):
                return _ms(datetime.now(UTC) - timedelta(seconds=seconds_in(value)))
            at = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a date (2026-11-22), a time (2026-11-22T08:00Z) or an age (7d)", param, ctx)
        return _ms(at if at.tzinfo else at.replace(tzinfo=UTC))


class _Month(click.ParamType[str]):
    name = "yyyy-mm"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not _MONTH.fullmatch(value):
            self.fail(f"{value!r} is not a month such as 2026-11", param, ctx)
        return str(value)


def seconds_in(span: str) -> int:
    """Seconds in a span of time such as 30d, 12h, 45m or 90s."""
    return int(span[:-1]) * _SECONDS[span[-1]]


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


USD = _Usd()
DURATION = _Duration()
INSTANT = _Instant()
MONTH = _Month()
