"""The landscape's SIOSE labels: the same ground as its truth, in percentages that sum to 100."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from landcover_orch.config import Dataset, load_legend
from landcover_orch.config.yamlfile import parse
from landcover_orch.ground_truth import build as truth
from landcover_orch.labels import siose
from landcover_orch.labels.composites import by_class, parts
from landcover_orch.legend import IGNORE
from landcover_orch.raster import burn, inspect, reader, thumbnail
from landcover_orch.synthetic import landscape
from landcover_orch.synthetic.siose_labelling import COVERS, NUMBERS, label, nested_label, whole_percent
from landcover_orch.tiles import catalogue

LEGEND = load_legend("landscape-siose")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("generated") / "landscape"
    landscape.write(place, rows=1, cols=1, size=256)
    return place


def table(folder: Path, version: str, layer: str = "T_POLIGONOS"):  # type: ignore[no-untyped-def]
    return pyogrio.read_dataframe(folder / f"labels/siose-{version}/r0c0.gpkg", layer=layer)


def class_shares(text: str) -> dict[str, float]:
    return dict(by_class(parts(siose.parse(text), LEGEND), LEGEND))


def test_simple_labels_burn_to_the_truth(folder: Path) -> None:
    truth = inspect(folder / "truth/r0c0.tif")
    with reader(truth) as source:
        expected = source.read(landscape.Settings(size=256).window("r0c0"))[0]
    frame = table(folder, "simple")
    shapes = [(s, LEGEND.class_of_code[c]) for s, c in zip(frame.geometry, frame.SIOSE_CODE, strict=True)]
    rasterised = burn(shapes, truth.grid, all_touched=False, fill=IGNORE)
    assert (rasterised == expected).mean() > 0.9999  # pieces that are cut at the tile's edge may round otherwise


def test_composite_labels_cover_the_tile_once_and_half_of_it_in_cells(folder: Path) -> None:
    frame = table(folder, "composite")
    whole = inspect(folder / "truth/r0c0.tif").grid.extent.geom
    assert frame.geometry.area.sum() == pytest.approx(whole.area, rel=1e-6)
    assert shapely.union_all(frame.geometry.to_numpy()).area == pytest.approx(whole.area, rel=1e-6)
    composite = frame.SIOSE_CODE.str.contains("(", regex=False)
    assert 0.3 < frame.geometry[composite].area.sum() / whole.area < 0.6


def test_declared_shares_are_those_of_the_truth(folder: Path) -> None:
    truth = thumbnail(inspect(folder / "truth/r0c0.tif"), 256)[0]
    grid = inspect(folder / "truth/r0c0.tif").grid
    frame = table(folder, "composite")
    largest = frame[frame.SIOSE_CODE.str.contains("(", regex=False)].geometry.area.idxmax()
    inside = burn([(frame.geometry[largest], 1)], grid, all_touched=False, fill=0) == 1
    found = np.bincount(truth[inside], minlength=5) / inside.sum()
    declared = class_shares(frame.SIOSE_CODE[largest])
    for name, share in zip(LEGEND.names, found, strict=True):
        assert declared.get(name, 0) == pytest.approx(share, abs=0.02)


def test_nested_labels_and_the_table_of_values_tell_the_same(folder: Path) -> None:
    composite, nested, polygons = (table(folder, version) for version in ("composite", "nested", "values"))
    values = table(folder, "values", "T_VALORES")
    assert "SIOSE_CODE" not in polygons.columns
    assert nested.SIOSE_CODE.str.contains(r"\(.*\(").any()
    leaves = values[NUMBERS["UDS"] != values.ID_COBERTURA]
    assert set(leaves.groupby("ID_POLYGON").SUPERF_POR.sum()) == {100}
    assert set(polygons.ID_POLYGON) == set(values.ID_POLYGON)
    for flat, deep in zip(composite.SIOSE_CODE, nested.SIOSE_CODE, strict=True):
        one, other = class_shares(flat), class_shares(deep)
        assert all(one.get(name, 0) == pytest.approx(other.get(name, 0), abs=0.03) for name in LEGEND.names)


def test_every_form_of_delivery_becomes_one_ground_truth(folder: Path, tmp_path: Path) -> None:
    """SIOSE_CODE with its composites, and the polygons with T_VALORES, through all of the reading."""
    read = {}
    for version in ("composite", "values"):
        labels = {"layer": "t_poligonos", "id": "ID_POLYGON", "content": "values"}
        if version == "composite":
            labels |= {"attribute": "SIOSE_CODE", "content": "siose"}
        plain = {
            "name": version,
            "root": str(folder),
            "tiles": {"image": "images/{tile}.tif", "label": f"labels/siose-{version}/{{tile}}.gpkg"},
            "bands": ["red", "green", "blue", "nir"],
            "legend": "landscape-siose",
            "labels": labels,
            "experiments": ["none"],
        }
        data = parse(plain, Dataset, "test")
        read[version] = truth.build(data, LEGEND, catalogue.tiles(data)[0], tmp_path)
    one, other = read.values()
    summaries = [product.json("summary.json") for product in (one, other)]
    assert summaries[0] == summaries[1]
    assert {row["decision"] for row in summaries[0]["decisions"]} >= {"simple", "soft"}
    for name in ("classes.tif", "polygons.tif"):
        assert one.files[name] == other.files[name]
    tables = [pq.read_table(product.file("composition.parquet")).to_pylist() for product in (one, other)]
    assert [{**row, "share": 0} for row in tables[0]] == [{**row, "share": 0} for row in tables[1]]
    assert [row["share"] for row in tables[0]] == pytest.approx([row["share"] for row in tables[1]])


@given(st.dictionaries(st.sampled_from(sorted(set(COVERS.values()))), st.floats(1e-3, 1e3), min_size=1))
def test_any_areas_give_labels_that_can_be_read(areas: dict[str, float]) -> None:
    percent = whole_percent(areas)
    assert sum(percent.values()) == 100
    assert all(abs(percent.get(name, 0) - 100 * area / sum(areas.values())) < 1 for name, area in areas.items())
    for text in (label(areas), nested_label(areas)):
        assert sum(fraction for _, fraction in siose.fractions(siose.parse(text))) == pytest.approx(1)
