"""The command of the benchmarks: it lists them, and runs those that are named; none is run here."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest

from tests.benchmarks import bench_extraction, bench_lineage, bench_pages
from tests.benchmarks.__main__ import USUAL, benchmarks, main
from tests.benchmarks.tiny_dataset import tiny_dataset


def test_help_lists_each_with_a_line_and_runs_none(capsys: pytest.CaptureFixture[str]) -> None:
    with mock.patch.object(bench_lineage, "main") as run, pytest.raises(SystemExit) as end:
        main(["--help"])
    assert (end.value.code, run.call_count) == (0, 0)
    lines = capsys.readouterr().out.splitlines()
    for name, line in benchmarks().items():
        assert len(line) > 20
        assert any(row.split()[:1] == [name] and row.endswith(line) for row in lines)
    assert benchmarks().keys() >= {*USUAL, "pages", "servers", "demo", "proportions"}


def test_names_are_run_with_the_size_of_the_tile(capsys: pytest.CaptureFixture[str]) -> None:
    with mock.patch.object(bench_extraction, "main") as extraction, mock.patch.object(bench_pages, "main") as pages:
        main(["pages", "extraction", "--tile", "600x400"])
    extraction.assert_called_once_with((400, 600))
    pages.assert_called_once_with()
    for wrong in (["page"], ["pages", "--tile", "600"]):
        with pytest.raises(SystemExit) as end:
            main(wrong)
        assert end.value.code == 2
    assert "no benchmark page; expected some of confusion, demo, " in capsys.readouterr().err


def test_the_tiny_dataset_leaves_the_variables_as_they_were(tmp_path: Path) -> None:
    before = dict(os.environ)
    with tiny_dataset(tmp_path, tiles=4, retraining={"when": "never"}) as dataset:
        assert os.environ["LANDCOVER_HOME"] == str(tmp_path / "home")
        assert len(list(dataset.folder.glob("*.tif"))) == 4
    assert dict(os.environ) == before
