"""The table of shares read back: by class and polygon, with what is ignored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from landcover_orch.ground_truth import build as truth
from landcover_orch.labels import fractions
from landcover_orch.labels.fractions import Declared
from landcover_orch.tiles.catalogue import tiles
from tests.labels.siose_scenes import legend, write_labels

LABELS = ("CNF", "A(60CNF_40PST)", "A(60CNF_32PST_8ZQM)", "A(50CNF_50ZQM)", "A(30CNF_70FDC)")


@pytest.fixture
def declared(tmp_path: Path, home: Path) -> Declared:
    data = write_labels(tmp_path / "raw", LABELS)
    product = truth.build(data, legend(rule="soft"), tiles(data)[0], home)
    return fractions.read(product.file(truth.COMPOSITION), ("forest", "rest"))


def test_shares_come_back_by_polygon_number(declared: Declared) -> None:
    assert declared.source == ("", "P1", "P2", "P3", "P4", "P5")
    assert declared.decision == ("", "simple", "soft", "soft", "soft", "dissolved")
    np.testing.assert_allclose(declared.fraction, [[0, 0], [1, 0], [0.6, 0.4], [0.6, 0.32], [0.5, 0], [1, 0]])
    np.testing.assert_allclose(declared.ignored, [0, 0, 0, 0.08, 0.5, 0])


def test_a_little_that_is_ignored_is_spread_and_much_tells_nothing(declared: Declared) -> None:
    expected = [[0, 0], [1, 0], [0.6, 0.4], [0.6 / 0.92, 0.32 / 0.92], [0, 0], [1, 0]]
    np.testing.assert_allclose(declared.normalised, expected)


def test_composite_is_what_several_classes_share_and_undecided_what_has_no_class(declared: Declared) -> None:
    assert declared.composite.tolist() == [False, False, True, True, True, False]
    assert declared.undecided.tolist() == [False, False, True, True, True, False]


def test_a_table_without_rows_declares_nothing(tmp_path: Path, home: Path) -> None:
    data = write_labels(tmp_path / "raw", LABELS)
    data = data.model_copy(update={"labels": data.labels.model_copy(update={"content": "largest"})})
    for path in (tmp_path / "raw").glob("*.gpkg"):
        path.unlink()
    write_labels(tmp_path / "raw", ("CNF", "PST"))
    product = truth.build(data, legend(rule="soft"), tiles(data)[0], home)
    result = fractions.read(product.file(truth.COMPOSITION), ("forest", "rest"))
    assert result.fraction.tolist() == result.normalised.tolist() == [[0, 0]]
