"""Every hook: specified, documented with an example that runs, tested here, and called in the order of the line."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import click
import pytest

from gateway_core.dispatch import Dispatch
from gateway_core.errors import InvalidBearer, PluginError
from gateway_core.hookspecs import HOOKS, hookimpl
from gateway_core.money import Units
from gateway_core.plugins import PluginSet
from gateway_core.ports import Endpoint, LimiterKind, ProviderKind
from gateway_core.store_ports import StoreKind
from gateway_core.testing import samples
from gateway_core.testing.plugins import load_plugins
from gateway_core.testing.provider_parts import parts
from gateway_core.types import Cost, Credentials, Principal, Record, Route, Terms, Usage

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
SERVICES = cast("Any", object())  # what these plugins never look into


def sections() -> dict[str, str]:
    """Headings of docs/plugins.md → what stands under them."""
    parts = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def examples(heading: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", sections()[heading], flags=re.MULTILINE | re.DOTALL)


def run(source: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "documented_example"}
    exec(compile(source, "docs/plugins.md", "exec"), namespace)  # noqa: S102  # the page's own examples must run
    return namespace


def documented(hook: str) -> PluginSet:
    """The example under a hook's heading, loaded as a start would."""
    (source,) = examples(hook)
    return load_plugins({"example": run(source)["Plugin"]})


# ---------------------------------------------------------------- nothing is left out


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_has_a_heading_an_example_and_a_test(hook: str) -> None:
    assert hook in sections(), f"docs/plugins.md has no heading `## {hook}`"
    assert hook in next(info for info in documented(hook).report if info.name == "example").hooks
    assert f"test_{hook}" in vars(sys.modules[__name__]), f"tests/unit/test_hooks.py has no test_{hook}"
    assert (HOOKS[hook].__doc__ or "").strip()


@pytest.mark.parametrize("heading", [each for each in sections() if each not in HOOKS and examples(each)])
def test_the_other_examples_run(heading: str) -> None:
    for source in examples(heading):
        plugins = load_plugins({"greeting": run(source)["Plugin"]})
        assert "greeting" in [plugin.name for plugin in plugins.plugins]


def test_the_page_s_links_lead_somewhere() -> None:
    anchors = {heading.lower().replace(" ", "-") for heading in sections()}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors


# ---------------------------------------------------------------- start-up


def test_register_providers() -> None:
    kinds = documented("register_providers").provider_kinds()
    assert list(kinds) == ["provider-echo"]
    assert kinds["provider-echo"].build(kinds["provider-echo"].settings(), parts("mine")).name == "mine"


async def test_register_providers_example_answers_and_streams() -> None:
    kind = documented("register_providers").provider_kinds()["provider-echo"]
    provider = kind.build(kind.settings(), parts("mine"))
    answer = await provider.complete(samples.request(), Route("mine", "m"), None)
    assert answer.texts == ("You said: Hello",)
    events = [
        chunk async for read in await provider.stream(samples.request(), Route("mine", "m"), None) for chunk in read
    ]
    assert "".join(text for chunk in events for text in chunk.texts) == "You said: Hello"
    assert events[-1].finish


def test_register_stores() -> None:
    assert list(documented("register_stores").store_kinds()) == ["paper"]


async def test_register_limiters() -> None:
    kind = documented("register_limiters").limiter_kinds()["none"]
    limiter = kind.build("none", None, None)
    assert limiter.reserve_now([], 5) == await limiter.reserve([], 5)


def test_register_routes() -> None:
    (endpoint,) = documented("register_routes").endpoints(SERVICES)
    assert (endpoint.method, endpoint.path, endpoint.gate) == ("GET", "/v1/model-count", "caller")


def test_register_commands() -> None:
    command = documented("register_commands").commands()["greet"]
    from click.testing import CliRunner

    assert CliRunner().invoke(command, ["Ada"]).output == "Hello, Ada.\n"


KINDS: dict[str, tuple[Any, str]] = {
    "register_providers": (ProviderKind("same", ProviderKind, None), "provider_kinds"),
    "register_stores": (StoreKind("same", None), "store_kinds"),
    "register_limiters": (LimiterKind("same", None), "limiter_kinds"),
    "register_commands": (click.Command("same"), "commands"),
    "register_routes": (Endpoint("GET", "/same", "public", cast("Any", None), ""), "endpoints"),
}


def registering(hook: str, given: Any) -> type:
    def implementation(self: Any) -> Any:
        if isinstance(given, Exception):
            raise given
        return given

    return type("Plugin", (), {"API": 1, hook: hookimpl(implementation)})


def collect(hook: str, plugins: PluginSet) -> Any:
    arguments: Mapping[str, Any] = {"services": SERVICES} if hook == "register_routes" else {}
    return getattr(plugins, KINDS[hook][1])(**arguments)


