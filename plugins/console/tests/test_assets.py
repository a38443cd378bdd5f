"""The files that pages need: as they were published, small, and kept by browsers."""

import base64
import gzip
import hashlib
import json
import re
from typing import Any

from spl_console.assets import HERE, Assets

VENDOR = HERE / "vendor"
MOST = 150_000
"""Bytes over the wire, of a page and all that it needs."""


def test_what_is_vendored_is_what_the_manifest_says() -> None:
    manifest = json.loads((VENDOR / "manifest.json").read_text())
    for entry in manifest:
        content = (VENDOR / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], entry["file"]
        assert "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode() == entry["integrity"]
        assert re.fullmatch(r"\d+\.\d+\.\d+", entry["version"])
        assert len((VENDOR / entry["license_file"]).read_text()) > 300
    named = {entry["file"] for entry in manifest} | {entry["license_file"] for entry in manifest} | {"manifest.json"}
    assert {path.name for path in VENDOR.iterdir()} == named


def test_no_file_asks_for_anything_elsewhere() -> None:
    for path in (HERE / "static").iterdir():
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", path.read_text()), path
    for path in (HERE / "templates").rglob("*.html"):
        assert not re.search(r"(?:src|href|action)=\"(?:https?:)?//", path.read_text()), path


async def test_every_page_is_small(bench: Any) -> None:
    """The page itself is sent as it is, its files compressed."""
    visitor = await bench.signed_in("operator")
    for page in bench.console.pages:
        if page.method != "GET" or page.script or "{" in page.path:
            continue
        answer = await visitor.get(page.path)
        total = len(answer.content)
        for address in set(re.findall(r'(?:src|href)="(/console/assets/[^"]+)"', answer.text)):
            asset = await visitor.http.get(address, headers={"accept-encoding": "gzip"})
            total += int(asset.headers["content-length"])
        assert total < MOST, (page.path, total)


async def test_a_file_is_kept_for_good_under_the_name_of_its_content(bench: Any) -> None:
    http = bench.visitor().http
    assets = Assets("/console")
    for name in assets:
        plain = await http.get(assets.url(name), headers={"accept-encoding": "identity"})
        assert plain.status_code == 200
        assert plain.content == assets[name].content
        assert "immutable" in plain.headers["cache-control"]
        assert plain.headers["x-content-type-options"] == "nosniff"
        packed = await http.get(assets.url(name), headers={"accept-encoding": "br, gzip;q=0.8"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.content == plain.content  # the client unpacks it
        assert gzip.decompress(assets[name].compressed) == assets[name].content
    stale = assets.url("console.css").replace(assets["console.css"].digest, "0" * 16)
    for missing in (stale, "/console/assets/x/console.css", "/console/assets/x/..%2Fplugin.py"):
        assert (await http.get(missing)).status_code == 404
