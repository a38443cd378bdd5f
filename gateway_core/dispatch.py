"""Hook implementations compiled once into plain calls, each with its plugin's name for blame.

pluggy registers, checks and orders; on the path of a call it would cost five times as much, and with coroutines it
would take the first one for an answer. In a decision None asks the next plugin, a GatewayError is the plugin's own
refusal, and anything else fails closed.
"""

import asyncio
import logging
import traceback
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from typing import Any, NoReturn

from gateway_core.errors import GatewayError, InternalError
from gateway_core.hookspecs import LASTING
from gateway_core.plugins import PluginSet
from gateway_core.types import Call, Cost, Credentials, Principal, Record, Route, Terms, Usage

log = logging.getLogger(__name__)

AUTHENTICATE_SECONDS = 10.0
"""How long a plugin may take to say whose bearer it is."""

_Check = Callable[[Any], bool]
_Named = tuple[tuple[str, Callable[..., Any]], ...]


class Dispatch:
    """Every hook of the running gateway as one attribute. Built once, from the plugins that are on."""

    authenticate: Callable[[Credentials], Awaitable[Principal | None]]
    admit: Callable[[Call], Terms | None]
    select_backend: Callable[[Call], list[Route] | None]
    price: Callable[[Call, Usage], Cost | None]
    #: (plugin, function) of each; who calls them isolates, times out and retries.
    startup: tuple[tuple[str, Callable[[Any], Awaitable[None]]], ...]
    #: In reverse order.
    shutdown: tuple[tuple[str, Callable[[], Awaitable[None]]], ...]
    emit_audit: tuple[tuple[str, Callable[[Record], Awaitable[None]]], ...]
    #: Plugin → whether its sink takes an account's records; a plugin that is not here takes all.
    wants_audit: Mapping[str, Callable[[str], Awaitable[bool]]]

    #: The decisions whose answers last (`hookspecs.lasting`), whichever plugin gives them.
    lasting: frozenset[str]

    def __init__(self, plugins: PluginSet, *, authenticate_seconds: float = AUTHENTICATE_SECONDS) -> None:
        self.authenticate = _first_async(compiled(plugins, "authenticate"), authenticate_seconds)
        self.admit = _first("admit", compiled(plugins, "admit"), _is_terms)
        self.select_backend = _first("select_backend", compiled(plugins, "select_backend"), _is_routes)
        self.price = _first_of_two("price", compiled(plugins, "price"), _is_cost)
        self.startup = compiled(plugins, "startup")
        self.shutdown = compiled(plugins, "shutdown")[::-1]
        self.emit_audit = compiled(plugins, "emit_audit")
        self.wants_audit = dict(compiled(plugins, "wants_audit"))
        self.lasting = frozenset(
            hook
            for hook in ("authenticate", "admit", "select_backend", "price")
            if all(getattr(each.function, LASTING, False) for each in plugins.implementations(hook))
        )


def compiled(plugins: PluginSet, hook: str) -> _Named:
    """A hook's implementations in order, each taking all of the hook's arguments by position."""
    specified = getattr(plugins.manager.hook, hook).spec.argnames
    return tuple(
        (each.plugin_name, _adapted(each.function, tuple(specified), tuple(each.argnames)))
        for each in plugins.implementations(hook)
    )


def _adapted(function: Callable[..., Any], given: tuple[str, ...], wanted: tuple[str, ...]) -> Callable[..., Any]:
    """An implementation may take fewer arguments than the hook gives, or in another order."""
    if wanted == given:
        return function
    places = tuple(given.index(name) for name in wanted)
    return lambda *arguments: function(*[arguments[place] for place in places])


# ---------------------------------------------------------------- what an answer must be


def _is_terms(answer: Any) -> bool:
    """Its tier stands in a header of each answer: looked at here, before anything is spent."""
    return isinstance(answer, Terms) and answer.tier.isascii() and answer.tier.isprintable()


