"""Dataset draft: `landcover init` writes a dataset and its legend, guessed from the files of a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from landcover_orch.config import STUDIES, Dataset, configs_to_write, file_label, find, of_identifier, schema_line
from landcover_orch.config.experiments import KEY
from landcover_orch.config.valid_names import transliterate
from landcover_orch.config.yamlfile import parse, read_yaml
from landcover_orch.drafts import files, imagery, legends, pairing, splits
from landcover_orch.drafts.imagery import Guess, some
from landcover_orch.drafts.pairing import TileFiles
from landcover_orch.drafts.splits import SplitGuess
from landcover_orch.drafts.survey import Survey, overlapping, survey
from landcover_orch.drafts.text import block, comment, entry
from landcover_orch.drafts.writing import write_together
from landcover_orch.errors import ConfigError, Problem, pluralise
from landcover_orch.legend import IGNORE, IGNORE_NAME, Legend
from landcover_orch.tiles import catalogue
from landcover_orch.tiles.imagery import orthophoto

EXPERIMENTS = ("random-forest", "small-unet")
"""What a draft runs: they fit any number of bands, any dtype and small tiles."""

SIOSE = re.compile(r"\d[A-Z]{3}[a-z]*[_)]")
"""A member of a SIOSE label, with what follows it."""

AUTOMATION = """
# What runs by itself once these lines are no comments (`landcover ui` must run):
# retraining:
#   when: new_data            # or {cron: 0 3 * * 0, timezone: Europe/Madrid}, drift, never
# promotion: {by: automatic}  # or hand: a challenger waits for `landcover promote`
"""


@dataclass(frozen=True)
class Draft:
    """The text of a dataset and of its legend, its questions, and the problems of files that could not be read."""

    name: str
    dataset: str
    legend: str
    questions: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Plan:
    """What a draft is made of: the survey of the files, their names and patterns, and the guesses of their pixels."""

    name: str
    root: Path
    survey: Survey
    tiles: Mapping[str, TileFiles]
    patterns: pairing.Patterns
    names: tuple[str, ...]
    unlabelled: str | None
    bands: Guess
    dtype: Guess
    stored: Mapping[str, str]
    nodata: Guess
    crs: Guess
    resolution: float | None
    years: Mapping[str, int]
    label_years: Mapping[str, int]


def init(name: str, folder: Path) -> tuple[Draft, list[Path]]:
    """Drafts the dataset `name` of the files below a folder and writes it; the paths written.

    Raises:
        ConfigError: the name is none, or taken, or the folder of configurations is nowhere; nothing is overwritten.
        CatalogueError: the folder holds no orthophotos, or no labels of them.
    """
    target = configs_to_write()
    require_free(name, target)
    result = draft(name, folder)
    contents = {
        target / "legends" / f"{name}.yaml": schema_line("legend") + result.legend,
        target / "datasets" / f"{name}.yaml": schema_line("dataset") + result.dataset,
    }
    paths = write_together(contents, check_text)
    return result, paths


def draft(name: str, folder: Path) -> Draft:
    """The draft of a dataset, without writing it.

    Raises:
        CatalogueError: the folder holds no orthophotos, or no labels of them.
    """
    root = folder.expanduser().resolve()
    if not root.is_dir():
        fix = "name the folder of the orthophotos and their labels"
        raise ConfigError(Problem(str(root), "no such folder", "a folder", fix))
    plan = planned(name, root, files.scan(root))
    legend_lines = list(legends.lines(name, plan.survey.labels, label_source(plan)))
    legend = parse(legend_values(plan), Legend, file_label("legends", name))
    dataset = parse(dataset_values(plan), Dataset, file_label("datasets", name))
    tiles = catalogue.tiles(dataset)
    labelled = [tile for tile in tiles if tile.label]
    overlaps = overlapping(plan.survey.labelled)
    images = [orthophoto(dataset, tile.image) for tile in labelled]
    held_out = pairing.held_out({name: tile.image for name, tile in plan.tiles.items()})
    guess = splits.guess(dataset, legend, labelled, images, held_out, overlap=bool(overlaps))
    lines = list(dataset_lines(plan, guess, overlaps))
    questions = tuple(line_questions(lines))
    texts = ("\n".join([*lines, *AUTOMATION.rstrip().split("\n")]) + "\n", "\n".join(legend_lines) + "\n")
    return Draft(name, *texts, questions, plan.survey.problems)


def require_free(name: str, target: Path) -> None:
    """Raises ConfigError where a name cannot be a dataset's, or is one's, or a legend's."""
    if not re.fullmatch(KEY, name):
        expected, fix = "letters a to z, digits, '_' and '-' alone", f"name it {transliterate(name, 'town')}"
        raise ConfigError(Problem("landcover init", f"the name {name!r}", expected, fix))
    if files := files_of(name, target):
        free = next(other for number in count(2) if not files_of(other := f"{name}-{number}", target))
        fix = f"choose another one, as {free}; `landcover check {name}` reads what is there"
        raise ConfigError(Problem(", ".join(map(str, files)), f"{name!r} is taken", "a name that is free", fix))
    for other in of_identifier(name):
        called = f"Dagster calls {name} and {other} alike"
        raise ConfigError(Problem(file_label("datasets", other), called, "a name that is free", "choose another name"))


