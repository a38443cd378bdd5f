"""A distribution on a folder of its own, as if it had been installed: for programs that a test starts."""

import os
from pathlib import Path


def install(folder: Path, name: str, entry_point: str, source: str | None = None) -> dict[str, str]:
    """Makes one with an entry point such as "my-plugin = module:Plugin", and its module where `source` is given.

    Gives the environment in which a process finds it.
    """
    module = entry_point.partition("=")[2].partition(":")[0].strip()
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[spl_gateway]\n{entry_point}\n")
    if source is not None:
        (folder / f"{module}.py").write_text(source)
    before = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": str(folder) if not before else os.pathsep.join((str(folder), before))}
