"""The command that writes the generated landscape."""

from __future__ import annotations

from pathlib import Path

import pytest

from landcover_orch.raw.__main__ import main


def test_a_landscape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["landscape", str(tmp_path / "land"), "--rows", "1", "--cols", "1", "--size", "64"]) == 0
    assert capsys.readouterr().out.startswith("1 tiles in ")
    assert (tmp_path / "land/labels/inexact/r0c0.gpkg").is_file()
