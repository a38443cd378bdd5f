"""The console: every page behind one check of who visits, as endpoints of the gateway."""

import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Literal, TypedDict
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway_core.errors import AuthError, GatewayError, InsufficientScope, InternalError, InvalidBearer, StoreError
from gateway_core.ports import REQUEST_ID, Endpoint, Shape
from gateway_core.services import Services
from gateway_core.types import Principal
from spl_console.assets import Assets
from spl_console.page import Page, Visit
from spl_console.pages import (
    accounts,
    keys,
    models,
    operations,
    overview,
    playground,
    record,
    records,
    sign_in,
    subscription,
    tokenizer,
    usage,
)
from spl_console.render import Renderer
from spl_console.sessions import Links, Session, Sessions
from spl_console.settings import ConsoleSettings

log = logging.getLogger(__name__)

CSRF_HEADER = "x-csrf-token"
_COOKIE = "spl-console"

_WHY = {
    "inference": "This page needs a key that may call models.",
    "owner": "This page needs a key with the scope owner: sign in with one, or ask whoever manages your keys.",
    "operator": "This page is for operators: sign in with the link that spl console login prints.",
}


class ConsoleLink(TypedDict):
    """A link that signs in once, within five minutes."""

    object: Literal["console_link"]
    url: str


class Console:
    """One gateway's console. `pages` is everything that it has, with who may open it."""

    def __init__(self, settings: ConsoleSettings, services: Services) -> None:
        self._prefix = settings.path
        self._services = services
        self._assets = Assets(settings.path)
        self._renderer = Renderer(settings.path, settings.title, self._assets)
        seconds = services.clock.monotonic
        self.sessions = Sessions(seconds, settings.session_hours * 3600, settings.idle_minutes * 60)
        self.links = Links(seconds)
        self.pages: tuple[Page, ...] = (
            *sign_in.SignIn(self).pages(),
            *overview.PAGES,
            *keys.PAGES,
            *models.PAGES,
            *tokenizer.Tokenizer().pages(),
            *playground.PAGES,
            *usage.PAGES,
            *records.Records().pages(),
            *record.PAGES,
            *subscription.PAGES,
            *accounts.PAGES,
            *operations.PAGES,
        )

    def endpoints(self) -> list[Endpoint]:
        """Every page, every file, where links come from, and last what answers for everything that is not there."""
        found = [self._endpoint(page) for page in self.pages]
        return [
            *found,
            Endpoint("GET", self._prefix + "/assets/{digest}/{name}", "public", self._asset, "A file.", shape=None),
            Endpoint(
                "POST",
                "/v1/console/links",
                "owner",
                self._link,
                "A link that signs in to the console once.",
                Shape(answer=ConsoleLink, statuses=(201,)),
            ),
            Endpoint("GET", self._prefix + "/{rest:path}", "public", self._missing, "Nothing.", shape=None),
        ]

    # ------------------------------------------------------------ one visit

    def _endpoint(self, page: Page) -> Endpoint:
        async def answer(request: Request, _principal: Principal | None) -> Response:
            return await self._answer(page, request)

        return Endpoint(page.method, self._prefix + page.path, "public", answer, page.summary, shape=None)

    async def _answer(self, page: Page, request: Request) -> Response:
        """The one way to any page: who is it, may they, did they mean it, and then the page."""
        visit = Visit(request, self._services, self._renderer)
        try:
            session = self._session(request)
            if session is not None:
                principal = await self._principal(request, session)
                visit = Visit(request, self._services, self._renderer, session, principal)
            if page.needs != "nobody":
                if session is None:
                    return self._sign_in_first(page, request)
                _check_scope(visit, page)
            if page.method != "GET":
                check_origin(request, self._services.site.url)
                if not page.script:  # which sends no form, and its token in a header
                    await visit.read_form(page.most)
                if session is not None:
                    _check_token(visit, session)
            return await page.handler(visit)
        except _Ended:
            return self._sign_in_first(page, request, ended=True)
        except GatewayError as error:
            return self._failure(visit, page, error)
        except StoreError:
            log.exception("the store could not be used")
            return self._failure(visit, page, InternalError("The store cannot be used at the moment: try again soon."))
        except Exception:  # a page's fault is told as a page, under the id that the log has it by
            log.exception("a page failed: %s %s", page.method, page.path)
            return self._failure(visit, page, InternalError("The console failed; the gateway's log says why."))

    def _session(self, request: Request) -> Session | None:
        token = request.cookies.get(self.cookie_name(request))
        return None if token is None else self.sessions.find(token)

    async def _principal(self, request: Request, session: Session) -> Principal:
        """The session's key as it stands now. Where it works no more, neither does the session."""
        bearer = self._services.stand_ins.bearer(session.bearer_id)
        try:
            return await self._services.inside.identify(request.scope, bearer)
        except InvalidBearer:
            self.sessions.end(session)
            raise _Ended from None
        except AuthError:
            self.sessions.end(session)
            raise

    def _sign_in_first(self, page: Page, request: Request, *, ended: bool = False) -> Response:
        why = "ended" if ended else "first"
        to = f"{self._prefix}/sign-in?why={why}"
        if page.method == "GET" and not page.script:
            query = f"?{request.url.query}" if request.url.query else ""
            to += f"&next={quote(request.url.path + query, safe='')}"
        if page.script:
            headers = {"cache-control": "no-store", "hx-redirect": to}
            return Response(b'{"error":{"message":"Signed out."}}', 401, headers, media_type="application/json")
        return RedirectResponse(to, 303, {"cache-control": "no-store"})

    def _failure(self, visit: Visit, page: Page, error: GatewayError) -> Response:
        if page.script:
            identifier = visit.request.scope[REQUEST_ID]
            said = {"code": error.code, "message": error.message, "request_id": identifier}
            return visit.json({"error": said}, error.status)
        return visit.render("error.html", error.status, error=error)

    # ------------------------------------------------------------ what is no page

    async def _asset(self, request: Request, _principal: Principal | None) -> Response:
        return self._assets.answer(request)

    async def _missing(self, request: Request, _principal: Principal | None) -> Response:
        if request.url.path == self._prefix + "/":
            return RedirectResponse(self._prefix, 303, {"cache-control": "no-store"})
        return await self._answer(_MISSING, request)

    async def _link(self, request: Request, principal: Principal | None) -> Response:
        if principal is None or principal.kind not in {"user_key", "operator"}:
            raise InsufficientScope("A link to the console needs a key with the scope `owner`.")
        url = f"{self._services.site.url}{self._prefix}/link?token={self.links.make(principal.bearer_id)}"
        visit = Visit(request, self._services, self._renderer)
        return visit.json({"object": "console_link", "url": url}, 201)

    # ------------------------------------------------------------ signing in and out

    def sign_in(self, visit: Visit, bearer_id: str, to: str) -> Response:
        """Begins a session, ends the one that the browser had, and goes to a page of the console."""
        if visit.signed_in is not None:
            self.sessions.end(visit.signed_in)
        token, _ = self.sessions.begin(bearer_id)
        answer = RedirectResponse(self.inside(to), 303, {"cache-control": "no-store"})
        self._set(answer, visit.request, token)
        return answer

    def sign_out(self, visit: Visit) -> Response:
        """Ends the session, and the cookie with it."""
        self.sessions.end(visit.session)
        answer = RedirectResponse(f"{self._prefix}/sign-in?why=out", 303, {"cache-control": "no-store"})
        self._set(answer, visit.request, "", age=0)
        return answer

    def inside(self, path: str) -> str:
        """The path where it is a page of the console's, else the first page: nobody is sent elsewhere from here."""
        own = path == self._prefix or path.startswith((self._prefix + "/", self._prefix + "?"))
        return path if own and path.isprintable() and "\\" not in path else self._prefix

    def _set(self, answer: Response, request: Request, value: str, age: int | None = None) -> None:
        answer.set_cookie(
            self.cookie_name(request),
            value,
            max_age=age,
            path="/",
            secure=self._services.inside.is_secure(request.scope),
            httponly=True,
            samesite="strict",
        )

    def cookie_name(self, request: Request) -> str:
        """Behind TLS one that only this very host can have set."""
        return f"__Host-{_COOKIE}" if self._services.inside.is_secure(request.scope) else _COOKIE


