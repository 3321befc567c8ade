"""The command that writes a landscape says what it wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from landcover_orch.synthetic.__main__ import main


def test_a_landscape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "land"), "--rows", "1", "--cols", "1", "--size", "64"]) == 0
    assert capsys.readouterr().out.startswith("1 tile in ")
    assert (tmp_path / "land/labels/inexact/r0c0.gpkg").is_file()
