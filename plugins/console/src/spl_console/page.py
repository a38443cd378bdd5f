"""A page, who may open it, and one visit to it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway_core.errors import InvalidRequest, RequestTooLarge
from gateway_core.services import Services
from gateway_core.types import Principal
from spl_console.nav import Needs
from spl_console.render import Renderer
from spl_console.sessions import Session

MAX_FORM = 64 * 1024
_MOST_NOTICES = 8
"""That wait for a page: who never opens one fills no memory."""


class Page(msgspec.Struct, frozen=True):
    """One page or one act. `path` follows the console's own; `{name}` in it is a path parameter."""

    method: str
    path: str
    needs: Needs
    handler: "Callable[[Visit], Awaitable[Response]]"
    summary: str
    #: For a script, which is told of a refusal in JSON and not by a page.
    script: bool = False
    #: Bytes that its form may have.
    most: int = MAX_FORM


class Visit:
    """One request to a page, and what its handler may use."""

    def __init__(
        self,
        request: Request,
        services: Services,
        renderer: Renderer,
        session: Session | None = None,
        principal: Principal | None = None,
    ) -> None:
        self.request = request
        self.services = services
        self._renderer = renderer
        self._session = session
        self._principal = principal
        self._form: dict[str, list[str]] | None = None

    @property
    def session(self) -> Session:
        """Whose visit it is. Only of pages that need a session."""
        if self._session is None:
            raise InvalidRequest("Sign in first.")
        return self._session

    @property
    def principal(self) -> Principal:
        """The key that was shown, as it stands now. Only of pages that need a session."""
        if self._principal is None:
            raise InvalidRequest("Sign in first.")
        return self._principal

    @property
    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self.services.clock.now_ms()

    def may(self, needs: Needs) -> bool:
        """Whether this visitor may open pages that need that."""
        return needs == "nobody" or (self._principal is not None and needs in self._principal.scopes)

    # ------------------------------------------------------------ in

    async def body(self, limit: int) -> bytes:
        """The request's body. Raises RequestTooLarge at the first byte beyond the limit."""
        body = bytearray()
        async for part in self.request.stream():
            body += part
            if len(body) > limit:
                raise RequestTooLarge(f"That is more than {limit:,} bytes.")
        return bytes(body)

    async def read_form(self, limit: int) -> None:
        """Reads the form, where that is what the body is. The console does it before each POST's handler, but for those
        that a script asks."""
        if self._form is None and self.request.headers.get("content-type", "").startswith(
            "application/x-www-form-urlencoded"
        ):
            self._form = {}
            text = (await self.body(limit)).decode("utf-8", "replace")
            try:
                fields = parse_qsl(text, keep_blank_values=True, max_num_fields=500)
            except ValueError:
                raise InvalidRequest("That form has too many fields.") from None
            for name, value in fields:
                self._form.setdefault(name, []).append(value)

    def field(self, name: str) -> str:
        """A field of the form, without the space around it; "" where it is not there."""
        return (self.fields(name) or [""])[-1].strip()

    def text(self, name: str) -> str:
        """A field as it was typed, its line ends being \\n."""
        return (self.fields(name) or [""])[-1].replace("\r\n", "\n")

    def fields(self, name: str) -> list[str]:
        """All values of a field."""
        return (self._form or {}).get(name, [])

    def query(self, name: str) -> str:
        """A parameter of the query; "" where it is not there."""
        return self.request.query_params.get(name, "").strip()

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What the API answers this visitor's key. Raises the GatewayError that it refuses with."""
        sent = None if body is None else msgspec.json.encode({k: v for k, v in body.items() if v is not None})
        answer = await self.services.inside.ask(self.request.scope, self.bearer, method, path, sent)
        return msgspec.json.decode(answer.body)

    @property
    def bearer(self) -> str:
        """What stands for the visitor's key, within this process."""
        return self.services.stand_ins.bearer(self.session.bearer_id)

    # ------------------------------------------------------------ out

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page from a template."""
        return self._renderer.page(self, template, status, values)

    def redirect(self, path: str) -> Response:
        """To another page of the console, by GET."""
        return RedirectResponse(self._renderer.prefix + path, 303, {"cache-control": "no-store"})

    def notice(self, text: str, kind: Literal["good", "bad", "plain"] = "good") -> None:
        """What the next page says first."""
        self.session.notices = [*self.session.notices, (kind, text)][-_MOST_NOTICES:]

    def json(self, value: Any, status: int = 200) -> Response:
        """An answer to a script."""
        headers = {"cache-control": "no-store"}
        return Response(msgspec.json.encode(value), status, headers, media_type="application/json")

    @property
    def signed_in(self) -> Session | None:
        """The session, where there is one."""
        return self._session
