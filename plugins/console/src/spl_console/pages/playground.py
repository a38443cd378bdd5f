"""The playground: one call, made as any other, with what it took and what it cost."""

from typing import Any
from urllib.parse import quote

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway_core.errors import GatewayError, InvalidRequest, NotFound
from gateway_core.ports import Inside
from spl_console.page import Page, Visit
from spl_console.pages.models import capabilities

_CHAT = "/v1/chat/completions"
_MOST_TOKENS = 1_000_000


class _Forwarded(Response):
    """The chat endpoint's own answer to this browser: its gates, its stream, and its bill."""

    def __init__(self, inside: Inside, bearer: str) -> None:
        super().__init__()
        self._inside = inside
        self._bearer = bearer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._inside.forward(scope, receive, send, self._bearer, _CHAT)


async def show(visit: Visit) -> Response:
    """The form."""
    return await _page(visit, {"model": visit.query("model")})


async def plain(visit: Visit) -> Response:
    """One whole answer, for a browser without scripts."""
    typed = {name: visit.text(name) for name in ("model", "system", "message", "limit")}
    try:
        answer = await visit.ask("POST", _CHAT, _request(typed))
    except GatewayError as error:
        return await _page(visit, typed, error=error)
    return await _page(visit, typed, answer=answer)


async def stream(visit: Visit) -> Response:
    """A call by the page's script: exactly the API's, with the visitor's key."""
    return _Forwarded(visit.services.inside, visit.bearer)


async def bill(visit: Visit) -> Response:
    """What a call came to, once it is settled: a moment after it was stopped."""
    try:
        found = await visit.ask("GET", f"/v1/requests/{quote(visit.request.path_params['id'], safe='')}")
    except NotFound:
        return visit.json({"settled": False}, 202)
    return visit.json({"settled": True, **found})


async def _page(
    visit: Visit, typed: dict[str, Any], *, answer: dict[str, Any] | None = None, error: GatewayError | None = None
) -> Response:
    usable = [row for row in await capabilities(visit) if row["available"]]
    names = [row["model"] for row in usable]
    return visit.render(
        "playground.html",
        200 if error is None else error.status,
        models=usable,
        typed={"system": "", "message": "", "limit": "", **typed},
        chosen=typed["model"] if typed["model"] in names else (names[0] if names else ""),
        answer=answer,
        error=error,
    )


def _request(typed: dict[str, str]) -> dict[str, Any]:
    if not typed["message"].strip():
        raise InvalidRequest("Write a message first.", param="message")
    limit = typed["limit"].strip()
    if limit and not (limit.isascii() and limit.isdigit() and len(limit) < 9 and 1 <= int(limit) <= _MOST_TOKENS):
        raise InvalidRequest("The most tokens must be a whole number.", param="max_tokens")
    system = [{"role": "system", "content": typed["system"]}] if typed["system"].strip() else []
    messages = [*system, {"role": "user", "content": typed["message"]}]
    return {"model": typed["model"], "messages": messages, "max_tokens": int(limit) if limit else None}


PAGES = (
    Page("GET", "/playground", "inference", show, "A call to try."),
    Page("POST", "/playground", "inference", plain, "A call to try, without a script."),
    Page("POST", "/playground/stream", "inference", stream, "A streamed call.", script=True),
    Page("GET", "/playground/calls/{id}", "inference", bill, "What a call came to.", script=True),
)
