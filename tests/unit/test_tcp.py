"""What the kernel knows of a connection's bytes."""

import socket
import struct
import sys
import time
from contextlib import suppress

import pytest

from gateway_core.edge.tcp import sent_and_acknowledged
from gateway_core.testing.server import PATIENCE

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not tell")


def test_what_the_kernel_took_is_sent_also_where_it_still_waits_but_not_after_a_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with ours, theirs:
        ours.setblocking(False)
        taken = 0
        with suppress(BlockingIOError):
            while True:
                taken += ours.send(b"x" * 65_536)
        told = sent_and_acknowledged(ours)
        assert told is not None
        assert told[0] == taken
        assert told[1] < taken
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        deadline = time.monotonic() + PATIENCE
        while (told := sent_and_acknowledged(ours)) is None or told[0] == taken:
            assert time.monotonic() < deadline, "the reset never came"
            time.sleep(0.01)
        assert told[0] < taken


def test_no_socket_tells_nothing() -> None:
    assert sent_and_acknowledged(None) is None
    with socket.socket() as closed:
        pass
    assert sent_and_acknowledged(closed) is None
