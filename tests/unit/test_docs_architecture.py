"""docs/architecture.md names every part of the core."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_every_part_of_the_core_has_its_place_in_the_layout() -> None:
    core = ROOT / "gateway_core"
    modules = {path.name for path in core.glob("*.py") if path.name != "__init__.py"}
    packages = {f"{path.name}/" for path in core.iterdir() if (path / "__init__.py").is_file()}
    assert [part for part in sorted(modules | packages) if f"`{part}`" not in PAGE] == []