def files_of(name: str, target: Path) -> list[Path]:
    """Files that take a name: of a dataset, a study or a legend, one's own or shipped."""
    drafts = [path for kind in ("datasets", "legends") if (path := target / kind / f"{name}.yaml").exists()]
    shipped = [find(kind, name) for kind in ("datasets", "legends", STUDIES)]
    return list(dict.fromkeys((*drafts, *(path for path in shipped if path is not None))))


def check_text(path: Path, target: Path) -> None:
    """Reads a staged file as it will be read.

    Raises:
        ConfigError: it is not valid.
    """
    match target.parent.name:
        case "datasets":
            parse(read_yaml(path), Dataset, str(target))
        case "legends":
            parse(read_yaml(path), Legend, str(target))


def planned(name: str, root: Path, found: files.Scan) -> Plan:
    """The guesses about the files of a folder."""
    seen = survey(found)
    images = seen.labelled
    titles = pairing.tile_names([image.path for image in seen.images])
    on_disk = [path.relative_to(root).as_posix() for path in files.visible_files(root)]
    tiles, patterns, names = named(seen, titles, on_disk)
    if names and len(images) > 1:
        short = pairing.shortened({image.path: titles[image.path] for image in images})
        shorter = named(seen, {**titles, **short}, on_disk)
        tiles, patterns, names = shorter if not shorter[2] else (tiles, patterns, names)
    dtype, stored = imagery.dtype(seen.images, seen.samples)
    crs, resolution = imagery.crs(seen.images, seen.labels.kind == "vector")
    return Plan(
        name=name,
        root=root,
        survey=seen,
        tiles=tiles,
        patterns=patterns,
        names=names,
        unlabelled=unlabelled_pattern(seen, tiles, patterns.image, on_disk),
        bands=imagery.bands(seen.images),
        dtype=dtype,
        stored=stored,
        nodata=imagery.nodata(seen.images, seen.samples),
        crs=crs,
        resolution=resolution,
        years=imagery.years({name: tile.image for name, tile in tiles.items()}),
        label_years=imagery.years({name: tile.label or "" for name, tile in tiles.items()}),
    )


def named(
    seen: Survey, titles: Mapping[str, str], on_disk: list[str]
) -> tuple[dict[str, TileFiles], pairing.Patterns, tuple[str, ...]]:
    """Tiles by name, the patterns of their files, and the names where the pattern finds others, too."""
    tiles = {
        titles[image.path]: TileFiles(titles[image.path], image.path, seen.label_of[image.path])
        for image in seen.labelled
    }
    patterns = pairing.patterns(list(tiles.values()), seen.shared)
    regular = tiles.keys() - {
        tile.name for tile in patterns.odd if tile.image != pairing.filled(patterns.image, tile.name)
    }
    exact = pairing.matching(patterns.image, on_disk) == regular
    return tiles, patterns, () if exact else tuple(sorted(tiles))


