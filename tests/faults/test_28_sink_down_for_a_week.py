"""Fault 28: a sink is down for a week. Nothing is dropped, memory is flat, and afterwards all of it comes in order."""

from pathlib import Path

from gateway_core.outbox import FIRST_PAUSE, LONGEST_PAUSE
from scripts.trials.sink_week import ACCOUNTS, WEEK, week

RECORDS = 4032
STEPS = 672
"""A quarter of an hour each: longer than the longest pause, so each step is one attempt an account."""


async def test_28_nothing_is_dropped_and_all_of_it_comes_in_order(tmp_path: Path) -> None:
    seen = await week(tmp_path, RECORDS, STEPS)
    assert seen.written == RECORDS
    assert (seen.delivered, seen.out_of_order) == (RECORDS, 0)
    # Tried as often as it may be and no more: an attempt an account after each pause.
    assert WEEK / STEPS > LONGEST_PAUSE > FIRST_PAUSE
    assert STEPS <= seen.attempts <= STEPS * len(ACCOUNTS)
    # What an operator is told, and what an alarm goes by.
    report = seen.report
    assert (report.accounts_behind, report.records_behind) == (len(ACCOUNTS), RECORDS)
    assert report.accounts_failing == len(ACCOUNTS)
    assert report.last_error == "ConnectionError"
    assert report.attempts >= STEPS / 2
    # Bounded on disk by what the records themselves take, and the process does not grow with them.
    assert seen.bytes_on_disk < 1200
    assert seen.peaks[-1] - seen.peaks[0] < 16 * 1024
