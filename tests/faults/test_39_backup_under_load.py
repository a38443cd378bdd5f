"""Fault 39: a backup that is taken under load, restored elsewhere: its calls, its keys, its chains."""

import asyncio
import random
import subprocess
from pathlib import Path

from gateway_core.testing.line import line
from gateway_core.testing.openai_fixture import UpstreamHandle
from gateway_core.testing.server import PATIENCE, SPL, ServedGateway, serving
from scripts.trials import books
from scripts.trials.load import CONFIG, Bearer, Load, Told, open_accounts, script

SEED = 39


async def loaded(gateway: ServedGateway, bearers: list[Bearer], told: Told, file: Path) -> frozenset[str]:
    """Takes a backup while callers call; gives the calls that were acknowledged before it began."""
    calling = asyncio.ensure_future(Load(gateway.url, bearers, told, random.Random(SEED)).run(8))  # noqa: S311  # replayed by its seed
    async with asyncio.timeout(PATIENCE):
        while len(told.whole) < 40:  # noqa: ASYNC110  # another process makes them
            await asyncio.sleep(0.01)
    before = frozenset(told.whole)
    await asyncio.to_thread(gateway.spl, "backup", str(file))
    gateway.process.kill()
    await calling
    return before


def test_39_a_backup_under_load_is_whole_elsewhere(tmp_path: Path, openai_upstream: UpstreamHandle) -> None:
    script(openai_upstream)
    home, other, file, told = tmp_path / "home", tmp_path / "other", tmp_path / "backup.tar", Told()
    config, env = CONFIG.format(base_url=openai_upstream.base_url), {"STRICT_KEY": openai_upstream.key}
    with serving(home, config=config, env=env) as gateway:
        bearers = open_accounts(gateway)
        key = gateway.key
        before = asyncio.run(loaded(gateway, bearers, told, file))
        gateway.process.wait()
    assert file.stat().st_mode & 0o777 == 0o600
    restore = [str(SPL), "--home", str(other), "restore", str(file)]
    subprocess.run(restore, check=True, capture_output=True, timeout=PATIENCE)
    with line(other, openai_upstream, key=key) as restored:
        assert restored.call().status_code == 200
        for bearer in bearers[:2]:
            assert restored.call(bearer.secret).status_code == 200
        found = books.look(other / "store.sqlite3")
        assert before <= found.ledger.keys(), "acknowledged before the backup, and not in it"
        books.check_caps(found)
        books.check_records(other / "store.sqlite3")
        assert not found.open
        assert restored.reconciles()
    # The home that was killed meanwhile has all that was acknowledged, of course.
    with serving(home, config=config, env=env):
        books.check_told(told, books.look(home / "store.sqlite3"))
