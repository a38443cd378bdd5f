"""The gateway as the edge sees it."""

from typing import TYPE_CHECKING, Protocol

from starlette.types import Receive, Scope, Send

from gateway_core.config_file import LoadedConfig
from gateway_core.dispatch import Dispatch
from gateway_core.edge.inside import Inside
from gateway_core.edge.recent_errors import RecentErrors
from gateway_core.outbox import Outbox
from gateway_core.pipeline import Pipeline
from gateway_core.plugins import PluginSet
from gateway_core.ports import REQUEST_ID as REQUEST_ID
from gateway_core.route_health import Health
from gateway_core.services import Services
from gateway_core.tokens import Tokens

if TYPE_CHECKING:
    from gateway_core.edge.chat import ChatEndpoint
    from gateway_core.edge.direct import DirectClient

CONNECTION = "spl.connection"
"""Where our server puts the connection among a scope's extensions."""


class Application(Protocol):
    """The ASGI application, and its way in for calls that come over our own server."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the lifespan."""

    #: What serves calls.
    chat: "ChatEndpoint"

    async def call(self, client: "DirectClient") -> None:
        """One call, without ASGI in between."""


class Host(Protocol):
    """What the application needs of the gateway that it serves."""

    #: A shutdown has begun: no new calls.
    draining: bool

    @property
    def loaded(self) -> LoadedConfig: ...
    @property
    def services(self) -> Services: ...
    @property
    def dispatch(self) -> Dispatch: ...
    @property
    def plugins(self) -> PluginSet: ...
    @property
    def pipeline(self) -> Pipeline: ...
    @property
    def tokens(self) -> Tokens: ...
    @property
    def inside(self) -> Inside: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def health(self) -> Health: ...
    @property
    def errors(self) -> RecentErrors: ...

    def enter(self) -> None:
        """A call begins: a shutdown waits for it."""

    def leave(self) -> None:
        """A call is over."""

    @property
    def app(self) -> Application:
        """The application itself."""

    async def drain(self) -> None:
        """Refuses new calls, and waits for those under way for as long as they may take."""

    async def cut(self) -> None:
        """Cuts what is under way, and waits until it is settled."""

    async def start(self) -> None:
        """Opens the store and starts what runs beside the calls."""

    async def stop(self) -> None:
        """Stops all that, and closes the store last."""
