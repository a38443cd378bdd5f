"""A certificate authority of the tests' own, and a client that trusts it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway_core.testing.authority import Authority
from gateway_core.testing.http2_calls import PATIENCE, client
from gateway_core.upstream.httpx_upstream import HttpxUpstream


@pytest.fixture(scope="package")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"), "ours")


@pytest.fixture
async def upstream(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpxUpstream]:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.file.parent / "none"))
    made = client()
    yield made
    await asyncio.wait_for(made.close(), PATIENCE)
