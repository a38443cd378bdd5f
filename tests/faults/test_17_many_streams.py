"""Fault 17: many open streams at once. A tenth of `scripts/soak streams`, held to a tenth of its memory."""

from pathlib import Path

import pytest

from gateway_core.store.ledger import LOG_BESIDES
from scripts.trials.soak import MOST_MEMORY, TooFewFiles, allow_files, streams

STREAMS = 1_000
ALL = 10_000


def test_17_a_thousand_streams_are_all_held_and_cost_their_share(tmp_path: Path) -> None:
    try:
        allow_files(STREAMS)
    except TooFewFiles as error:
        pytest.skip(str(error))
    found = streams(tmp_path, STREAMS)
    assert (found.ended, found.settled) == (STREAMS, STREAMS)
    assert 0 < found.checkpoints <= 2 * STREAMS + LOG_BESIDES
    assert found.before + (found.memory - found.before) * (ALL // STREAMS) < MOST_MEMORY
