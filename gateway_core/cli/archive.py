"""The file that a backup is: a tar with the store, the home's secrets and a manifest of their checksums."""

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from gateway_core.cli.failure import FAILED, Failure
from gateway_core.files import sync_directory

STORE = "store.sqlite3"
NEEDED = (STORE, "pepper", "operator.key")
"""Without the secrets the keys in the store are numbers that nobody can verify."""

OPTIONAL = ("signing.key", "signing.json", "config.toml")
"""What a home has only once it was needed or written."""

_MANIFEST = "manifest.json"
_FORMAT = 1


def write(target: Path, files: Mapping[str, Path], facts: Mapping[str, Any]) -> None:
    """Writes an archive of `files` (name → where it is) to `target`, mode 0600: whole, or not at all."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as raw:
            with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
                sums = {member: _sum(path) for member, path in files.items()}
                _add(tar, _MANIFEST, json.dumps({**facts, "format": _FORMAT, "sha256": sums}, indent=2).encode())
                for member, path in files.items():
                    tar.add(path, member, recursive=False, filter=_anonymous)
            raw.flush()
            os.fsync(raw.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o600
    tar.addfile(info, io.BytesIO(data))


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o600
    return info


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def unpacked(source: Path, beside: Path) -> Iterator[Path]:
    """A directory in `beside` with the archive's files, each checked against the manifest.

    Raises Failure for anything that is not a whole backup; what was unpacked is gone afterwards.
    """
    folder = Path(tempfile.mkdtemp(dir=beside, prefix=".restore-"))  # mode 0700
    try:
        try:
            with tarfile.open(source, "r:") as tar:
                _unpack(tar, folder)
        except (tarfile.TarError, ValueError, KeyError, EOFError) as error:
            raise Failure(f"{source} is not a whole backup of spl: {error}", FAILED) from None
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(tar: tarfile.TarFile, folder: Path) -> None:
    manifest = json.loads(_opened(tar, _MANIFEST).read(1 << 20))
    if manifest["format"] != _FORMAT:
        raise ValueError(f"its format is {manifest['format']}, this program reads {_FORMAT}: install a later version")
    sums = manifest["sha256"]
    # Only names of ours are ever opened, so nothing in an archive chooses where it is written.
    missing = set(NEEDED) - sums.keys()
    if missing:
        raise ValueError(f"{', '.join(sorted(missing))} is missing")
    for name in (*NEEDED, *OPTIONAL):
        if name in sums:
            with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                shutil.copyfileobj(_opened(tar, name), out, 1 << 20)
                out.flush()
                os.fsync(out.fileno())
            if _sum(folder / name) != sums[name]:
                raise ValueError(f"{name} is damaged")


def _opened(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    file = tar.extractfile(tar.getmember(name))
    if file is None:
        raise ValueError(f"{name} is not a file")
    return file
