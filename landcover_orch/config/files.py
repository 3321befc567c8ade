"""Configuration files by name: datasets, legends, launchers, experiments, searches; a person's own and the shipped."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import replace
from pathlib import Path

from landcover_orch.config.datasets import Dataset
from landcover_orch.config.experiments import KEY, Experiment, matrix, models, repetitions
from landcover_orch.config.experiments import search as searching
from landcover_orch.config.experiments.search import Search
from landcover_orch.config.launchers import LOCAL, Launcher
from landcover_orch.config.paths import STUDIES, config_folders, file_label, home, inside, missing_configs, own_configs
from landcover_orch.config.splits import SPLIT_NAMES, Splits, SplitSpec
from landcover_orch.config.valid_names import identifier, transliterate
from landcover_orch.config.yamlfile import Model, parse, read_yaml
from landcover_orch.errors import ConfigError, MissingConfigError, Problem, did_you_mean, one_of, pluralise
from landcover_orch.legend import Legend

RENAMED_FILES = {"doctor": "label-review", "changes": "label-changes", "symmetries": "tta"}
"""Parts of shipped files' names in earlier versions, and what they are called now."""


def names(kind: str) -> list[str]:
    """Names of the configurations of a kind ('datasets', 'studies', 'legends'...), sorted."""
    files = (path for folder in config_folders() for path in (folder / kind).glob("*.yaml"))
    return sorted({path.stem for path in files if path.is_file()})


def dataset_names() -> list[str]:
    """Names of the datasets that configs/datasets describes, sorted."""
    return names("datasets")


def is_described(name: str) -> bool:
    """Whether there is a file of a dataset, or of a study of this name."""
    return name in names("datasets") or name in names(STUDIES)


def find(kind: str, name: str) -> Path | None:
    """The file of a configuration; None where there is none.

    Raises:
        ConfigError: it stands in two folders.
    """
    files = [path for folder in config_folders() if (path := folder / kind / f"{name}.yaml").is_file()]
    if len(files) > 1:
        both = " and ".join(map(str, files))
        fix = "rename your own, or delete one of them"
        raise ConfigError(Problem(file_label(kind, name), f"two files: {both}", "one of that name", fix))
    return files[0] if files else None


def load_dataset(name: str) -> Dataset:
    """The dataset of configs/datasets/<name>.yaml, or of configs/studies; tiles that its splits list in CSV files are
    among their `tiles`.

    Where such a file is not there, as on a machine without the data, its key stays, for the checks to find.

    Raises:
        ConfigError: there is no such file, it is invalid, or its name is another one's in Dagster.
    """
    is_study = re.match(KEY, name) and find("datasets", name) is None and find(STUDIES, name) is not None
    kind = STUDIES if is_study else "datasets"
    require_identifier(name)
    dataset = _load(kind, name, Dataset)
    require_known_experiments(dataset)
    specs = {split: read_listed_tiles(dataset, split) for split in SPLIT_NAMES}
    listed = {split: spec for split, spec in specs.items() if spec is not None}
    if not listed:
        return dataset
    splits = parse({**dict(dataset.splits), **listed}, Splits, f"{file_label(kind, name)}: splits")
    return dataset.model_copy(update={"splits": splits})


def of_identifier(name: str) -> list[str]:
    """Names of the datasets and studies that Dagster's jobs and sensors are called by as by this one, sorted."""
    described = {*names("datasets"), *names(STUDIES)}
    return sorted(other for other in described if identifier(other) == identifier(name))


def require_identifier(name: str) -> None:
    """Raises ConfigError where Dagster's jobs and sensors of a dataset would be called as those of one before it.

    The first is the one with products, else the one that is first by name: it goes on as it was.
    """
    same = of_identifier(name)
    if len(same) < 2 or name not in same:
        return
    first = min(same, key=lambda other: (not any((home() / other).glob("[!.]*/*")), other))
    if name != first:
        called = (
            f"Dagster's jobs and sensors {identifier(name)}_..., which are those of {file_label('datasets', first)}"
        )
        expected = "a name that differs in more than '-' and '_'"
        fix = f"rename the file and its `name`, as {name}-2"
        raise ConfigError(Problem(file_label("datasets", name), called, expected, fix))


