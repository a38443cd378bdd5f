"""The core's own endpoints, all in one list."""

from gateway_core.edge.access import Access
from gateway_core.edge.host import Host
from gateway_core.ports import Endpoint


def core_endpoints(_host: Host, _access: Access) -> list[Endpoint]:
    """Every endpoint but the chat endpoint, which is served before the router."""
    return []
