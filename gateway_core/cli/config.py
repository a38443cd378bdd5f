"""`spl config`: whether a configuration is good, and what is in effect."""

import json
from pathlib import Path

import click

from gateway_core.cli.failure import FAILED, Failure
from gateway_core.cli.options import config_option, connected, home_option
from gateway_core.cli.target import Target

_FILE = click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))


@click.group(short_help="Check and show the configuration.")
def config() -> None:
    """Check and show the configuration. A change needs a restart; keys, accounts and limits live in the store."""


@config.command(short_help="Check a configuration whole, plugins' settings too.")
@_FILE
@home_option
@config_option
@click.pass_obj
def check(target: Target, file: Path | None) -> None:
    """Check FILE (default: the home's config.toml, else the self-hoster's) as a start would, and say what is wrong: all
    unknown keys and types, else all values, else what a plugin refuses. Nothing is started and the home is not touched.

    \b
    Example:
      spl config check conf/syncropic.toml
    """
    from gateway_core.cli.locate import assemble
    from gateway_core.errors import ConfigError, ConfigProblems, PluginError
    from gateway_core.home import Home

    target.config = file or target.config
    try:
        gateway = assemble(target, Home(target.home))
    except (ConfigError, PluginError) as error:
        *others, last = error.problems if isinstance(error, ConfigProblems) else (error,)
        for problem in others:
            click.echo(f"spl: {problem}", err=True)
        raise Failure(str(last), FAILED) from None
    services, configured = gateway.services, gateway.loaded.config
    off = [name for name in configured.providers if name not in services.providers]
    missing = f"; off, without a key here: {', '.join(off)}" if off else ""
    click.echo(
        f"{gateway.loaded.sources.file}: good: serves {len(services.models)} of {len(configured.models)} models, by "
        f"{len(services.providers)} of {len(configured.providers)} providers{missing}"
    )


@config.command(short_help="Show the configuration in effect, without secrets.")
@_FILE
@click.option(
    "-o", "--output", "form", type=click.Choice(["toml", "json"]), default="toml", help="How to print.  [default: toml]"
)
@connected
@click.pass_obj
def show(target: Target, file: Path | None, form: str) -> None:
    """Show the configuration in effect, defaults included: the running server's, or FILE's. It holds no secret.

    \b
    Example:
      spl config show
      spl config show conf/syncropic.toml -o json
    """
    from gateway_core import config_file
    from gateway_core.home import Home

    if file is None:
        tables = target.run(lambda api: api.get("/v1/admin/config"))
    else:
        tables = config_file.show(config_file.load(file, Home(target.home)))
    click.echo(
        json.dumps(tables, ensure_ascii=False, indent=2) if form == "json" else config_file.to_toml(tables),
        nl=form == "json",
    )
