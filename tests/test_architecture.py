"""Layered architecture: imports run one way through the packages, in no circle, and each dependency has one owner."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "landcover_orch"
LAYERS = (
    ("errors", "interrupts", "grid", "settings", "legend", "compute", "notifications"),
    ("metrics",),
    ("pages",),
    ("config",),
    ("store",),
    ("custom",),
    ("raster",),
    ("synthetic",),
    ("tiles",),
    ("labels",),
    ("ground_truth",),
    ("patches",),
    ("models",),
    ("tracking",),
    ("training",),
    ("prediction",),
    ("evaluation",),
    ("checks",),
    ("drafts",),
    ("review",),
    ("overview",),
    ("planner",),
)
"""The library from the bottom up: what stands in a layer imports from it and from those before it."""

LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
OWNERS = {
    "rasterio": ("landcover_orch/raster/",),
    "zarr": ("landcover_orch/patches/",),
    "tensorstore": ("landcover_orch/patches/",),
    "mlflow": ("landcover_orch/tracking/", "landcover_mlflow/"),
    "optuna": ("landcover_orch/training/search/trials.py",),
    "dagster": ("assets/",),
    "yaml": ("landcover_orch/config/", "landcover_orch/training/search/"),
}
"""The only places that import a dependency at all."""

BARE = ("dagster", "mlflow", "rasterio")
"""What a GPU machine with torch alone does without: models and training load none of it."""


def files(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


CODE = files(LIBRARY, ROOT / "assets", ROOT / "landcover_mlflow")
MODULES = {module(path): path for path in CODE}


def imports(tree: ast.AST) -> Iterator[str]:
    """Modules that are imported anywhere below a node, in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (path if path in MODULES else node.module for path in full)


def at_load(tree: ast.Module) -> Iterator[str]:
    """Modules that are imported when the file is loaded: not in functions, not for type checkers alone."""
    for node in tree.body:
        checking = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not checking and not isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from imports(node)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def package(path_of_module: str) -> str | None:
    """The package of a module of the library, the module itself at the bottom; None elsewhere."""
    parts = path_of_module.split(".")
    return parts[1] if parts[0] == "landcover_orch" and len(parts) > 1 else None


def test_every_package_has_its_layer() -> None:
    there = {path.stem if path.is_file() else path.name for path in LIBRARY.iterdir() if path.name[:2] != "__"}
    assert there == set(LEVEL)


@pytest.mark.parametrize("path", files(LIBRARY), ids=name)
def test_imports_run_one_way(path: Path) -> None:
    here = package(module(path))
    if here is None:
        return
    above = sorted(known for known in imports(tree(path)) if (own := package(known)) and LEVEL[own] > LEVEL[here])
    assert above == []


def test_no_circle_of_modules() -> None:
    graph = {module(path): set(imports(tree(path))) & MODULES.keys() - {module(path)} for path in CODE}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("path", CODE, ids=name)
def test_each_dependency_has_one_owner(path: Path) -> None:
    for dependency in {known.split(".")[0] for known in imports(tree(path))} & set(OWNERS):
        assert name(path).startswith(OWNERS[dependency]), f"{name(path)} imports {dependency}"


@pytest.mark.parametrize("path", files(LIBRARY), ids=name)
def test_the_library_knows_nothing_of_dagster_and_its_assets(path: Path) -> None:
    known = {known.split(".")[0] for known in imports(tree(path))}
    assert not known & {"assets", "dagster"}


@pytest.mark.parametrize("path", files(LIBRARY / "models", LIBRARY / "training"), ids=name)
def test_models_and_training_load_on_a_bare_machine(path: Path) -> None:
    loaded = {known.split(".")[0] for known in at_load(tree(path))}
    assert not loaded & set(BARE)
    assert not any(known.startswith("landcover_orch.raster") for known in at_load(tree(path)))


def test_the_plugin_leaves_the_library_to_the_model_that_brings_its_own() -> None:
    known = {known.split(".")[0] for known in imports(tree(ROOT / "landcover_mlflow" / "__init__.py"))}
    assert not known & {"assets", "landcover_orch"}


def test_no_relative_imports_hide_an_arrow() -> None:
    relative = [
        name(path) for path in CODE for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []
