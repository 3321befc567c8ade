"""Code versions: whatever builds a product is covered by one, and none is forgotten where it changes."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import pytest

from tools.record_versions import Sources, constants, load, package

ROOT = Path(__file__).resolve().parents[1]
ROUND = {
    "landcover_orch.evaluation.promotion",
    "landcover_orch.evaluation.registration",
    "landcover_orch.ground_truth.quality.common_shift",
    "landcover_orch.prediction.files",
    "landcover_orch.prediction.gaps",
    "landcover_orch.training.__main__",
    "landcover_orch.training.fork_server",
    "landcover_orch.training.registration",
    "landcover_orch.training.search.__main__",
}
"""Modules of packages with a version that build no product: commands, processes, MLflow's registry, checks."""

LIBRARY = {
    "store/publish.py": "def publish(): ...",
    "metrics.py": "def mean(values):\n    return sum(values) / len(values)",
    "models/__init__.py": "",
    "models/unet.py": "WIDTH = 8",
    "patches/__init__.py": "VERSION = 1",
    "patches/write.py": "from landcover_orch.patches import VERSION\nRECIPE = VERSION",
    "patches/read.py": "from landcover_orch.patches import rows\nBATCH = 16",
    "patches/rows.py": "ROWS = 3",
    "evaluation/__init__.py": "VERSION = 7",
    "evaluation/build.py": (
        "import importlib\n"
        "from landcover_orch.evaluation import VERSION, tables\n"
        "from landcover_orch.patches.read import BATCH\n"
        "from landcover_orch.store.publish import publish\n\n\n"
        "def build(name):\n"
        '    """Builds."""\n'
        "    publish(VERSION, 'report.html', importlib.import_module(f'landcover_orch.models.{name}'))"
    ),
    "evaluation/tables.py": "def rows():\n    from landcover_orch.metrics import mean\n    return mean([1])",
    "pages/templates/report.html": '{% extends "page.html" %}<p>{{ score }}</p>',
    "pages/templates/page.html": "<html>{% block body %}{% endblock %}</html>",
}
EVALUATION, PATCHES = "landcover_orch.evaluation.VERSION", "landcover_orch.patches.VERSION"


@cache
def sources() -> Sources:
    return Sources()


def test_no_version_stays_while_its_sources_change() -> None:
    """The record is of the present sources: a change shows, and so does one after the version was raised for it."""
    unraised = [f"{version}: {', '.join(changed)}" for version, changed in sources().unraised(load()).items()]
    fix = "raise the version where a build gives other bytes now; then, and else, run `python -m tools.record_versions`"
    assert not unraised, f"sources changed since they were recorded: {'; '.join(unraised)}. Fix: {fix}"
    assert sources().record() == load(), "the record is of other sources. Fix: run `python -m tools.record_versions`"


def test_every_version_is_held_by_what_builds() -> None:
    assert [str(version) for version in sources().versions() if not version.sources] == []


def test_every_module_of_a_versioned_package_is_covered() -> None:
    covered = {source for version in sources().versions() for source in version.sources}
    modules = {name for name in sources().trees if package(name) in sources().versioned} - sources().packages
    assert modules - covered == ROUND


def test_assets_have_the_versions_of_the_library() -> None:
    paths = (ROOT / "assets").rglob("*.py")
    assert [path.name for path in paths if [*constants(ast.parse(path.read_text(encoding="utf-8")))]] == []


def library(root: Path, changes: Mapping[str, str] = MappingProxyType({})) -> Sources:
    """A small library with some files changed."""
    for name, text in {**LIBRARY, **changes}.items():
        path = root / "landcover_orch" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Sources(root)


@pytest.mark.parametrize(
    ("file", "text", "versions"),
    [
        ("evaluation/tables.py", "def rows():\n    return 2", {EVALUATION}),
        ("metrics.py", "def mean(values):\n    return 0", {EVALUATION}),
        ("models/unet.py", "WIDTH = 16", {EVALUATION}),
        ("models/segnet.py", "WIDTH = 16", {EVALUATION}),
        ("patches/read.py", "BATCH = 8", {EVALUATION}),
        ("patches/rows.py", "ROWS = 4", set()),
        ("patches/write.py", "from landcover_orch.patches import VERSION\nRECIPE = [VERSION]", {PATCHES}),
        ("pages/templates/page.html", "<html><b>{% block body %}{% endblock %}</b></html>", {EVALUATION}),
        ("store/publish.py", "def publish(): return 1", set()),
    ],
)
def test_a_change_shows_in_the_versions_that_stand_for_it(
    tmp_path: Path, file: str, text: str, versions: set[str]
) -> None:
    """Of another package with a version, what is imported counts; what that imports is the other version's."""
    record = library(tmp_path).record()
    assert library(tmp_path).unraised(record) == {}
    assert library(tmp_path, {file: text}).unraised(record).keys() == versions


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "metrics.py",
            '"""Metrics."""\n\ndef mean(values):\n    """Mean."""\n    return (sum(values)\n  / len(values))  # of all',
        ),
        ("pages/templates/report.html", '{# of a model #}{% extends "page.html" %}<p>{{ score }}</p>\n'),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(tmp_path: Path, file: str, text: str) -> None:
    record = library(tmp_path).record()
    assert library(tmp_path, {file: text}).record() == record


def test_a_version_that_was_raised_is_recorded_anew(tmp_path: Path) -> None:
    record, change = library(tmp_path).record(), {"metrics.py": "def mean(values):\n    return 0"}
    raised = library(tmp_path, {**change, "evaluation/__init__.py": "VERSION = 8"})
    assert raised.unraised(record) == {}
    assert raised.record() != record
    assert library(tmp_path, {**change, "evaluation/__init__.py": "VERSION = 8"}).unraised(raised.record()) == {}
