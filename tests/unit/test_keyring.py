"""The home's secrets: made once, kept, readable by their owner only."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway_core.errors import ConfigError
from gateway_core.home import Home
from gateway_core.key_text import is_key_text
from gateway_core.keyring import Keyring


def public(keyring: Keyring) -> bytes:
    return keyring.signing_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def test_secrets_are_made_when_they_are_first_asked_for(tmp_path: Path) -> None:
    keyring = Keyring(Home(tmp_path))
    assert list(tmp_path.iterdir()) == []
    assert len(keyring.pepper) == 32
    assert is_key_text(keyring.operator_key)
    assert len(public(keyring)) == 32
    assert sorted(path.name for path in tmp_path.iterdir()) == ["operator.key", "pepper", "signing.key"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_they_are_the_same_the_next_time(tmp_path: Path) -> None:
    first, second = Keyring(Home(tmp_path)), Keyring(Home(tmp_path))
    assert (first.pepper, first.operator_key, public(first)) == (second.pepper, second.operator_key, public(second))
    assert first.digest("sk-x") == second.digest("sk-x") != second.digest("sk-y")
    assert first.fingerprint == second.fingerprint


def test_homes_share_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = Keyring(Home(tmp_path / "a")), Keyring(Home(tmp_path / "b"))
    assert first.operator_key != second.operator_key
    assert first.digest("sk-x") != second.digest("sk-x")
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize(
    ("name", "content", "attribute"),
    [
        ("pepper", b"short", "pepper"),
        ("signing.key", b"not a key", "signing_key"),
        ("operator.key", b"sk-spl123", "operator_key"),
        ("operator.key", b"\xff\xfe", "operator_key"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes, attribute: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{name}: is damaged .*restore it from a backup"):
        getattr(Keyring(Home(tmp_path)), attribute)
    assert (tmp_path / name).read_bytes() == content


def test_a_signing_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    key = generate_private_key(SECP256R1())
    (tmp_path / "signing.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigError, match="must be an Ed25519 key"):
        _ = Keyring(Home(tmp_path)).signing_key


def test_a_home_that_is_gone_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pepper: cannot be written"):
        _ = Keyring(Home(tmp_path / "gone")).pepper
