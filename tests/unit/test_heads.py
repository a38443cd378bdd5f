"""Signed heads: only what one of the instance's keys has signed as a head is one."""

from pathlib import Path

import pytest

from gateway_core import heads, jwt
from gateway_core.errors import InvalidBearer
from gateway_core.heads import SignedHead
from gateway_core.home import Home
from gateway_core.keyring import Keyring
from gateway_core.signing import Signer
from gateway_core.testing.clock import ManualClock

HASH = "ab" * 32


@pytest.fixture
def signer(spl_home: Path) -> Signer:
    home = Home(spl_home)
    home.ensure()
    return Signer(Keyring(home), home, ManualClock())


def test_a_head_says_what_was_signed(signer: Signer) -> None:
    token, key = signer.sign_head("acct_1", 7, HASH)
    keys = {signer.current().kid: signer.current().key}
    assert heads.verify(token, keys) == SignedHead(signer.instance_id, "acct_1", 7, HASH, 1_795_305_600)
    assert heads.key_id(token) == key["kid"] == signer.current().kid
    assert "d" not in key


def test_a_head_is_no_bearer_and_a_bearer_is_no_head(signer: Signer) -> None:
    keys = {signer.current().kid: signer.current().key}
    token, _ = signer.sign_head("acct_1", 7, HASH)
    with pytest.raises(InvalidBearer):
        jwt.check_claims(jwt.read(token), ["https://gw"], 1_795_305_600_000)
    bearer = signer.mint("records", "https://gw", "records:read")
    with pytest.raises(ValueError, match="no signed head"):
        heads.verify(bearer, keys)


def test_what_another_key_signed_or_nobody_is_refused(signer: Signer) -> None:
    token, _ = signer.sign_head("acct_1", 7, HASH)
    other = jwt.new_key()
    with pytest.raises(ValueError, match="does not verify"):
        heads.verify(token, {other.thumbprint(): other})
    with pytest.raises(ValueError, match="does not verify"):
        heads.verify(token, {signer.current().kid: other})
    head, payload, signature = token.split(".")
    keys = {signer.current().kid: signer.current().key}
    changed = heads.sign(other, SignedHead(signer.instance_id, "acct_1", 8, HASH, 1))
    for forged in (f"{head}.{changed.split('.')[1]}.{signature}", f"{head}.{payload}."):
        with pytest.raises(ValueError, match=r"does not verify|no signed head"):
            heads.verify(forged, keys)
    for text in ("", "a.b.c", "{}"):
        with pytest.raises(ValueError, match="no signed head"):
            heads.verify(text, keys)
