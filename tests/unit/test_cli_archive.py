"""The file that a backup is: whole or refused, private, and never a way to write anywhere else."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from gateway_core.cli import archive
from gateway_core.cli.failure import Failure


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    folder = tmp_path / "home"
    folder.mkdir()
    made = {}
    for name in (*archive.NEEDED, *archive.OPTIONAL):
        made[name] = folder / name
        made[name].write_bytes(name.encode() * 1000)
    return made


@pytest.fixture
def written(tmp_path: Path, files: dict[str, Path]) -> Path:
    target = tmp_path / "backup.tar"
    archive.write(target, files, {"version": "1"})
    return target


def test_what_was_written_is_unpacked_and_then_gone(written: Path, files: dict[str, Path], tmp_path: Path) -> None:
    with archive.unpacked(written, tmp_path) as folder:
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            name: path.read_bytes() for name, path in files.items()
        }
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_it_is_for_its_owner_only_and_leaves_nothing_beside(written: Path, tmp_path: Path) -> None:
    assert written.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"backup.tar", "home"}


def test_a_write_that_fails_leaves_what_was_there(written: Path, files: dict[str, Path], tmp_path: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(FileNotFoundError):
        archive.write(written, {**files, "pepper": tmp_path / "missing"}, {})
    assert written.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"backup.tar", "home"}


def test_one_without_what_is_optional(files: dict[str, Path], tmp_path: Path) -> None:
    target = tmp_path / "b.tar"
    archive.write(target, {name: files[name] for name in archive.NEEDED}, {})
    with archive.unpacked(target, tmp_path) as folder:
        assert {path.name for path in folder.iterdir()} == set(archive.NEEDED)


def refusal(source: Path, tmp_path: Path) -> str:
    with pytest.raises(Failure) as caught, archive.unpacked(source, tmp_path):
        pass
    assert not list(tmp_path.glob(".restore-*"))
    return caught.value.message


def test_cut_or_changed_anywhere_it_is_refused(written: Path, tmp_path: Path) -> None:
    whole = written.read_bytes()
    for length in (0, 100, len(whole) // 2):
        written.write_bytes(whole[:length])
        assert "is not a whole backup" in refusal(written, tmp_path)
    at = whole.index(b"pepperpepper")
    written.write_bytes(whole[:at] + b"X" + whole[at + 1 :])
    assert refusal(written, tmp_path).endswith("pepper is damaged")


def test_something_else_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("hello")
    assert "is not a whole backup" in refusal(other, tmp_path)
    archive.write(other, {name: path for name, path in files.items() if name != "pepper"}, {})
    assert refusal(other, tmp_path).endswith("pepper is missing")
    with tarfile.open(other, "w") as tar:
        data = json.dumps({"format": 2}).encode()
        info = tarfile.TarInfo("manifest.json")
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    assert "install a later version" in refusal(other, tmp_path)


def test_nothing_in_an_archive_chooses_where_it_is_written(written: Path, tmp_path: Path) -> None:
    with tarfile.open(written, "a") as tar:
        evil = tarfile.TarInfo("../evil")
        evil.size = 1
        tar.addfile(evil, io.BytesIO(b"x"))
    with archive.unpacked(written, tmp_path) as folder:
        assert "evil" not in {path.name for path in folder.iterdir()}
    assert not (tmp_path / "evil").exists()
    with tarfile.open(written, "a") as tar:
        link = tarfile.TarInfo("pepper")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert "is not a whole backup" in refusal(written, tmp_path)