def require_known_experiments(dataset: Dataset) -> None:
    """Raises ConfigError where `retraining.experiments` names what is none of the dataset's experiments."""
    named = dataset.retraining.experiments if dataset.retraining else ()
    if not named:
        return
    known = sorted({*dataset.experiments, *dataset.baselines, *experiments_of(dataset)})
    where = f"{file_label('datasets', dataset.name)}: retraining.experiments"
    problems = [
        Problem(
            where, f"{name!r}, none of the dataset's", one_of(name, known), did_you_mean(name, known) or "correct it"
        )
        for name in named
        if name not in known
    ]
    if problems:
        raise ConfigError(*problems)


def read_listed_tiles(dataset: Dataset, split: str) -> SplitSpec | None:
    """A split with the tiles of its CSV file by name; None where there is no such file, as without the data."""
    spec: SplitSpec = getattr(dataset.splits, split)
    if spec.from_csv is None:
        return None
    try:
        root = dataset.folder
    except ConfigError:  # it stands in a variable that is not set
        return None
    path = inside(root, spec.from_csv, f"{file_label('datasets', dataset.name)}: splits.{split}.from_csv")
    if not path.is_file():
        return None
    names = first_column(path)
    if names and not is_tile(dataset, root, names[0]):
        names = names[1:]
    return spec.model_copy(update={"tiles": tuple(dict.fromkeys((*spec.tiles, *names))), "from_csv": None})


def first_column(path: Path) -> list[str]:
    """The first cells of a CSV file's lines, a header's too.

    Raises:
        ConfigError: it is not in UTF-8.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [row[0].strip() for row in csv.reader(file) if row and row[0].strip()]
    except UnicodeDecodeError as error:
        fix = f"convert it, as from latin-1: iconv -f latin1 -t utf-8 {path.name} > new.csv"
        found = f"bytes that are no UTF-8, the first at byte {error.start}"
        raise ConfigError(Problem(str(path), found, "a CSV file in UTF-8", fix)) from error


def is_tile(dataset: Dataset, root: Path, name: str) -> bool:
    """Whether a name is a tile's, and so no header of a list of tiles: it is listed, or has an orthophoto."""
    tiles = dataset.tiles
    override = tiles.overrides.get(name)
    pattern = (override.image if override else None) or tiles.image
    named = re.sub(r"\{tile(?::0\d)?\}", lambda _: name, pattern)
    return name in tiles.names or ("{tile" in pattern and "/" not in name and (root / named).is_file())


def load_legend(name: str) -> Legend:
    """The legend of configs/legends/<name>.yaml."""
    return _load("legends", name, Legend)


def load_launcher(name: str) -> Launcher:
    """The launcher of configs/launchers/<name>.yaml, or `local`; LANDCOVER_LAUNCHER stands for whatever is named."""
    name = os.environ.get("LANDCOVER_LAUNCHER") or name
    return LOCAL if name == LOCAL.name else _load("launchers", name, Launcher)


def load_experiment(name: str) -> Experiment:
    """The experiment of configs/experiments/<name>.yaml, of a combination of its matrix, or of a repetition.

    A combination is called <file>__<choice>-<choice>, a repetition of either <name>.seed-1.fold-2.

    Raises:
        MissingConfigError: there is no such file, or it has no such combination or repetition.
        ConfigError: it is invalid.
    """
    base = repetitions.base_of(name)
    contents, where = _read_experiments(base)
    if base not in contents:
        known = list(contents)
        expected = f"one of {known[:3]}" + (f" and {len(known) - 3} more" if len(known) > 3 else "")
        content = (
            f"a matrix of {pluralise(len(known), 'experiment')}"
            if base == matrix.file_of(base)
            else f"no experiment {base}"
        )
        fix = did_you_mean(base, known) or "name one of them"
        raise MissingConfigError(Problem(where, content, expected, fix))
    experiment = parse(contents[base], Experiment, where if len(contents) == 1 else f"{where} ({base})")
    if experiment.name == name:
        return experiment
    repeated = repetitions.repetition(experiment, name)
    if repeated is None:
        expected = experiment.protocol.words() or "no repetitions"
        where = f"{where}: protocol"
        fix = "add it to `protocol`, or name another"
        raise MissingConfigError(Problem(where, f"no repetition {name}", expected, fix))
    return repeated


def load_search(name: str) -> Search:
    """The search of configs/searches/<name>.yaml.

    Raises:
        ConfigError: there is no such file, it or its experiment is invalid, or values of its space are.
    """
    search = _load("searches", name, Search)
    problems = searching.problems(search, load_experiment(search.experiment))
    if problems:
        raise ConfigError(*problems)
    return search


