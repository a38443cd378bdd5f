"""`spl serve`: runs the gateway, and says how to call it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from gateway_core.cli.options import config_option, home_option
from gateway_core.cli.output import style
from gateway_core.cli.target import Target
from gateway_core.errors import SplError

if TYPE_CHECKING:
    import asyncio

    from gateway_core.gateway import Gateway

_FIRST_KEY = "first"
_TRIED_MODEL = "demo"


@click.command(short_help="Run the gateway.")
@click.option("--host", metavar="ADDRESS", help="Where to listen.  [default: the configuration's, else 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="0 takes a free one.  [default: the configuration's, else 8700]"
)
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, help="Processes; more than one is refused.  [default: 1]"
)
@home_option
@config_option
@click.pass_obj
def serve(target: Target, host: str | None, port: int | None, workers: int) -> None:
    """Run the gateway until it is stopped by Ctrl-C or SIGTERM; open streams get time to end.

    The first run on an empty home makes the account `local` and a key, and prints the key this once with a call
    that works as it stands. More than one worker would need a store and limits that all of them share.

    \b
    Example:
      spl serve
      spl serve --config conf/syncropic.toml --host 0.0.0.0 --port 8700
    """
    from gateway_core import logs
    from gateway_core.cli.locate import assemble
    from gateway_core.edge import server
    from gateway_core.home import Home

    if target.url is not None:
        raise click.UsageError("--url names a gateway that runs elsewhere; `spl serve` runs one here.")
    server.check_workers(workers)
    home = Home(target.home)
    logs.configure()
    address = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    with _HeldLogs() as held:
        gateway = assemble(target, home, {"server": address})
        welcome = _Welcome(gateway, held)
        listening = gateway.config.server
        with home.lock():
            server.serve(gateway, home, address=listening.host, port=listening.port, announce=welcome.announce)


class _HeldLogs:
    """Keeps what is logged until the server is up, so that a start that is refused says why in one line.

    An error lets everything out at once.
    """

    def __enter__(self) -> Self:
        import logging
        from logging.handlers import MemoryHandler

        self._root = logging.getLogger()
        self._handlers = list(self._root.handlers)
        self._memory = MemoryHandler(10_000, flushLevel=logging.ERROR, target=self._handlers[0])
        self._root.handlers[:] = [self._memory]
        return self

    def release(self) -> None:
        """From now on logs go where they belong; first what was kept."""
        self._memory.flush()
        self._root.handlers[:] = self._handlers

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, SplError):
            self._memory.buffer.clear()
        self.release()


class _Welcome:
    """What is printed once calls are accepted."""

    def __init__(self, gateway: "Gateway", held: _HeldLogs) -> None:
        self._gateway = gateway
        self._held = held
        self._printing: asyncio.Task[None] | None = None

    def announce(self, url: str) -> None:
        """Called in the server's loop with its base URL."""
        import asyncio

        self._held.release()
        self._printing = asyncio.get_running_loop().create_task(self._print(url))
        # Raised again where the loop logs it: nobody waits for this task.
        self._printing.add_done_callback(lambda printing: printing.cancelled() or printing.result())

    async def _print(self, url: str) -> None:
        secret = await _first_key(self._gateway)
        models = self._gateway.services.models
        model = _TRIED_MODEL if _TRIED_MODEL in models else next(iter(models), None)
        before = await _needed_first(self._gateway, secret, model) if secret and model else None
        for line in _lines(url, self._gateway.home.path, secret, model, before):
            click.echo(line)


async def _first_key(gateway: "Gateway") -> str | None:
    """The secret of a new key where the account `local` never had one, else None."""
    from gateway_core.bearers import local_account, mint

    services = gateway.services
    now = services.clock.now_ms()
    account = await local_account(services.store.directory, now)
    if await services.store.directory.keys(account.id):
        return None
    key, secret = mint(account.id, _FIRST_KEY, now_ms=now)
    await services.store.directory.add_key(key, services.keyring.digest(secret), "spl serve")
    return secret


async def _needed_first(gateway: "Gateway", secret: str, model: str) -> str | None:
    """The command that the key's account needs before its first call, where its tier asks for a subscription."""
    from gateway_core.bearers import LOCAL_ACCOUNT
    from gateway_core.clock import month_of
    from gateway_core.errors import SubscriptionRequired
    from gateway_core.types import Call, ChatRequest, Credentials

    plan = next(iter(gateway.services.config.plans), None)
    if plan is None:
        return None
    principal = await gateway.dispatch.authenticate(Credentials(secret, ""))
    account = await gateway.services.store.directory.account(principal.account_id) if principal else None
    if principal is None or account is None:
        return None
    now = gateway.services.clock.now_ms()
    request = ChatRequest(model=model, body={}, size=0)
    try:
        gateway.pipeline.allowed(Call("", principal, account, request, "", now, month_of(now)))
    except SubscriptionRequired:
        return f"{_spl(gateway.home.path)} subscription start {LOCAL_ACCOUNT} --plan {plan}"
    return None


def _lines(url: str, home: Path, secret: str | None, model: str | None, before: str | None = None) -> list[str]:
    import sys

    lines = [f"{style('Base URL', sys.stdout, '1')}  {url}/v1", f"{style('Home', sys.stdout, '1')}      {home}"]
    mint = f"{_spl(home)} keys mint --name NAME"
    if secret is None:
        return [*lines, "", f"Mint a key:  {mint}"]
    lines.append(f"{style('Key', sys.stdout, '1')}       {secret}   (shown this once; more: {mint})")
    if model is None:
        return [
            *lines,
            "",
            "No model is served yet: a provider needs its key; the lines above name its variable.",
        ]
    return [
        *lines,
        "",
        "Try it:",
        *([before] if before else []),
        _curl(
            f"{url}/v1/chat/completions", secret, {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
        ),
    ]


def _spl(home: Path) -> str:
    """How the command line finds that home, whichever shell it is typed into."""
    import shlex

    return "spl" if home == Target().home else f"spl --home {shlex.quote(str(home))}"


def _curl(url: str, secret: str, body: dict[str, Any]) -> str:
    import shlex

    parts = ["curl", url, "-H", f"Authorization: Bearer {secret}", "-H", "Content-Type: application/json"]
    return shlex.join([*parts, "-d", json.dumps(body)])