def unlabelled_pattern(seen: Survey, tiles: Mapping[str, TileFiles], pattern: str, on_disk: list[str]) -> str | None:
    """The pattern of the orthophotos without labels; None where there are none, or it finds other files, too."""
    bare = pairing.matching(pattern, [image.path for image in seen.bare])
    others = pairing.matching(pattern, on_disk) - tiles.keys()
    usable = len(bare) == len(seen.bare) and others == bare and all(re.fullmatch(KEY, name) for name in bare)
    return pattern if bare and usable else None


def overrides(plan: Plan) -> dict[str, dict[str, Any]]:
    """What tiles have different from the patterns, by name."""
    odd = {tile.name for tile in plan.patterns.odd}
    layers = plan.survey.labels.layers if len(set(plan.survey.labels.layers.values())) > 1 else {}
    varied = {
        key: years
        for key, years in (("year", plan.years), ("label_year", plan.label_years))
        if len(set(years.values())) > 1
    }
    result = {}
    for name, tile in sorted(plan.tiles.items()):
        different = {
            "image": tile.image if name in odd and tile.image != pairing.filled(plan.patterns.image, name) else None,
            "label": tile.label if name in odd and tile.label != pairing.filled(plan.patterns.label, name) else None,
            "layer": layers.get(tile.label or ""),
            "dtype": plan.stored.get(tile.image),
            **{key: years.get(name) for key, years in varied.items()},
        }
        result[name] = {key: value for key, value in different.items() if value is not None}
    return {name: different for name, different in result.items() if different}


def tiles_values(plan: Plan) -> dict[str, Any]:
    """The value of the key `tiles`."""
    values: dict[str, Any] = {"image": plan.patterns.image, "label": plan.patterns.label}
    if plan.names:
        values["names"] = list(plan.names)
    if plan.unlabelled:
        values["unlabelled"] = plan.unlabelled
    for key, years in (("year", plan.years), ("label_year", plan.label_years)):
        if len(set(years.values())) == 1 and len(years) == len(plan.tiles):
            values[key] = next(iter(years.values()))
    different = overrides(plan)
    return {**values, **({"overrides": different} if different else {})}


def label_values(plan: Plan) -> dict[str, Any]:
    """The value of the key `labels`."""
    guess = plan.survey.labels
    values: dict[str, Any] = {} if guess.kind == "vector" else {"kind": guess.kind}
    if guess.column:
        values["attribute"] = guess.column
    if len(set(guess.layers.values())) == 1:
        values["layer"] = next(iter(guess.layers.values()))
    if legends.one_class(guess):
        values["unlabelled"] = legends.REST
    return values or {"kind": guess.kind}


def dataset_values(plan: Plan) -> dict[str, Any]:
    """The keys of the dataset that files decide, as plain values."""
    values = {
        "name": plan.name,
        "root": str(plan.root),
        "tiles": tiles_values(plan),
        "bands": plan.bands.value,
        "dtype": plan.dtype.value,
        "crs": plan.crs.value,
        "nodata": plan.nodata.value,
        "legend": plan.name,
        "labels": label_values(plan),
        "experiments": list(EXPERIMENTS),
    }
    return values if plan.resolution is None else {**values, "resolution": plan.resolution}


def legend_values(plan: Plan) -> dict[str, Any]:
    """The legend as plain values."""
    guess = plan.survey.labels
    codes = {code.code: code.name or IGNORE_NAME for code in guess.codes}
    return {"name": plan.name, "classes": legends.classes(guess), "codes": codes}


def label_source(plan: Plan) -> str:
    """Where the codes were read."""
    guess = plan.survey.labels
    column = f"column {guess.column}, " if guess.column else ""
    return f"{column}{some(sorted(set(plan.survey.label_of.values())))}"


