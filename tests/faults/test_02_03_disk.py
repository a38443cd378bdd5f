"""Faults 2 and 3 on the real program: a disk that is full, an fsync that fails. On the store: test_store_faults.

What was acknowledged stays; nothing is acknowledged meanwhile; new calls are refused before a provider is asked; all
goes on by itself when the disk does.
"""

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from gateway_core.testing.line import Line, line
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int broken(void) { const char *flag = getenv("SHIM_FLAG"); return flag && access(flag, F_OK) == 0; }

int fsync(int fd) {
    static int (*real)(int);
    if (broken()) { errno = EIO; return -1; }
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (broken()) { errno = EIO; return -1; }
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return real(fd);
}
"""
Break = Callable[[], None]


def cost(answer: httpx2.Response) -> str:
    named: str = answer.json()["usage"]["cost_cents"]
    return named


def survives(served: Line, breaks: Break, mends: Break) -> None:
    """Acknowledged before, refused meanwhile, served again afterwards, with books that agree."""
    served.upstream.reset()
    before = [served.call() for _ in range(5)]
    assert {answer.status_code for answer in before} == {200}
    rows = served.rows()
    # Its cap affords one call's worst case at a time: a hold that stayed would refuse its next.
    capped = {False: served.mint(cap_usd="0.015"), True: served.mint(cap_usd="0.015")}
    breaks()
    # The first may reach its provider: that its row cannot be written shows when it is.
    meanwhile = [served.call(bearer, stream=stream, max_tokens=1000) for stream, bearer in capped.items()]
    asked = len(served.upstream.log())
    assert not served.ready()
    meanwhile += [served.call(stream=stream) for stream in (False, True, False)]
    for answer in meanwhile:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "internal_error")
        assert int(answer.headers["retry-after"]) >= 1
    assert len(served.upstream.log()) == asked, "a provider was asked for what could not be settled"
    mends()
    served.wait_until_ready()
    for bearer in capped.values():
        gives_back(served, bearer)
    after = [served.call() for _ in range(5)]
    assert {answer.status_code for answer in after} == {200}
    ledger = served.rows()
    assert {call_id: ledger[call_id] for call_id in rows} == rows
    for answer in (*before, *after):
        row = ledger[answer.headers["x-request-id"]]
        assert cost(answer) == f"{row['charge'] / 10**10:f}".rstrip("0")
    assert served.reconciles()


def gives_back(served: Line, bearer: str) -> None:
    """What was held is given back when the call is settled: once a second that is tried again."""
    deadline = time.monotonic() + PATIENCE
    while (answer := served.call(bearer, max_tokens=1000)).status_code != 200:
        assert (answer.status_code, answer.json()["error"]["code"]) == (402, "quota_exceeded")
        assert time.monotonic() < deadline, "a hold is never given back"
        time.sleep(0.1)


def settles_the_rest(served: Line, expected: int) -> None:
    """What was withheld is settled at nothing, once; nothing is charged for it."""
    for call_id, row in served.rows().items():
        if row["outcome"] != "ok":
            assert row["charge"] == 0, call_id
    assert len(served.rows()) <= expected


def test_02_a_full_disk_refuses_before_the_provider_and_recovers_by_itself(
    tmp_path: Path, openai_upstream: UpstreamHandle
) -> None:
    with line(tmp_path / "home", openai_upstream) as served:
        pid = served.gateway.process.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)

        def fills() -> None:
            largest = max(path.stat().st_size for path in served.gateway.home.glob("store.sqlite3*"))
            assert served.gateway.log.stat().st_size < largest, "the limit is on every file, the log's too"
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest, hard))

        def empties() -> None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

        survives(served, fills, empties)
        settles_the_rest(served, 17)
        assert served.gateway.stop() == 0


@contextmanager
def with_shim(folder: Path) -> Iterator[tuple[dict[str, str], Path]]:
    """The environment in which fsync fails while the flag is there."""
    source, library, flag = folder / "shim.c", folder / "shim.so", folder / "flag"
    source.write_text(SHIM)
    compiler = shutil.which("gcc") or "cc"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, capture_output=True)
    yield {"LD_PRELOAD": str(library), "SHIM_FLAG": str(flag)}, flag


@pytest.mark.service("gcc")
def test_03_an_fsync_that_fails_acknowledges_nothing_and_loses_nothing(
    tmp_path: Path, openai_upstream: UpstreamHandle
) -> None:
    with (
        with_shim(tmp_path) as (env, flag),
        line(tmp_path / "home", openai_upstream, env={**os.environ, **env}) as served,
    ):
        for _ in range(2):
            survives(served, flag.touch, flag.unlink)
        settles_the_rest(served, 34)
        # What the kernel would have lost with the power: the process is killed while fsync fails, and all is there.
        told = served.call()
        flag.touch()
        assert served.call().status_code == 503
        served.gateway.process.kill()
        served.gateway.process.wait()
        flag.unlink()
    with line(tmp_path / "home", openai_upstream) as again:
        assert cost(told) == f"{again.row(told.headers['x-request-id'])['charge'] / 10**10:f}".rstrip("0")
        assert again.reconciles()
