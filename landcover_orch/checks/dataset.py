"""Dataset validation: the problems of a dataset's configuration and files, all in one list, before anything runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar, assert_never

from landcover_orch import compute
from landcover_orch.checks.consistency import check_consistency
from landcover_orch.checks.costs import cost_lines
from landcover_orch.checks.experiments import experiment_problems
from landcover_orch.checks.training_data import (
    TrainingData,
    empty_split_problems,
    single_class_problem,
    training_data,
)
from landcover_orch.checks.unmatched_files import unmatched_notes
from landcover_orch.config import Dataset, file_label, load_dataset, load_legend
from landcover_orch.errors import LandcoverError, Problem, pluralise
from landcover_orch.legend import IGNORE_NAME, Legend
from landcover_orch.tiles import catalogue
from landcover_orch.tiles.issues import IssueLog, Issues, merge, some, summarised, summarised_notes
from landcover_orch.tiles.tile import Tile


def check(dataset: Dataset, legend: Legend, tiles: Sequence[Tile], *, deep: bool = False) -> Issues:
    """Everything that is wrong with a dataset: its configuration against the legend, every tile, then all together.

    A deep check reads every block of every raster; else only rasters of at most `pixels.SMALL` are read whole, and
    of larger ones the list of blocks is held against the file's size.
    """
    each = partial(check_tile, dataset, legend, deep=deep)
    by_tile = compute.run(each, tiles, cluster=dataset.cluster, label="check") if deep else [each(t) for t in tiles]
    together = IssueLog()
    if len(tiles) > 1:  # a build checks its tile alone, whose header would be read once more
        check_consistency(together, dataset, tiles)
    return merge([check_configuration(dataset, legend, tiles), *by_tile, together.report()])


def check_tile(dataset: Dataset, legend: Legend, tile: Tile, *, deep: bool = False) -> Issues:
    """Everything that is wrong with one tile's orthophoto, its further bands and its labels, and all together."""
    from landcover_orch.checks import components, label_rasters, rasters, vectors

    log = IssueLog()
    check_year_gap(log, dataset, tile)
    image = rasters.check_image(log, dataset, tile, deep=deep)
    if tile.label is None:
        return log.report()
    match dataset.labels.kind:
        case "vector":
            vectors.check(log, dataset, tile, tile.label, image.grid if image else None)
            if tile.corrections:
                vectors.check_corrections(log, dataset, tile.corrections.path)
        case "components":
            log.catch(partial(components.check, log, dataset, tile, tile.label, image))
        case "raster" | "rgb":
            log.catch(partial(label_rasters.check, log, dataset, tile.label, image, deep=deep))
        case _:
            assert_never(dataset.labels.kind)
    return log.report()


def check_configuration(dataset: Dataset, legend: Legend, tiles: Sequence[Tile]) -> Issues:
    """A dataset's configuration against its legend."""
    log = IssueLog()
    where = file_label("datasets", dataset.name)
    names = [IGNORE_NAME, *legend.names]
    if dataset.labels.unlabelled not in names:
        log.problem(
            f"{where}: labels.unlabelled",
            repr(dataset.labels.unlabelled),
            f"one of {names}",
            "name a class of the legend, or 'ignore'",
        )
    if dataset.labels.kind == "vector" and dataset.labels.attribute is None and dataset.labels.content != "values":
        log.problem(f"{where}: labels.attribute", "nothing", "the column with the source codes", "add the key")
    strangers = sorted({*dataset.minor} - {*legend.names})
    if strangers:
        log.problem(f"{where}: minor", some(strangers), f"classes of {list(legend.names)}", "correct the names")
    check_codes(log, dataset, legend)
    if dataset.labels.composite and legend.burn_order:
        fix = "delete the key: polygons are burnt in the order of the file"
        key = f"{file_label('legends', legend.name)}: burn_order"
        log.problem(key, "codes in order", "none, as polygons hold several covers", fix)
    undated = [tile.name for tile in tiles if tile.label and (tile.year is None or tile.label_year is None)]
    if undated:
        log.note(f"{where}: the years of {some(undated)} are not stated, so their gap was not checked")
    return log.report()


