"""The core's own endpoints, all in one list."""

from gateway_core.edge.access import Access
from gateway_core.edge.accounts import AccountEndpoints
from gateway_core.edge.adjustments import AdjustmentEndpoints
from gateway_core.edge.admin import AdminEndpoints
from gateway_core.edge.calls import CallEndpoints
from gateway_core.edge.health import HealthEndpoints
from gateway_core.edge.host import Host
from gateway_core.edge.instances import InstanceEndpoints
from gateway_core.edge.invoices import InvoiceEndpoints
from gateway_core.edge.keys import KeyEndpoints
from gateway_core.edge.models import ModelEndpoints
from gateway_core.edge.outbox import OutboxEndpoints
from gateway_core.edge.providers import ProviderEndpoints
from gateway_core.edge.signing import SigningEndpoints
from gateway_core.edge.subscriptions import SubscriptionEndpoints
from gateway_core.edge.tokenize import TokenizeEndpoint
from gateway_core.edge.usage import UsageEndpoints
from gateway_core.edge.watching import WatchEndpoints
from gateway_core.ports import Endpoint


def core_endpoints(host: Host, access: Access) -> list[Endpoint]:
    """Every endpoint but the chat endpoint, which is served before the router."""
    return [
        *ModelEndpoints(host, access).endpoints(),
        *TokenizeEndpoint(host, access).endpoints(),
        *CallEndpoints(host).endpoints(),
        *KeyEndpoints(host).endpoints(),
        *UsageEndpoints(host).endpoints(),
        *InvoiceEndpoints(host).endpoints(),
        *AccountEndpoints(host).endpoints(),
        *SubscriptionEndpoints(host).endpoints(),
        *AdjustmentEndpoints(host).endpoints(),
        *InstanceEndpoints(host).endpoints(),
        *SigningEndpoints(host).endpoints(),
        *AdminEndpoints(host).endpoints(),
        *ProviderEndpoints(host).endpoints(),
        *OutboxEndpoints(host).endpoints(),
        *WatchEndpoints(host).endpoints(),
        *HealthEndpoints(host).endpoints(),
    ]
