"""What is wrong with a dataset's files, all of it in one list, before anything runs on them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from landcover_orch import compute
from landcover_orch.config import Dataset, experiment_problems, load_dataset, load_legend
from landcover_orch.errors import LandcoverError, Problem
from landcover_orch.legend import IGNORE_NAME, Legend
from landcover_orch.tiles import catalogue
from landcover_orch.tiles.issues import Findings, Sheet, merge, some
from landcover_orch.tiles.tile import Tile


def check(dataset: Dataset, legend: Legend, tiles: Sequence[Tile], *, deep: bool = False) -> Findings:
    """Everything that is wrong with a dataset: its configuration against the legend, then every tile.

    A deep check reads every block of every raster; else only rasters of at most `pixels.SMALL` are read whole, and
    of larger ones the list of blocks is held against the file's size.
    """
    every = partial(check_tile, dataset, legend, deep=deep)
    found = compute.run(every, tiles, cluster=dataset.cluster, label="check") if deep else [every(t) for t in tiles]
    return merge([_configuration(dataset, legend, tiles), *found])


def check_tile(dataset: Dataset, legend: Legend, tile: Tile, *, deep: bool = False) -> Findings:
    """Everything that is wrong with one tile's orthophoto, its further bands and its labels, and all together."""
    from landcover_orch.checks import components, label_rasters, rasters, vectors

    sheet = Sheet()
    _years(sheet, dataset, tile)
    image = rasters.check_image(sheet, dataset, tile, deep=deep)
    if tile.label is None:
        return sheet.findings()
    if dataset.labels.kind == "vector":
        vectors.check(sheet, dataset, tile, tile.label, image.grid if image else None)
        if tile.corrections:
            vectors.check_corrections(sheet, dataset, tile.corrections.path)
    elif dataset.labels.kind == "components":
        sheet.attempt(partial(components.check, sheet, dataset, tile, tile.label, image))
    else:
        sheet.attempt(partial(label_rasters.check, sheet, dataset, tile.label, image, deep=deep))
    return sheet.findings()


def _configuration(dataset: Dataset, legend: Legend, tiles: Sequence[Tile]) -> Findings:
    sheet = Sheet()
    where = f"configs/datasets/{dataset.name}.yaml"
    names = [IGNORE_NAME, *legend.names]
    if dataset.labels.unlabelled not in names:
        sheet.problem(
            f"{where}: labels.unlabelled",
            repr(dataset.labels.unlabelled),
            f"one of {names}",
            "name a class of the legend, or 'ignore'",
        )
    if dataset.labels.kind == "vector" and dataset.labels.attribute is None and dataset.labels.content != "values":
        sheet.problem(f"{where}: labels.attribute", "nothing", "the column with the source codes", "add the key")
    strangers = sorted({*dataset.minor} - {*legend.names})
    if strangers:
        sheet.problem(f"{where}: minor", some(strangers), f"classes of {list(legend.names)}", "correct the names")
    _codes(sheet, dataset, legend)
    _composites(sheet, dataset, legend)
    undated = [tile.name for tile in tiles if tile.label and (tile.year is None or tile.label_year is None)]
    if undated:
        sheet.note(f"{where}: the years of {some(undated)} are not stated, so their gap was not checked")
    return sheet.findings()


def _codes(sheet: Sheet, dataset: Dataset, legend: Legend) -> None:
    shapes = {"raster": (r"\d+|\d*\*", "whole numbers"), "rgb": (r"#[0-9a-fA-F]{6}", "colours #rrggbb")}
    shape, expected = shapes.get(dataset.labels.kind, (r"(?s:.*)", "text"))
    wrong = sorted(code for code in legend.codes if not re.fullmatch(shape, code))
    if wrong:
        sheet.problem(
            f"configs/legends/{legend.name}.yaml: codes",
            some(wrong),
            f"{expected}, as the labels are of kind '{dataset.labels.kind}'",
            "correct the codes or the dataset's `labels.kind`",
        )


def _composites(sheet: Sheet, dataset: Dataset, legend: Legend) -> None:
    """Writes down what a legend says of composites that these labels cannot follow."""
    where = f"configs/legends/{legend.name}.yaml"
    if dataset.labels.composite and legend.burn_order:
        fix = "delete the key: polygons are burnt in the order of the file"
        sheet.problem(f"{where}: burn_order", "codes in order", "none, as polygons hold several covers", fix)


def _years(sheet: Sheet, dataset: Dataset, tile: Tile) -> None:
    if tile.label is None or tile.year is None or tile.label_year is None:
        return
    gap, most = abs(tile.year - tile.label_year), dataset.limits.max_year_gap
    if gap > most:
        sheet.problem(
            tile.image,
            f"orthophoto of {tile.year}, labels of {tile.label_year}: {gap} years apart",
            f"at most {most} (`limits.max_year_gap`)",
            "use labels of a nearer year, correct the years, or raise the limit",
        )


Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class DatasetCheck:
    """Result of the validation of a dataset: its number of tiles, what stops it, what people should know."""

    dataset: str
    tiles: int = 0
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """The result as text: a line a note, a line a problem, and the counts."""
        yield from (f"note: {note}" for note in self.notes)
        yield from (f"problem: {problem}" for problem in self.problems)
        yield f"{self.dataset}: {self.tiles} tiles, {len(self.problems)} problems, {len(self.notes)} notes"


def check_dataset(name: str, *, deep: bool = False) -> DatasetCheck:
    """Validates a dataset by name; a file that cannot be loaded is a problem like the others, and the rest is read.

    Args:
        name: of a file in configs/datasets.
        deep: reads every block of every raster; else large rasters are held against their list of blocks alone.
    """
    problems: dict[Problem, None] = {}
    dataset = _load(problems, partial(load_dataset, name))
    if dataset is None:
        return DatasetCheck(name, problems=tuple(problems))
    legend = _load(problems, partial(load_legend, dataset.legend))
    tiles = _load(problems, partial(catalogue.tiles, dataset))
    findings = None
    if legend is not None and tiles is not None:
        findings = _load(problems, partial(check, dataset, legend, tiles, deep=deep))
    if findings is not None:
        problems |= dict.fromkeys(findings.problems)
    problems |= dict.fromkeys(experiment_problems(dataset))
    return DatasetCheck(name, len(tiles or ()), tuple(problems), findings.notes if findings else ())


def _load(problems: dict[Problem, None], load: Callable[[], Loaded]) -> Loaded | None:
    """What `load` returns; None where it fails, with what is wrong added to `problems`."""
    try:
        return load()
    except LandcoverError as error:
        problems |= dict.fromkeys(error.problems)
        return None