def check_codes(log: IssueLog, dataset: Dataset, legend: Legend) -> None:
    """Writes down codes of the legend that labels of this kind cannot hold."""
    match dataset.labels.kind:
        case "raster":
            shape, expected = r"\d+|\d*\*", "whole numbers"
        case "rgb":
            shape, expected = r"#[0-9a-fA-F]{6}", "colours #rrggbb"
        case "vector" | "components":
            return  # any text
        case _:
            assert_never(dataset.labels.kind)
    invalid = sorted(code for code in legend.codes if not re.fullmatch(shape, code))
    if invalid:
        log.problem(
            f"{file_label('legends', legend.name)}: codes",
            some(invalid),
            f"{expected}, as the labels are of kind '{dataset.labels.kind}'",
            "correct the codes or the dataset's `labels.kind`",
        )


def check_year_gap(log: IssueLog, dataset: Dataset, tile: Tile) -> None:
    """Writes down an orthophoto and labels whose years lie further apart than the limit."""
    if tile.label is None or tile.year is None or tile.label_year is None:
        return
    gap, most = abs(tile.year - tile.label_year), dataset.limits.max_year_gap
    if gap > most:
        log.problem(
            tile.image,
            f"orthophoto of {tile.year}, labels of {tile.label_year}: {gap} years apart",
            f"at most {most} (`limits.max_year_gap`)",
            "use labels of a nearer year, correct the years, or raise the limit",
        )


Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class DatasetCheck:
    """Result of the validation of a dataset: its number of tiles, what stops it, what people should know.

    `table` holds lines: tiles, patches and classes by split, what cannot be learnt, and rough costs.
    """

    dataset: str
    tiles: int = 0
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    table: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """The result as text: notes, problems (equal ones of several files are one line), the table, the counts."""
        yield from (f"note: {note}" for note in summarised_notes(self.notes))
        yield from (f"problem: {problem}" for problem in summarised(self.problems))
        yield from self.table
        counts = {"tile": self.tiles, "problem": len(self.problems), "note": len(self.notes)}
        yield f"{self.dataset}: {', '.join(pluralise(count, noun) for noun, count in counts.items())}"


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
    tiles = usable_tiles(problems, dataset)
    findings, data = None, None
    if legend is not None and tiles is not None:
        findings = _load(problems, partial(check, dataset, legend, tiles, deep=deep))
    if findings is not None:
        problems |= dict.fromkeys(findings.problems)
    if legend is not None and findings is not None:
        data = sound_training_data(problems, dataset, legend, tiles or ())
    experiments = experiment_problems(dataset)
    problems |= dict.fromkeys(experiments)
    notes = (*findings.notes, *unmatched_notes(dataset, tiles or ())) if findings else ()
    result = DatasetCheck(name, len(tiles or ()), tuple(problems), notes)
    if data is None:
        return result
    costs = () if experiments else cost_lines(dataset, data)
    return replace(result, table=(*data.table(), *data.cannot_be_learnt(), *costs))


def usable_tiles(problems: dict[Problem, None], dataset: Dataset) -> Sequence[Tile] | None:
    """The tiles that can be used; what is wrong with the others, or with the whole, is added. None where none can."""
    examined = _load(problems, partial(catalogue.examine, dataset))
    if examined is None:
        return None
    seen, of_the_whole = examined
    problems |= dict.fromkeys((*seen.problems, *of_the_whole))
    return seen.tiles or None


def sound_training_data(
    problems: dict[Problem, None], dataset: Dataset, legend: Legend, tiles: Sequence[Tile]
) -> TrainingData | None:
    """The summary of the tiles that have no problem so far, whose own problems are added; None where there is none."""
    if check_configuration(dataset, legend, tiles).problems:
        return None
    places = {problem.where.partition(": rows")[0] for problem in problems}
    sound = [tile for tile in tiles if places.isdisjoint(map(str, (*tile.images, tile.label)))]
    data = training_data(dataset, legend, sound)
    problems |= dict.fromkeys((*data.problems, *empty_split_problems(dataset, data)))
    if not data.size:
        return None
    alone = single_class_problem(dataset, legend, data) if len(sound) == len(tiles) else None
    problems |= dict.fromkeys([alone] if alone else [])
    return data


def _load(problems: dict[Problem, None], load: Callable[[], Loaded]) -> Loaded | None:
    """What `load` returns; None where it fails, with what is wrong added to `problems`."""
    try:
        return load()
    except LandcoverError as error:
        problems |= dict.fromkeys(error.problems)
        return None
