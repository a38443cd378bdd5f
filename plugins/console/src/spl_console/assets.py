"""Scripts and styles: read once, named by what is in them, compressed once, kept by browsers for good."""

import gzip
import hashlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from gateway_core.errors import NotFound

HERE = Path(__file__).parent
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


class Asset:
    """One file."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.content = path.read_bytes()
        self.media_type = _TYPES[path.suffix]
        self.digest = hashlib.sha256(self.content).hexdigest()[:16]

    @cached_property
    def compressed(self) -> bytes:
        """As it goes over the wire to whoever takes gzip."""
        return gzip.compress(self.content, 9, mtime=0)


class Assets:
    """All files, by name."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        files = [path for folder in ("vendor", "static") for path in sorted((HERE / folder).iterdir())]
        self._files = {path.name: Asset(path) for path in files if path.suffix in _TYPES}

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __getitem__(self, name: str) -> Asset:
        return self._files[name]

    def url(self, name: str) -> str:
        """Where a page finds it: another address when it changes."""
        return f"{self._prefix}/assets/{self._files[name].digest}/{name}"

    def answer(self, request: Request) -> Response:
        """The file of exactly that name and digest."""
        asset = self._files.get(request.path_params["name"])
        if asset is None or asset.digest != request.path_params["digest"]:
            raise NotFound("There is no such file; load the page again.")
        headers = {
            "cache-control": "public, max-age=31536000, immutable",
            "content-type": asset.media_type,
            "vary": "accept-encoding",
            "x-content-type-options": "nosniff",
        }
        accepted = request.headers.get("accept-encoding", "").lower()
        if "gzip" in [each.partition(";")[0].strip() for each in accepted.split(",")]:
            return Response(asset.compressed, headers={**headers, "content-encoding": "gzip"})
        return Response(asset.content, headers=headers)
