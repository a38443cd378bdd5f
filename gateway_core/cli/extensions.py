"""Commands that plugins bring. What brings none is not imported for a `--help`."""

import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

import click

from gateway_core.cli.target import Target
from gateway_core.errors import SplError

_HOOK = b"register_commands"


def offered(target: Target) -> Mapping[str, click.Command]:
    """The plugins' commands by name. Plugins that cannot be loaded are a warning: the other commands still work."""
    if target.extensions is None:
        target.extensions = _load(target) if any(map(_may_bring, entry_points(group="spl_gateway"))) else {}
    return target.extensions


def _load(target: Target) -> Mapping[str, click.Command]:
    from gateway_core import config_file, plugins
    from gateway_core.home import Home

    try:
        return plugins.load(config_file.load(target.config, Home(target.home))).commands()
    except SplError as error:
        click.echo(f"spl: warning: commands of plugins are missing: {error}", err=True)
        return {}


def _may_bring(entry: EntryPoint) -> bool:
    """Whether the plugin's source speaks of the hook; reading it is cheaper than importing all that it needs."""
    package = entry.module.partition(".")[0]
    if package == "gateway_core" or package in sys.builtin_module_names:
        return False
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    folders = spec.submodule_search_locations
    files = (
        [file for folder in folders for file in Path(folder).rglob("*.py")] if folders else [Path(spec.origin or "")]
    )
    try:
        return not files or any(_HOOK in file.read_bytes() for file in files)
    except OSError:  # no source to read, e.g. in a zip file
        return True