def _is_routes(answer: Any) -> bool:
    if type(answer) is not list:
        return False
    for route in answer:  # a generator costs more than the routes of most models
        if not isinstance(route, Route):
            return False
    return bool(answer)


def _is_cost(answer: Any) -> bool:
    """Money is checked twice: an amount that is a float or below nothing is never charged."""
    return (
        isinstance(answer, Cost)
        and type(answer.charge) is int
        and type(answer.owed) is int
        and answer.charge >= 0
        and answer.owed >= 0
    )


# ---------------------------------------------------------------- the first answer wins


def _first(hook: str, implementations: _Named, good: _Check) -> Callable[[Any], Any]:
    if len(implementations) == 1:
        plugin, function = implementations[0]

        def only(argument: Any) -> Any:
            try:
                answer = function(argument)
            except GatewayError:
                raise
            except Exception as error:  # noqa: BLE001  # a decision fails closed, whatever the plugin raised
                _blame(plugin, hook, error)
            if answer is None or good(answer):
                return answer
            return _refuse(plugin, hook, answer)

        return only

    def first(argument: Any) -> Any:
        for plugin, function in implementations:
            try:
                answer = function(argument)
            except GatewayError:
                raise
            except Exception as error:  # noqa: BLE001  # a decision fails closed, whatever the plugin raised
                _blame(plugin, hook, error)
            if answer is not None:
                return answer if good(answer) else _refuse(plugin, hook, answer)
        return None

    return first


def _first_of_two(hook: str, implementations: _Named, good: _Check) -> Callable[[Any, Any], Any]:
    def first(one: Any, two: Any) -> Any:
        for plugin, function in implementations:
            try:
                answer = function(one, two)
            except GatewayError:
                raise
            except Exception as error:  # noqa: BLE001  # a decision fails closed, whatever the plugin raised
                _blame(plugin, hook, error)
            if answer is not None:
                return answer if good(answer) else _refuse(plugin, hook, answer)
        return None

    return first


def _first_async(implementations: _Named, seconds: float) -> Callable[[Credentials], Awaitable[Principal | None]]:
    async def first(credentials: Credentials) -> Principal | None:
        for plugin, function in implementations:
            try:
                running = function(credentials)
                try:
                    waits_for = running.send(None)
                except StopIteration as done:  # it answered without waiting, as one from memory does
                    answer = done.value
                else:
                    async with asyncio.timeout(seconds):
                        answer = await _rest(running, waits_for)
            except GatewayError:
                raise
            except Exception as error:  # noqa: BLE001  # a decision fails closed, whatever the plugin raised
                _blame(plugin, "authenticate", error)
            if answer is not None:
                return answer if isinstance(answer, Principal) else _refuse(plugin, "authenticate", answer)
        return None

    return first


@types.coroutine
def _rest(running: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    """Awaits what is left of a coroutine whose first step was taken by hand, so that no timer is set for nothing."""
    while True:
        try:
            sent = yield waits_for
        except GeneratorExit:
            running.close()
            raise
        except BaseException as error:  # noqa: BLE001  # whatever is thrown in belongs to the coroutine
            step: Callable[[], Any] = _throwing(running, error)
        else:
            step = _sending(running, sent)
        try:
            waits_for = step()
        except StopIteration as done:
            return done.value


def _throwing(running: Coroutine[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: running.throw(error)


def _sending(running: Coroutine[Any, Any, Any], value: Any) -> Callable[[], Any]:
    return lambda: running.send(value)


# ---------------------------------------------------------------- blame


def _blame(plugin: str, hook: str, error: Exception) -> NoReturn:
    """Logs where it failed, without the exception's own text: that may repeat a bearer or a prompt."""
    where = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    log.error("plugin %s failed in %s: %s\n%s", plugin, hook, type(error).__name__, where)
    raise InternalError(f"The plugin {plugin} failed.") from error


def _refuse(plugin: str, hook: str, answer: Any) -> NoReturn:
    log.error("plugin %s failed in %s: its answer, a %s, is not one", plugin, hook, type(answer).__name__)
    raise InternalError(f"The plugin {plugin} failed.")
