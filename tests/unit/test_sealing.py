"""Kept answers: opened with the home's secrets, in the place and for the account that they were sealed for."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_core.home import Home
from gateway_core.keyring import Keyring
from gateway_core.sealing import Answer, Seal
from gateway_core.store_ports import AnswerPlace

PLACE = AnswerPlace("key_1", "aa", "acct_1", b"hash", "req_1", 1, 2)
ANSWER = Answer(b'{"secret words": 1}', stream=False)


@pytest.fixture(scope="module")
def seal(tmp_path_factory: pytest.TempPathFactory) -> Seal:
    return Seal(Keyring(Home(tmp_path_factory.mktemp("sealing"))))


@given(body=st.binary(max_size=5000), stream=st.booleans())
def test_what_is_sealed_is_opened(seal: Seal, body: bytes, stream: bool) -> None:
    answer = Answer(body, stream=stream)
    assert seal.open(msgspec.structs.replace(PLACE, answer=seal.seal(PLACE, answer))) == answer


def test_nothing_of_it_lies_in_the_clear_and_no_two_are_alike(seal: Seal) -> None:
    sealed = seal.seal(PLACE, ANSWER)
    assert b"secret" not in sealed
    assert seal.seal(PLACE, ANSWER) != sealed
    assert seal.open(PLACE) is None


@pytest.mark.parametrize("field", ["scope", "key", "account_id", "request_id"])
def test_it_opens_in_its_own_place_alone(seal: Seal, field: str, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere = msgspec.structs.replace(PLACE, answer=seal.seal(PLACE, ANSWER), **{field: "other"})
    assert seal.open(elsewhere) is None
    assert "cannot be opened" in caplog.text


@given(at=st.integers(0, 60), bit=st.integers(0, 7))
def test_no_bit_of_it_can_be_changed(seal: Seal, at: int, bit: int) -> None:
    sealed = bytearray(seal.seal(PLACE, ANSWER))
    sealed[at % len(sealed)] ^= 1 << bit
    assert seal.open(msgspec.structs.replace(PLACE, answer=bytes(sealed))) is None


def test_another_home_opens_and_recognises_nothing(seal: Seal, tmp_path: Path) -> None:
    other = Seal(Keyring(Home(tmp_path)))
    assert other.open(msgspec.structs.replace(PLACE, answer=seal.seal(PLACE, ANSWER))) is None
    assert other.open(msgspec.structs.replace(PLACE, answer=b"short")) is None
    assert other.key_digest("k") != seal.key_digest("k")
    assert other.body_digest(b"b") != seal.body_digest(b"b")


def test_each_purpose_has_a_key_of_its_own(tmp_path: Path) -> None:
    keyring = Keyring(Home(tmp_path))
    keys = {keyring.derive("one"), keyring.derive("two"), keyring.pepper}
    assert len(keys) == 3
    assert Keyring(Home(tmp_path)).derive("one") == keyring.derive("one")
