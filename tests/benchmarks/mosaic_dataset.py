"""A dataset of one generated mosaic with a class raster as labels, for benchmarks of any size."""

from __future__ import annotations

from pathlib import Path

from landcover_orch.config import Dataset
from landcover_orch.legend import LandClass, Legend
from landcover_orch.synthetic.mosaic import write_mosaic

CLASSES = ("field", "forest", "water", "road", "building")
LEGEND = Legend(
    name="mosaic",
    classes=tuple(LandClass(id=i, name=name, colour=f"#00{40 * i:02x}88") for i, name in enumerate(CLASSES)),
    codes={str(i): name for i, name in enumerate(CLASSES)},
)


def write(folder: Path, shape: tuple[int, int]) -> Dataset:
    """The dataset of a mosaic of `shape` (height, width) written below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_mosaic(folder / "t.tif", folder / "labels.tif", *shape)
    return Dataset.model_validate(
        {
            "name": "mosaic",
            "root": str(folder),
            "tiles": {"image": "{tile}.tif", "label": "labels.tif", "names": ["t"]},
            "bands": ["red", "green", "blue"],
            "legend": "mosaic",
            "labels": {"kind": "raster"},
            "splits": {"validation": {"blocks": 0.1}, "test": {"blocks": 0.1}, "block": 1024},
            "patches": {"size": 256, "stride": 256},
            "experiments": ["none"],
        }
    )