class _Ended(Exception):
    """The session's key works no more."""


async def _nothing_here(visit: Visit) -> Response:
    return visit.render("missing.html", 404)


_MISSING = Page("GET", "/{rest:path}", "nobody", _nothing_here, "What the console does not have.")

Handler = Callable[[Visit], Awaitable[Response]]


def _check_scope(visit: Visit, page: Page) -> None:
    if not visit.may(page.needs):
        raise InsufficientScope(_WHY[page.needs])


def check_origin(request: Request, url: str) -> None:
    """Refuses an act that another site asks the browser for. A program that says nothing of itself passes: it has no
    cookies that it was not given."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site != "same-origin":
            raise InsufficientScope("That was sent from another site, so nothing was done.")
        return
    origin = request.headers.get("origin")
    if origin is None:
        return
    host = urlsplit(origin).netloc
    if not host or host not in {request.headers.get("host", ""), urlsplit(url).netloc}:
        raise InsufficientScope("That was sent from another site, so nothing was done.")


def _check_token(visit: Visit, session: Session) -> None:
    shown = visit.request.headers.get(CSRF_HEADER) or visit.field("csrf")
    if not hmac.compare_digest(shown.encode(), session.csrf.encode()):
        raise InsufficientScope("This form is of an earlier session, so nothing was done: open the page again.")
