"""Tile: one orthophoto and its label file, as paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Component(NamedTuple):
    """The files of one component of a tile's labels: covers, their percentages, the table of the covers' values."""

    code: Path
    percent: Path | None
    table: Path | None


class Corrections(NamedTuple):
    """A file of corrected polygons, which need not be there; its columns of codes and names, and the dataset's CRS."""

    path: Path
    columns: tuple[str, ...]
    crs: str


@dataclass(frozen=True)
class Tile:
    """One input raster and its label file; `layer` and `stored_dtype` only where they differ from the default.

    A tile without labels has no `label`. Where labels are of kind components, these hold them, and `label` only says
    where they lie. `further` are the files of the bands that follow those of `image`.
    `reference` are those of the tile that its radiometry is matched to.
    `columns` are those that are read of vector labels; none where a table beside them is read too.
    `shift` is how many pixels (right, down) the labels are moved before they are rasterised.
    """

    name: str
    image: Path
    label: Path | None
    year: int | None
    label_year: int | None
    stored_dtype: str | None
    layer: str | None
    components: tuple[Component, ...] = ()
    further: tuple[Path, ...] = ()
    shift: tuple[float, float] = (0.0, 0.0)
    corrections: Corrections | None = None
    reference: tuple[Path, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def images(self) -> tuple[Path, ...]:
        """The files of its bands, the orthophoto first."""
        return self.image, *self.further
