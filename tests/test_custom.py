"""Custom code: a package's text is what counts and what runs, and nothing runs that was not switched on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from landcover_orch import config, custom
from landcover_orch.config.experiments.custom import Custom
from landcover_orch.errors import CodeError

PACKAGE = "unwritten"
BUILD = f"{PACKAGE}.models:make"
MODULE = "from unwritten.parts import FACTOR\n\n\ndef make(width, **given):\n    return FACTOR * width, given\n"


def _write(folder: Path, parts: str = "FACTOR = 2\n", models: str = MODULE, package: str = PACKAGE) -> None:
    (folder / package).mkdir(parents=True, exist_ok=True)
    for file, text in {"__init__.py": "", "parts.py": parts, "models.py": models}.items():
        (folder / package / file).write_text(text)


@pytest.fixture(autouse=True)
def package(code: Path) -> None:
    """The package `unwritten` is there."""
    _write(code)


def _made(folder: Path, width: int = 3, build: str = BUILD) -> object:
    return custom.create(Custom(build=build, arguments={"width": width}), folder, bands=4)


def _refused(folder: Path, build: str = BUILD, **arguments: int) -> str:
    with pytest.raises(CodeError) as caught:
        custom.create(Custom(build=build, arguments=arguments or {"width": 1}), folder)
    assert len(caught.value.problems) == 1
    return str(caught.value)


def test_it_is_called_with_what_its_kind_gives_and_its_arguments(code: Path) -> None:
    assert _made(code) == (6, {"bands": 4})


def test_an_edit_counts_at_once_though_size_and_time_stay(code: Path) -> None:
    """Bytecode beside the file would be the old one's: an interpreter compares the size and whole seconds."""
    before = custom.packages({"name": "custom", "build": BUILD})[PACKAGE]
    status = (code / PACKAGE / "parts.py").stat()
    assert _made(code) == (6, {"bands": 4})
    _write(code, parts="FACTOR = 5\n")
    os.utime(code / PACKAGE / "parts.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert _made(code) == (15, {"bands": 4})
    assert custom.packages({"name": "custom", "build": BUILD})[PACKAGE].fingerprint != before.fingerprint
    assert [path.name for path in code.rglob("*") if path.suffix != ".py"] == [PACKAGE]


def test_two_versions_of_a_package_live_in_one_process(code: Path, tmp_path: Path) -> None:
    _write(tmp_path / "older", parts="FACTOR = 7\n")
    assert [_made(folder) for folder in (code, tmp_path / "older", code)] == [
        (6, {"bands": 4}),
        (21, {"bands": 4}),
        (6, {"bands": 4}),
    ]


def test_an_unchanged_package_is_imported_once_wherever_it_lies(code: Path, tmp_path: Path) -> None:
    package = custom.packages({"name": "custom", "build": BUILD})[PACKAGE]
    package.write(tmp_path / "copy")
    _made(code)
    module = sys.modules[f"{PACKAGE}.models"]
    assert _made(tmp_path / "copy") == (6, {"bands": 4})
    assert sys.modules[f"{PACKAGE}.models"] is module


def test_the_fingerprint_is_of_names_and_text_and_imports_nothing(code: Path, tmp_path: Path) -> None:
    raising = "raise RuntimeError('imported')\n"
    _write(code, models=raising)
    package = custom.packages({"name": "custom", "build": BUILD})[PACKAGE]
    (code / PACKAGE / "notes.txt").write_text("no code")
    (code / PACKAGE / ".ipynb_checkpoints").mkdir()
    (code / PACKAGE / ".ipynb_checkpoints" / "parts.py").write_text("FACTOR = 9\n")
    (code / PACKAGE / "parts.py").write_bytes(b"FACTOR = 2\r\n")  # as git writes it on another system
    assert custom.packages({"name": "custom", "build": BUILD})[PACKAGE].fingerprint == package.fingerprint
    (code / PACKAGE / "parts.py").rename(code / PACKAGE / "pieces.py")
    assert custom.packages({"name": "custom", "build": BUILD})[PACKAGE].fingerprint != package.fingerprint
    assert PACKAGE not in sys.modules
    assert "RuntimeError: imported (unwritten/models.py, line 1)" in _refused(code)


@pytest.mark.parametrize("value", [None, "", "1", "false"])
def test_it_is_off_unless_it_is_switched_on(code: Path, value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is None:
        monkeypatch.delenv("LANDCOVER_CUSTOM")
    else:
        monkeypatch.setenv("LANDCOVER_CUSTOM", value)
    assert f"LANDCOVER_CUSTOM is {'not set' if value is None else repr(value)}; expected true" in _refused(code)
    with pytest.raises(CodeError, match="export LANDCOVER_CUSTOM=true"):
        custom.packages([{"name": "custom", "build": BUILD}])
    assert custom.packages([{"name": "unet"}]) == {}
    assert PACKAGE not in sys.modules
    assert custom.create(Custom(build=BUILD, arguments={"width": 1}), code, trusted=True) == (2, {})


@pytest.mark.parametrize(
    ("build", "words"),
    [
        ("written.models:make", "no package written; expected the code of `build: written.models:make`"),
        ("unwritten.model:make", "no module unwritten.model; expected one of unwritten, unwritten.models, unwritten.p"),
        ("unwritten.model:make", "did you mean 'unwritten.models'?"),
        ("unwritten.models:maker", "AttributeError: module 'unwritten.models' has no attribute 'maker'"),
        ("unwritten.models:FACTOR", "TypeError: 'int' object is not callable"),
    ],
)
def test_what_is_not_there_is_named(code: Path, build: str, words: str) -> None:
    assert words in _refused(code, build)


def test_a_call_that_fails_is_named_with_its_line(code: Path) -> None:
    assert "TypeError: make() missing 1 required positional argument: 'width'" in _refused(code, widht=3)
    _write(code, models="def make(width):\n    return 1 / (width - 1)\n")
    assert "ZeroDivisionError: division by zero (unwritten/models.py, line 2)" in _refused(code)


def test_another_package_of_the_folder_cannot_be_imported(code: Path) -> None:
    """It would neither count in the fingerprint nor travel with the model."""
    _write(code, package="other")
    _write(code, models="import other\n")
    assert "ModuleNotFoundError: No module named 'other' (unwritten/models.py, line 1)" in _refused(code)


def test_names_that_something_else_has_are_refused(code: Path) -> None:
    for package in ("hypothesis", "json", "sqlite3", "this"):
        module = sys.modules.get(package)
        _write(code, package=package)
        assert f"expected a name of its own. Fix: rename {code / package}" in _refused(code, f"{package}.models:make")
        assert sys.modules.get(package) is module


def test_a_single_module_and_a_package_without_init_are_packages(code: Path) -> None:
    (code / PACKAGE / "__init__.py").unlink()
    assert _made(code) == (6, {"bands": 4})
    (code / "single.py").write_text("def make(width, bands):\n    return width + bands\n")
    assert _made(code, build="single:make") == 7


def test_links_out_of_the_folder_and_other_encodings_are_refused(code: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("FACTOR = 1\n")
    (code / PACKAGE / "linked.py").symlink_to(tmp_path / "secret.py")
    assert "linked.py: a link out of its folder" in _refused(code)
    (code / PACKAGE / "linked.py").unlink()
    (code / PACKAGE / "latin.py").write_bytes("# Größe\n".encode("latin-1"))
    assert "latin.py: no UTF-8" in _refused(code)


def test_code_is_named_in_parts_lists_and_choices_and_never_in_arguments() -> None:
    plain = {
        "model": {"name": "custom", "build": "a.b:c", "arguments": {"name": "custom", "build": "no.no:no"}},
        "loss": [{"name": "dice"}, {"name": "custom", "build": "d:e", "arguments": {}}],
        "search": {
            "changes": {"sampling": {"name": "custom", "build": "f:g"}},
            "space": {
                "model.build": {"choices": ["h:i", "j:k"]},
                "model.arguments.build": {"choices": ["no:no"]},
                "model": {"choices": ["unet", {"name": "custom", "build": "l:m"}]},
            },
        },
    }
    assert [settings.build for settings in custom.named(plain)] == ["a.b:c", "d:e", "f:g", "h:i", "j:k", "l:m"]


def test_the_folder_is_that_of_the_configurations_unless_it_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDCOVER_CONFIGS", str(tmp_path / "configs"))
    monkeypatch.delenv("LANDCOVER_CODE")
    assert config.code_folder() == tmp_path / "configs" / "code"
    monkeypatch.setenv("LANDCOVER_CODE", str(tmp_path / "mine"))
    assert config.code_folder() == tmp_path / "mine"
    assert config.folder_variables()["LANDCOVER_CODE"] == str(tmp_path / "mine")


def test_what_the_code_imports_is_required_where_it_is_served(code: Path) -> None:
    _write(code, models="import os\n\nimport numpy.linalg\nfrom scipy import ndimage\nfrom . import parts\n")
    _write(code / "member", package="torch", models="import torch.nn\n")  # of its own, whatever is installed
    assert custom.distributions(code) == ["numpy", "scipy"]
    assert custom.distributions(code / "absent") == []
