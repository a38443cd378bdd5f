"""Signing in with a key or a link, signing out, and the theme: all that works without a session."""

from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse, Response

from gateway_core.errors import AuthError, InvalidBearer
from spl_console.page import Page, Visit
from spl_console.render import THEME_COOKIE, THEMES

if TYPE_CHECKING:
    from spl_console.console import Console

_YEAR = 365 * 86_400
_MOST = 200

_SAID = {
    "first": ("plain", "Sign in to open that page."),
    "ended": ("bad", "The key you signed in with no longer works: it was revoked or has expired. Use another one."),
    "out": ("good", "You are signed out."),
}


class SignIn:
    """Who comes in, and how."""

    def __init__(self, console: "Console") -> None:
        self._console = console

    def pages(self) -> tuple[Page, ...]:
        """All of them."""
        return (
            Page("GET", "/sign-in", "nobody", self.show, "Where somebody signs in."),
            Page("POST", "/sign-in", "nobody", self.by_key, "Signs in with a key."),
            Page("GET", "/link", "nobody", self.link, "Asks whether to sign in with a link."),
            Page("POST", "/link", "nobody", self.by_link, "Signs in with a link."),
            Page("POST", "/sign-out", "inference", self.out, "Signs out."),
            Page("POST", "/theme", "nobody", self.theme, "Chooses light or dark."),
        )

    async def show(self, visit: Visit) -> Response:
        """The form, and why it is there."""
        if visit.signed_in is not None:
            return RedirectResponse(self._console.inside(visit.query("next")), 303, {"cache-control": "no-store"})
        return self._form(visit, said=_SAID.get(visit.query("why")))

    async def by_key(self, visit: Visit) -> Response:
        """Verifies the key as any request's is: what fails counts against the address."""
        shown = visit.field("key")
        try:
            if not shown or len(shown) > _MOST or not shown.isascii() or not shown.isprintable():
                raise InvalidBearer
            principal = await visit.services.inside.identify(visit.request.scope, shown)
        except AuthError as error:
            said = error.message
            if isinstance(error, InvalidBearer):
                said = "This key is unknown, revoked or expired. Paste it whole, from sk- to its last character."
            return self._form(visit, 401, ("bad", said))
        if principal.kind not in {"user_key", "operator"} or "inference" not in principal.scopes:
            return self._form(
                visit, 403, ("bad", "This key is for records only: sign in with one that may call models.")
            )
        return self._console.sign_in(visit, principal.bearer_id, visit.field("next"))

    async def link(self, visit: Visit) -> Response:
        """A link that was opened is not yet used: what looks at links by itself would spend it."""
        return visit.render("link.html", token=visit.query("token"))

    async def by_link(self, visit: Visit) -> Response:
        """Spends the link."""
        bearer_id = self._console.links.take(visit.field("token"))
        if bearer_id is None:
            said = "This link was used before or is older than five minutes. Print another with spl console login."
            return self._form(visit, 401, ("bad", said))
        return self._console.sign_in(visit, bearer_id, "")

    async def out(self, visit: Visit) -> Response:
        """Ends the session."""
        return self._console.sign_out(visit)

    async def theme(self, visit: Visit) -> Response:
        """Keeps the choice in a cookie, and goes back."""
        answer = RedirectResponse(self._console.inside(visit.field("back")), 303, {"cache-control": "no-store"})
        chosen = visit.field("theme")
        if chosen in THEMES:
            answer.set_cookie(THEME_COOKIE, chosen, max_age=_YEAR, httponly=True, samesite="lax")
        return answer

    def _form(self, visit: Visit, status: int = 200, said: tuple[str, str] | None = None) -> Response:
        to = self._console.inside(visit.query("next") or visit.field("next"))
        return visit.render("sign_in.html", status, to=to, said=said)