def dataset_lines(plan: Plan, guess: SplitGuess, overlaps: list[tuple[str, str]]) -> Iterator[str]:
    """The YAML of the dataset, each guess with its reason."""
    values = dataset_values(plan)
    yield from comment(f"Draft of `landcover init {plan.name} {plan.root}`: each guess with its reason above it.")
    yield from comment(f"Answer what says QUESTION, then: landcover check {plan.name}")
    yield from entry("name", plan.name)
    yield from entry("root", values["root"])
    yield from block("tiles", values["tiles"], tiles_reason(plan), tiles_questions(plan))
    yield from entry("bands", values["bands"], plan.bands.reason, plan.bands.questions)
    yield from entry("dtype", values["dtype"], plan.dtype.reason, plan.dtype.questions)
    yield from entry("nodata", values["nodata"], plan.nodata.reason, plan.nodata.questions)
    where = "; ".join([plan.crs.reason, " ".join(imagery.resolutions(plan.survey.images))])
    yield from entry("crs", values["crs"], where, plan.crs.questions)
    if plan.resolution is not None:
        yield from entry("resolution", plan.resolution)
    yield from entry("legend", plan.name, f"{file_label('legends', plan.name)}, drafted with this file")
    yield from block("labels", values["labels"], *labels_reason(plan, guess))
    if overlaps:
        pairs = some(f"{first} and {second}" for first, second in overlaps)
        together = "on_overlap drops train windows that lie on held-out ground of another tile"
        yield from comment(f"tiles overlap on the ground ({pairs}): blocks of the ground are held out; {together}")
    drop = {"on_overlap": "drop"} if overlaps else {}
    yield from block("splits", {**guess.splits, **drop}, guess.reason, guess.questions)
    yield from entry("patches", guess.patches)
    bands = pluralise(len(plan.bands.value), "band")
    fit = f"they fit {bands} and small tiles; baselines k-means and random-forest run besides"
    yield from entry("experiments", list(EXPERIMENTS), fit)


def tiles_reason(plan: Plan) -> str:
    """What the tiles were paired by, and what was left aside."""
    seen = plan.survey
    reason = f"{pluralise(len(plan.tiles), 'tile')}; labels: {seen.reason}"
    reason += "; the pattern finds further files, so the tiles are listed" if plan.names else ""
    broken = some(problem.where for problem in seen.problems)
    reason += f"; not readable, and left out: {broken}" if broken else ""
    return "; ".join([reason, *seen.remarks])


def tiles_questions(plan: Plan) -> Iterator[str]:
    """What a person has to say of the tiles."""
    bare = plan.survey.bare
    if bare:
        listed = some(image.path for image in bare)
        mapped = plan.unlabelled is not None
        what = "mapped, not trained on" if mapped else "left out"
        without = pluralise(len(bare), "orthophoto has", "orthophotos have")
        yield f"{without} no labels ({listed}): {what}; are labels missing?"
    if not plan.years or not plan.label_years:
        question = "of which years are orthophotos and labels? no file name says it of both"
        yield f"{question}: write `tiles.year` and `tiles.label_year`"


def labels_reason(plan: Plan, guess: SplitGuess) -> tuple[str, list[str]]:
    """Why labels are read so, and the question of what they leave uncovered, with its evidence."""
    seen = plan.survey.labels
    how = f"by column {seen.column}" if seen.column else pluralise(len(seen.codes), "value")
    reason = "; ".join([f"{pluralise(sum(code.count for code in seen.codes), seen.unit)}, {how}", *seen.remarks])
    pixels = guess.data.pixels[:3]
    sample = "" if guess.data.exact else " of a sample"
    if legends.one_class(seen):
        rest = float(pixels[:, 0].sum() / max(pixels.sum(), 1))
        name = next(code.name for code in seen.codes if code.name)
        text = f"all labels are {name!r}, so all else, {100 * rest:.1f}% of the ground{sample}, is taken as "
        return reason, [f"{text}{legends.REST!r}: is {name!r} drawn wherever there is some?"]
    ignored = float(pixels[:, IGNORE].sum() / max(pixels.sum(), 1))
    composites = [code.code for code in seen.codes if SIOSE.search(code.code)]
    what = "is a SIOSE label of several covers: set `content: siose` and take a legend of covers"
    asked = [f"{code} {what}" for code in composites[:1]]
    if not ignored:
        return reason, asked
    text = f"{100 * ignored:.1f}% of the ground{sample} has no label and is ignored; if it is all of one class, write "
    return reason, [f"{text}`unlabelled: <that class>`", *asked]


def line_questions(lines: list[str]) -> Iterator[str]:
    """The questions of a draft, from its comments."""
    current: str | None = None
    for line in [*lines, ""]:
        if current is not None and line.startswith("#   "):
            current += f" {line.strip('# ')}"
            continue
        if current is not None:
            yield current
        current = line.removeprefix("# QUESTION: ") if line.startswith("# QUESTION: ") else None
