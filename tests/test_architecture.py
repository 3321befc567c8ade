"""The arrows of the house run one way, and each door has one keeper: read from the imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "landcover_orch"
CORRIDOR = ("raw", "ground_truth", "patches", "model", "training", "prediction", "report")
KEEPERS = {
    "rasterio": ("landcover_orch/raster/",),
    "zarr": ("landcover_orch/patches/",),
    "tensorstore": ("landcover_orch/patches/",),
    "mlflow": ("landcover_orch/tracking.py", "landcover_orch/tracking/"),
    "optuna": ("landcover_orch/training/search_trials.py",),
    "dagster": ("assets/",),
}
BARE = ("dagster", "mlflow", "rasterio")
"""What a GPU machine with torch alone does without: model and training load none of it."""


def files(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> Iterator[str]:
    """Modules that are imported anywhere below a node, in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_load(tree: ast.Module) -> Iterator[str]:
    """Modules that are imported when the file is loaded: not in functions, not for type checkers alone."""
    for node in tree.body:
        checking = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not checking and not isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from imports(node)


def room(module: str) -> str | None:
    """The room of a module of the library, None for the ground floor and for other packages."""
    parts = module.split(".")
    return parts[1] if parts[0] == "landcover_orch" and len(parts) > 1 and parts[1] in CORRIDOR else None


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", files(LIBRARY), ids=name)
def test_a_room_imports_only_rooms_before_it(path: Path) -> None:
    own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    allowed = CORRIDOR[: CORRIDOR.index(own) + 1] if own else ()
    known = {found for module in imports(tree(path)) if (found := room(module))}
    if own is None:  # the ground floor may know the data that passes through, as contracts and manifests
        known -= {"patches", "model"}
    assert known <= set(allowed)


@pytest.mark.parametrize("path", files(LIBRARY, ROOT / "assets"), ids=name)
def test_each_package_has_one_importer(path: Path) -> None:
    for package in {module.split(".")[0] for module in imports(tree(path))} & set(KEEPERS):
        assert name(path).startswith(KEEPERS[package]), f"{name(path)} imports {package}"


@pytest.mark.parametrize("path", files(LIBRARY), ids=name)
def test_the_library_knows_nothing_of_the_lineage(path: Path) -> None:
    known = {module.split(".")[0] for module in imports(tree(path))}
    assert not known & {"assets", "dagster"}


@pytest.mark.parametrize("path", files(LIBRARY / "model", LIBRARY / "training"), ids=name)
def test_model_and_training_load_on_a_bare_machine(path: Path) -> None:
    loaded = {module.split(".")[0] for module in at_load(tree(path))}
    assert not loaded & set(BARE)
    assert "landcover_orch.raster" not in set(at_load(tree(path)))


def test_no_relative_imports_hide_an_arrow() -> None:
    relative = [
        name(path)
        for path in files(LIBRARY, ROOT / "assets")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []
