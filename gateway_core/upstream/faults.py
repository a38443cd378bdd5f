"""What is said of a provider that could not be asked: one text for each fault, whichever client met it.

None names an address, or anything that was sent.
"""

from gateway_core.types import Deadlines

NO_ADDRESS = "has a base_url that is no http or https address"
CONNECT_TIMEOUT = "could not be connected to in time"
NONE_FREE = "has no connection free: [upstream] max_connections are in use"
HUNG_UP = "hung up, or did not speak HTTP"
COMPRESSED = "sent a compressed answer, which was not asked for"


def too_slow(deadlines: Deadlines, *, in_all: bool, started: bool) -> str:
    """Which deadline has passed; `started`: after the first byte of the answer's body."""
    if in_all:
        return f"took longer than {deadlines.total:g} s in all"
    if started:
        return f"was silent for {deadlines.idle:g} s"
    return f"sent no first byte within {deadlines.first_byte:g} s"


def too_large(limit: int) -> str:
    """An answer of more than `limit` bytes."""
    return f"sent an answer of more than {limit} bytes"


def not_connected(error: BaseException) -> str:
    """With the system's own word for it, if there is one below: refused, unreachable, a certificate that fails."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror and cause.errno:
            return f"could not be connected to ({type(cause).__name__})"
        cause = cause.__cause__ or cause.__context__
    return "could not be connected to"


def broken(error: BaseException) -> str:
    """A connection that failed under way."""
    return f"broke the connection ({type(error).__name__})"
