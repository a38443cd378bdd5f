"""Who may call an endpoint."""

from starlette.types import Scope

from gateway_core.edge.guard import Addresses, bearer_of
from gateway_core.edge.host import Host
from gateway_core.errors import InsufficientScope, InvalidBearer
from gateway_core.ports import Gate
from gateway_core.types import Credentials, Principal


def actor_of(principal: Principal | None) -> str:
    """What the operators' log calls a caller."""
    return "" if principal is None else principal.bearer_id


class Access:
    """Turns a request's headers into a principal, and holds that to an endpoint's gate."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._addresses = Addresses(host.services.config.server.trusted_proxies)

    def credentials(self, scope: Scope) -> Credentials:
        """What the caller showed. Raises InvalidBearer for an Authorization header that is not a bearer."""
        return Credentials(bearer=bearer_of(scope["headers"]), address=self._addresses.client(scope))

    async def identify(self, scope: Scope) -> Principal:
        """Who calls. InvalidBearer where nobody knows, or where nothing was shown and no tier is anonymous."""
        principal = await self.identify_any(scope)
        if principal is None:
            raise InvalidBearer
        return principal

    async def identify_any(self, scope: Scope) -> Principal | None:
        """Who calls; None where nothing was shown and there is no anonymous tier. A bad bearer is still refused."""
        credentials = self.credentials(scope)
        principal = await self._host.dispatch.authenticate(credentials)
        if principal is None and credentials.bearer is not None:
            raise InvalidBearer
        return principal

    async def admit(self, scope: Scope, gate: Gate) -> Principal | None:
        """The caller, if the gate lets it pass; None only at a public gate, where nobody looks."""
        if gate == "public":
            return None
        principal = await self.identify(scope)
        if gate != "caller" and gate not in principal.scopes:
            raise InsufficientScope(f"This needs a key with the scope `{gate}`.")
        return principal
