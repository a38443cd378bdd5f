"""What the kernel knows of a TCP connection."""

import socket
import struct
import sys
from typing import Any

_CLOSED = 7
"""The state, TCP_CLOSE, of a connection that was reset: what had waited to be sent never will be."""
_WAITING = struct.Struct("=I")
_WAITING_AT = 144
_ACKNOWLEDGED = struct.Struct("=Q")
_ACKNOWLEDGED_AT = 120
_SENT = struct.Struct("=QQ")
_SENT_AT = 200
"""Where `struct tcp_info` of <linux/tcp.h> has tcpi_notsent_bytes, tcpi_bytes_acked, and tcpi_bytes_sent with
tcpi_bytes_retrans; its first byte is tcpi_state."""


def sent_and_acknowledged(connection: Any) -> tuple[int, int] | None:
    """Bytes of a socket's stream that were sent or will be, each counted once, and that its peer acknowledged.

    None where the system does not tell. `connection` has a socket's getsockopt; None: there is none any more.
    """
    if connection is None or not sys.platform.startswith("linux"):
        return None
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except OSError:  # it is closed, or no TCP
        return None
    if len(told) < _SENT_AT + _SENT.size:
        return None  # a kernel before 4.19
    (acknowledged,) = _ACKNOWLEDGED.unpack_from(told, _ACKNOWLEDGED_AT)
    sent, again = _SENT.unpack_from(told, _SENT_AT)
    (waiting,) = (0,) if told[0] == _CLOSED else _WAITING.unpack_from(told, _WAITING_AT)
    return sent - again + waiting, acknowledged
