"""The keys of an instance: one id for good, rotation with overlap, bearers that are renewed in time."""

from pathlib import Path

import pytest

from gateway_core import jwt
from gateway_core.errors import ConfigError, Conflict
from gateway_core.home import Home
from gateway_core.keyring import Keyring
from gateway_core.signing import OVERLAP_MS, RENEWED_BEFORE_MS, USUAL_LIFE, Signer
from gateway_core.testing.clock import ManualClock


def signer(home: Path, clock: ManualClock) -> Signer:
    """As after a start."""
    return Signer(Keyring(Home(home)), Home(home), clock)


def kids(made: Signer) -> list[str]:
    return [key.kid for key in made.published()]


def test_the_id_is_the_first_key_s_thumbprint_and_stays(tmp_path: Path) -> None:
    clock = ManualClock()
    made = signer(tmp_path, clock)
    first = made.instance_id
    assert first == f"inst_{made.current().kid}"
    for _ in range(3):
        made.rotate(0)
        clock.advance(OVERLAP_MS / 1000 + 1)
    assert made.instance_id == signer(tmp_path, clock).instance_id == first
    assert f"inst_{made.current().kid}" != first


def test_a_new_key_is_published_before_it_signs_and_the_old_one_after(tmp_path: Path) -> None:
    clock = ManualClock()
    made = signer(tmp_path, clock)
    (old,) = kids(made)
    new = made.rotate(120_000).kid
    assert (made.current().kid, kids(made)) == (old, [old, new])
    with pytest.raises(Conflict):
        made.rotate(0)
    clock.advance(120)
    assert (made.current().kid, kids(made)) == (new, [old, new])
    clock.advance(OVERLAP_MS / 1000 - 0.001)
    assert kids(made) == [old, new]
    clock.advance(0.001)
    assert kids(made) == [new]
    assert [key["kid"] for key in made.jwks()["keys"]] == [new]  # type: ignore[attr-defined]  # a list of keys


def test_a_key_that_is_over_stays_over(tmp_path: Path) -> None:
    clock = ManualClock()
    made = signer(tmp_path, clock)
    published: list[list[str]] = []
    for _ in range(4):
        made.rotate(0)
        clock.advance(OVERLAP_MS / 1000 + 1)
        published.append(kids(made))
        assert kids(signer(tmp_path, clock)) == kids(made)
    assert [len(each) for each in published] == [1, 1, 1, 1]
    assert len({kid for each in published for kid in each}) == 4


def test_a_bearer_of_before_is_verified_by_what_is_published_as_long_as_it_lives(tmp_path: Path) -> None:
    clock = ManualClock()
    made = signer(tmp_path, clock)
    made.rotate(60_000)
    clock.advance(59)
    bearer = made.mint("inference", "https://g.example", "inference", jwt.LONGEST_LIFE)
    clock.advance(jwt.LONGEST_LIFE + jwt.SKEW - 1)
    unverified = jwt.read(bearer)
    jwt.verify_signature(unverified, {key.kid: key.key for key in made.published()})
    assert jwt.check_claims(unverified, ("https://g.example",), clock.now_ms()).issuer == made.instance_id


def test_a_source_gives_one_bearer_until_it_is_nearly_over(tmp_path: Path) -> None:
    clock = ManualClock()
    made = signer(tmp_path, clock)
    fresh = made.source("inference", "https://g.example", "inference")
    first = fresh()
    clock.advance(USUAL_LIFE - RENEWED_BEFORE_MS / 1000 - 1)
    assert fresh() == first
    clock.advance(1)
    second = fresh()
    assert second != first
    clock.jump(-7200)  # what was signed for later is not good now
    assert fresh() not in {first, second}


def test_a_source_signs_anew_with_a_new_key(tmp_path: Path) -> None:
    clock = ManualClock()
    made = signer(tmp_path, clock)
    fresh = made.source("records", "inst_x", "records:write")
    old = fresh()
    new = made.rotate(60_000).kid
    assert fresh() == old
    clock.advance(60)
    assert jwt.key_id(jwt.read(fresh())) == new


@pytest.mark.parametrize("content", [b"", b"{", b'{"keys": [{"pem": "x", "since": 1, "until": null}]}', b'{"keys": 5}'])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "signing.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"signing\.json: is damaged .*restore it from a backup"):
        assert signer(tmp_path, ManualClock()).instance_id


def test_the_file_is_its_owner_s_alone(tmp_path: Path) -> None:
    signer(tmp_path, ManualClock()).rotate(0)
    assert (tmp_path / "signing.json").stat().st_mode & 0o777 == 0o600
