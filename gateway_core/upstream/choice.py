"""Which client asks the providers."""

from importlib.util import find_spec

from gateway_core.config import UpstreamConfig
from gateway_core.errors import ConfigError
from gateway_core.ports import Upstream
from gateway_core.upstream.native import NativeUpstream


def upstream_for(config: UpstreamConfig) -> Upstream:
    """The client that `[upstream] client` names. Raises ConfigError where its proxy is no address, or h2 is missing."""
    if config.client == "native":
        return NativeUpstream(config)
    if config.http2 and find_spec("h2") is None:
        raise ConfigError('needs the package h2: pip install "spl-gateway[http2]"', where="[upstream] http2")
    # Only here: who does without it need not wait for its import, nor hold it in memory.
    from gateway_core.upstream.httpx_upstream import HttpxUpstream

    return HttpxUpstream(config)