def _read_experiments(name: str) -> tuple[dict[str, dict[str, object]], str]:
    """Plain values of the experiments of the file that a name stands in, and the file as messages call it."""
    file = name if find("experiments", name) else matrix.file_of(name)
    content, where = _read("experiments", file)
    if not isinstance(content, dict):
        raise ConfigError(Problem(where, repr(content)[:80], "keys and values", "write an experiment"))
    return matrix.expand(content, file, where), where


def experiment_names(name: str) -> tuple[str, ...]:
    """Experiments that a name in `Dataset.experiments` stands for: a file's, or that of this name.

    A file that is missing or invalid stands for itself: its problems are raised where it is loaded.
    """
    try:
        contents, _ = _read_experiments(name)
    except ConfigError:
        return (name,)
    return tuple(contents) if name == matrix.file_of(name) else (name,)


def experiments_of(dataset: Dataset) -> tuple[str, ...]:
    """All experiments of a dataset that run: those of the files listed, then the baselines'."""
    files = (*dataset.experiments, *dataset.baselines)
    return tuple(dict.fromkeys(name for file in files for name in experiment_names(file)))


def load_experiments(name: str) -> dict[str, Experiment]:
    """Experiments by name that a name in `Dataset.experiments` stands for.

    Raises:
        ConfigError: every problem of every combination; one that several have stands there once.
    """
    if name != matrix.file_of(name):
        return {name: load_experiment(name)}
    contents, where = _read_experiments(name)
    experiments: dict[str, Experiment] = {}
    invalid: dict[Problem, list[str]] = {}
    for key, content in contents.items():
        try:
            experiments[key] = parse(content, Experiment, where)
        except ConfigError as error:
            for problem in error.problems:
                invalid.setdefault(problem, []).append(key)
    if invalid:
        problems = [
            problem if len(keys) == len(contents) else replace(problem, where=f"{problem.where} ({', '.join(keys)})")
            for problem, keys in invalid.items()
        ]
        raise ConfigError(*problems)
    return experiments


def with_members(name: str) -> tuple[Experiment, ...]:
    """The experiment of configs/experiments/<name>.yaml; of an ensemble also those of its members."""
    experiment = load_experiment(name)
    members = experiment.model.members if isinstance(experiment.model, models.Ensemble) else ()
    return experiment, *(load_experiment(member) for member in members if "/" not in member)


def _load(kind: str, name: str, model: type[Model]) -> Model:
    content, where = _read(kind, name)
    settings = parse(content, model, where, path=find(kind, name) or own_configs() / kind / f"{name}.yaml")
    if getattr(settings, "name", name) != name:
        expected = f"{name!r}, as the file is called"
        raise ConfigError(
            Problem(f"{where}: name", repr(getattr(settings, "name", None)), expected, "rename one of them")
        )
    return settings


def _read(kind: str, name: str) -> tuple[object, str]:
    """Content of configs/<kind>/<name>.yaml, and the file as messages call it."""
    if not re.match(KEY, name) and name in names(kind):
        fix = f"rename it, and its key `name`, as {transliterate(name, 'town')}.yaml"
        raise ConfigError(Problem(file_label(kind, name), "its name", "letters a to z, digits, '_' and '-' alone", fix))
    path = find(kind, name) if re.match(KEY, name) else None
    if path is None:
        raise MissingConfigError(missing(kind, name))
    return read_yaml(path), file_label(kind, name)


def missing(kind: str, name: str) -> Problem:
    """The problem of a configuration that is in no folder: which there are, and where they were looked for.

    Where the folder of a person's own is not there, that is the problem.
    """
    if kind != STUDIES and (problem := missing_configs()) is not None:
        return problem
    studies = names(STUDIES) if kind == "datasets" else []
    known = sorted({*names(kind), *studies})
    former = [name.replace(old, new) for old, new in RENAMED_FILES.items() if name.replace(old, new) in known]
    folders = " or ".join(str(folder / kind) for folder in config_folders())
    expected = one_of(name, names(kind)) + (", or of `landcover studies`" if studies else "")
    noun = {"studies": "study", "searches": "search"}.get(kind, kind.removesuffix("s"))
    fix = f"it is called `{former[0]}` now" if former else did_you_mean(name, known)
    advice = "write the file, or set LANDCOVER_CONFIGS to the folder that holds your `datasets` and `experiments`"
    return Problem(f"{noun} {name!r}", f"no file {name}.yaml in {folders}", expected, fix or advice)
