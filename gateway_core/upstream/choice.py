"""Which client asks the providers."""

from gateway_core.config import UpstreamConfig
from gateway_core.ports import Upstream
from gateway_core.upstream.native import NativeUpstream


def upstream_for(config: UpstreamConfig) -> Upstream:
    """The client that `[upstream] client` names. Raises ConfigError where its proxy is no address."""
    if config.client == "native":
        return NativeUpstream(config)
    # Only here: who does without it need not wait for its import, nor hold it in memory.
    from gateway_core.upstream.httpx_upstream import HttpxUpstream

    return HttpxUpstream(config)
