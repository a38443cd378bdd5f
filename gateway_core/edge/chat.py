"""POST /v1/chat/completions: its clients go through the pipeline, and are told what that refuses."""

import logging

import msgspec
from starlette.types import Receive, Scope, Send

from gateway_core.edge.answer_heads import AnswerHeads
from gateway_core.edge.asgi import AsgiClient
from gateway_core.edge.direct import DirectClient
from gateway_core.edge.errors import error_object, pairs
from gateway_core.edge.guard import Addresses, ClientGone, bearer_of
from gateway_core.edge.host import Host
from gateway_core.errors import GatewayError, InternalError, RateLimited
from gateway_core.types import Credentials
from gateway_core.wire.chat import error_event

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode


class ChatEndpoint:
    """Serves calls: gives each to the pipeline, and tells its client what the pipeline refuses."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._pipeline = host.pipeline
        self._server = host.services.config.server
        #: Finds its clients' addresses.
        self.addresses = Addresses(self._server.trusted_proxies)
        #: Of its answers.
        self.heads = AnswerHeads(self._server)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call over any server. What is refused before the answer's head is raised, for the application to
        render."""
        credentials = Credentials(bearer=bearer_of(scope["headers"]), address=self.addresses.client(scope))
        client = AsgiClient(scope, receive, send, credentials, self.heads, self._server.max_body_bytes)
        self._host.enter()
        try:
            await self._pipeline.serve(client)
        except Exception as error:
            if not await self.told(client, error):
                raise
        finally:
            client.forget()
            self._host.leave()

    async def told(self, client: AsgiClient | DirectClient, error: Exception) -> bool:
        """Tells a client of a failure as its stream's last event. False where no stream has begun: the error, with what
        is known of the call (its tier, and what is left of its limits), is the application's to render."""
        if isinstance(error, ClientGone):
            return False
        if client.started:
            await client.finish(self._last_event(error, client.request_id))
            return True
        if isinstance(error, RateLimited):
            client.limits = ()  # it brings its own, which are newer
        if isinstance(error, GatewayError):
            error.headers = (*error.headers, *pairs(self.heads.known(client)))
        return False

    def _last_event(self, error: Exception, request_id: str) -> bytes:
        """A failure as a stream's last event, without [DONE]."""
        if not isinstance(error, GatewayError):
            log.error("a stream failed", exc_info=error)
            error = InternalError("The gateway failed in the middle of the answer.")
        return error_event(_encode({"error": error_object(error, request_id, self._server)}))