@pytest.mark.parametrize("hook", KINDS)
def test_what_is_registered_is_checked_and_blamed(hook: str) -> None:
    kind = KINDS[hook][0]
    assert len(collect(hook, load_plugins({"a": registering(hook, [kind]), "b": registering(hook, None)}))) == 1
    both = load_plugins({"a": registering(hook, [kind]), "b": registering(hook, [kind])})
    with pytest.raises(PluginError, match=rf"plugin b: {hook}: .*same is registered by plugin a already"):
        collect(hook, both)
    for given, says in (
        ([3], f"{hook} gave a int, not a {type(kind).__name__}"),
        (kind, f"{hook} gave a {type(kind).__name__}, not a list"),
        (OSError("no"), f"{hook} failed: OSError: no"),
    ):
        with pytest.raises(PluginError, match=f"plugin a: {re.escape(says)}"):
            collect(hook, load_plugins({"a": registering(hook, given)}))


async def test_startup() -> None:
    class Running:
        models: Mapping[str, Any] = {"demo": None}

    plugins = documented("startup")
    ((name, function),) = Dispatch(plugins).startup
    await function(Running())
    assert (name, plugins.plugins[0].instance._names) == ("example", ("demo",))


async def test_shutdown() -> None:
    ((name, function),) = Dispatch(documented("shutdown")).shutdown
    await function()
    assert name == "example"


# ---------------------------------------------------------------- every call


async def test_authenticate() -> None:
    dispatch = Dispatch(documented("authenticate"))
    assert await dispatch.authenticate(Credentials(None, "::1")) is None
    known = await dispatch.authenticate(Credentials("lab-7f3c", "::1"))
    assert known is not None
    assert known.account_id == "acct_lab"
    with pytest.raises(InvalidBearer):
        await dispatch.authenticate(Credentials("lab-0000", "::1"))


def test_admit() -> None:
    plugins = documented("admit")
    assert "lab" in plugins.tiers
    terms = Dispatch(plugins).admit(samples.call())
    assert terms is not None
    assert (terms.tier, terms.windows[0].limit) == ("lab", 10)


def test_select_backend() -> None:
    dispatch = Dispatch(documented("select_backend"))
    assert dispatch.select_backend(samples.call()) is None
    long = samples.call(request=samples.request("house", size=200_000))
    assert dispatch.select_backend(long) == [Route("big", "house-long"), Route("small", "house")]


def test_price() -> None:
    dispatch = Dispatch(documented("price"))
    assert dispatch.price(samples.call(), Usage(input=1)) is None
    cost = dispatch.price(samples.call("house-1"), Usage(input=1_000_000, output=500_000))
    assert cost is not None
    assert (cost.charge, cost.owed) == (900_000_000_000, 750_000_000_000)


async def test_emit_audit() -> None:
    plugins = documented("emit_audit")
    ((_, function),) = Dispatch(plugins).emit_audit
    await function(samples.record())
    await function(samples.record())
    assert plugins.plugins[0].instance.taken == {"rec_1": b'{"cost_usd":"0"}'}


async def test_wants_audit() -> None:
    dispatch = Dispatch(documented("wants_audit"))
    assert [name for name, _ in dispatch.emit_audit] == list(dispatch.wants_audit) == ["example"]
    wants = dispatch.wants_audit["example"]
    assert (await wants("acct_lab"), await wants("acct_sample")) == (True, False)


# ---------------------------------------------------------------- the order of the line


def recorder(name: str, seen: list[str]) -> type:
    """Implements every hook of a call and notes when it is asked; only "last" answers."""

    def note(hook: str) -> None:
        seen.append(f"{hook} {name}")

    class Plugin:
        API = 1

        @hookimpl
        async def startup(self) -> None:
            note("startup")

        @hookimpl
        async def shutdown(self) -> None:
            note("shutdown")

        @hookimpl
        async def authenticate(self) -> Principal | None:
            note("authenticate")
            return samples.principal() if name == "last" else None

        @hookimpl
        def admit(self) -> Terms | None:
            note("admit")
            return Terms("t") if name == "last" else None

        @hookimpl
        def select_backend(self) -> list[Route] | None:
            note("select_backend")
            return [Route("a", "b")] if name == "last" else None

        @hookimpl
        def price(self) -> Cost | None:
            note("price")
            return Cost(Units(0), Units(0), samples.rates()) if name == "last" else None

        @hookimpl
        async def emit_audit(self, record: Record) -> None:
            note("emit_audit")

    return Plugin


async def test_the_hooks_of_one_call_in_the_order_of_the_line() -> None:
    seen: list[str] = []
    tables = {"plugins": {"enabled": ["second", "first", "last"]}}
    dispatch = Dispatch(load_plugins({name: recorder(name, seen) for name in ("first", "last", "second")}, tables))
    for _, startup in dispatch.startup:
        await startup(SERVICES)
    await dispatch.authenticate(Credentials("b", "::1"))
    dispatch.select_backend(samples.call())
    dispatch.admit(samples.call())
    dispatch.price(samples.call(), Usage())
    for _, emit in dispatch.emit_audit:
        await emit(samples.record())
    for _, shutdown in dispatch.shutdown:
        await shutdown()
    in_order = ["startup", "authenticate", "select_backend", "admit", "price", "emit_audit"]
    assert seen == [f"{hook} {name}" for hook in in_order for name in ("second", "first", "last")] + [
        f"shutdown {name}" for name in ("last", "first", "second")
    ]
