"""Outcomes of a case against what the product says and makes: a generator of differences, empty where it is right."""

from __future__ import annotations

import csv
import json
import os
import re
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml

from landcover_orch import config
from tests.cases import lineage
from tests.cases.case import NAME, Case, Outcome, copy_after, copy_case
from tests.cases.lineage import LAST, PREPARED, Attempt
from tests.cases.renamed import renamed_path, set_key

STAGES = ("check", "ground_truth", "dataset_manifest", "model")
"""Stages at which a problem may be reported, in order."""

FILE_OR_KEY = re.compile(r"\.(tiff?|gpkg|geojson|shp|csv|yaml|json)\b|`[\w.]+`|\w+\.\w+: |dataset \w+", re.IGNORECASE)
SETTING = re.compile(r"`([\w.]+): ([^`]+)`")
IGNORE = 255


class CaseRun:
    """A case being run in a folder of its own: each stage at most once, and none that no outcome asks for.

    Workflows go on from a project that was materialised up to the asset `depth`.
    """

    def __init__(self, case: Case, folder: Path, dagster: Any, depth: str = LAST) -> None:
        self.case, self.folder, self.dagster, self.depth = case, folder, dagster, depth
        self.digest_before = ""
        self.runs_before: set[str] = set()
        self._attempts: dict[str, Attempt] = {}

    @property
    def products(self) -> Path:
        """Where the dataset's products lie."""
        return self.folder / "home" / NAME

    def attempt(self, stage: str, work: Callable[[], Attempt]) -> Attempt:
        """What came of a stage, which runs when it is first asked for."""
        if stage not in self._attempts:
            self._attempts[stage] = lineage.guarded(work)
        return self._attempts[stage]

    @property
    def check(self) -> Attempt:
        """What the check says."""
        return self.attempt("check", lineage.check)

    def through(self, asset: str) -> Attempt:
        """The lineage up to the stage of an asset; what failed once is not tried again."""
        failed = [attempt for stage, attempt in self._attempts.items() if stage != "check" and attempt.failed]
        return (
            failed[0]
            if failed
            else self.attempt(asset, lambda: lineage.run(self.dagster, lineage.assets_through(self.dagster, asset)))
        )

    def at(self, stage: str) -> Attempt:
        """What a stage says, by its name in the cases."""
        return self.check if stage == "check" else self.through(stage)

    def forget(self) -> None:
        """Files or keys changed: stages may run again."""
        self._attempts.clear()

    def set_key(self, path: str, value: object) -> None:
        """Writes a key of the dataset."""
        file = self.folder / "configs" / "datasets" / f"{NAME}.yaml"
        text = set_key(file.read_text(encoding="utf-8"), renamed_path("datasets", path), value)
        file.write_text(text, encoding="utf-8")
        self.forget()


def differences(run: CaseRun, outcome: Outcome) -> Iterator[str]:
    """What is not as an outcome says; whoever asks for the first alone pays for no stage behind it."""
    if run.case.workflow:
        yield from _works(run, run.depth)
        run.digest_before, run.runs_before = lineage.training_digest(), lineage.run_ids(run.dagster)
        copy_after(run.case, run.folder)
        run.forget()
    yield from KINDS[outcome["is"]](run, outcome)
    for key, compare in COMPARISONS.items():
        if key in outcome:
            yield from compare(run, outcome)


def _works(run: CaseRun, asset: str) -> Iterator[str]:
    failed = run.through(asset).failed
    if failed:
        yield f"{asset}: {failed}"


def _accepted(run: CaseRun, _: Outcome) -> Iterator[str]:
    if run.check.failed:
        yield run.check.failed
    if not run.case.workflow:  # of which it is first asked what is stale
        yield from _works(run, "ground_truth")
    yield from _same_answer_everywhere(run)


def _noted(run: CaseRun, outcome: Outcome) -> Iterator[str]:
    if outcome["at"] == "sensor":
        yield from _ticked(run, outcome)
        return
    if run.check.failed:
        yield run.check.failed
    notes = run.check.notes
    if not _holding(notes, outcome["says"]) or outcome["at"] != "check":
        yield from _works(run, "ground_truth" if outcome["at"] == "check" else outcome["at"])
        notes += run.through("ground_truth").notes if outcome["at"] != "check" else ()
    if not _holding(notes, outcome["says"]) and not _installed(outcome.get("unless_installed")):
        yield f"no note with {', '.join(outcome['says'])}; notes: {'; '.join(run.check.notes) or 'none'}"
    yield from _works(run, "ground_truth")


def _refused(run: CaseRun, outcome: Outcome) -> Iterator[str]:
    attempts = list(_attempts(run, outcome))
    for attempt in attempts:
        if attempt.crash:
            yield f"traceback: {attempt.crash}"
    problems = [problem for attempt in attempts for problem in attempt.problems]
    right = _holding(problems, outcome["says"])
    if not right:
        yield f"no problem with {', '.join(outcome['says'])}; problems: {'; '.join(problems) or 'none'}"
    elif not FILE_OR_KEY.search(right):
        yield f"neither file nor key is named: {right}"
    elif "Traceback" in right:
        yield f"a traceback: {right}"
    else:
        yield from _fix_works(run, right)
    yield from _same_answer_everywhere(run)


def _fix_works(run: CaseRun, message: str) -> Iterator[str]:
    """Where a case may be accepted too, a setting that a message advises (`key: value`) leads there."""
    accepted = [outcome for outcome in run.case.outcomes if outcome["is"] == "accepted" and "counts" in outcome]
    settings = dict(SETTING.findall(message))
    if not accepted or not settings:
        return
    for path, value in settings.items():
        restart(run)
        run.set_key(path, yaml.safe_load(value))
        if next(chain(_accepted(run, accepted[0]), _counts(run, accepted[0])), None) is None:
            return
    yield f"the fix does not work: {settings}"


def _attempts(run: CaseRun, outcome: Outcome) -> Iterator[Attempt]:
    """What each stage reports, up to the one at which the problem must be reported."""
    if outcome["at"] == "definitions":
        yield lineage.load_definitions()[1]
        return
    if "exit_code" in outcome:
        yield run.check
        yield run.attempt("command", lineage.run_command)
        return
    for stage in STAGES[: STAGES.index(outcome["at"]) + 1]:
        attempt = run.at(stage)
        yield attempt
        if _holding(attempt.problems, outcome["says"]):
            return


def _holding(texts: Sequence[str], says: Sequence[str]) -> str | None:
    """The first text that holds all of `says`, without regard to case; names of a letter or two as words."""
    for text in texts:
        if all(_pattern(expected).search(text) for expected in says):
            return text
    return None


def _pattern(text: str) -> re.Pattern[str]:
    word = re.escape(text)
    return re.compile(rf"(?<![^\W_]){word}(?![^\W_])" if len(text) <= 2 and text.isalnum() else word, re.IGNORECASE)


def _installed(grid: str | None) -> bool:
    """Whether a grid of PROJ lies where one of its two copies looks."""
    if grid is None:
        return False
    import pyproj

    packages = Path(sysconfig.get_paths()["purelib"])
    folders = [Path(pyproj.datadir.get_data_dir()), Path(pyproj.datadir.get_user_data_dir())]
    folders += [packages / "rasterio" / "proj_data", packages / "pyogrio" / "proj_data"]
    folders += [Path(folder) for folder in os.environ.get("PROJ_DATA", "").split(os.pathsep) if folder]
    return any((folder / grid).exists() for folder in folders)


def _same_answer_everywhere(run: CaseRun) -> Iterator[str]:
    """A relative root is answered alike from every working folder."""
    text = (run.folder / "configs" / "datasets" / f"{NAME}.yaml").read_text(encoding="utf-8")
    root = str(yaml.load(text, yaml.BaseLoader)["root"])  # noqa: S506 - texts alone
    if root.startswith("$") or Path(root).is_absolute():
        return
    here = Path.cwd()
    try:
        os.chdir(run.folder / "configs")
        there = lineage.guarded(lineage.check)
    finally:
        os.chdir(here)
    if told(there) != told(run.check):
        yield f"{run.check.failed or 'accepted'} here, {there.failed or 'accepted'} from another working folder"


def told(attempt: Attempt) -> list[str]:
    """What an attempt says, with paths of configurations by their last folder: they are shown as seen from here."""
    return [re.sub(r"\S*/(datasets/\w+\.yaml)", r"\1", text) for text in (*attempt.problems, *attempt.notes)]


def _counts(run: CaseRun, outcome: Outcome) -> Iterator[str]:
    yield from _works(run, "ground_truth")
    for tile, counts in outcome["counts"].items():
        expected = np.load(run.case.folder / "expected" / f"{tile}.npy")
        classes = _classes(run, tile)
        values, numbers = np.unique(classes, return_counts=True)
        if classes.shape != expected.shape or not np.array_equal(classes, expected):
            histogram = dict(zip(values.tolist(), numbers.tolist(), strict=True))
            wrong = int((classes != expected).sum()) if classes.shape == expected.shape else classes.size
            yield f"ground truth of {tile}: {wrong} px wrong, {histogram} px by class for {counts}"


def _classes(run: CaseRun, tile: str) -> Any:
    with rasterio.open(run.products / "ground_truth" / tile / "classes.tif") as file:
        return file.read(1)


def _manifest(run: CaseRun) -> Any:
    return json.loads((run.products / "dataset_manifest" / "dataset" / "dataset.json").read_text(encoding="utf-8"))


def _splits(run: CaseRun, outcome: Outcome) -> Iterator[str]:
    yield from _works(run, "dataset_manifest")
    splits = {
        tile["name"]: "+".join(name for name in ("train", "validation", "test") if tile["counts"].get(name))
        for tile in _manifest(run)["tiles"]
    }
    if splits != outcome["splits"]:
        yield f"splits {splits} for {outcome['splits']}"


def _statistics(run: CaseRun, outcome: Outcome) -> Iterator[str]:
    yield from _works(run, "dataset_manifest")
    bands = {band["name"]: band for band in _manifest(run)["bands"]}
    for name, expected in outcome["statistics"].items():
        for value in ("mean", "std"):
            if not abs(bands[name][value] - expected[value]) <= expected["tolerance"]:
                yield f"{value} of {name} is {bands[name][value]:.4f} for {expected[value]}"


def _mended(run: CaseRun, outcome: Outcome) -> Iterator[str]:
    for path, value in outcome["mended_by"].items():
        run.set_key(path, value)
    yield from _works(run, "ground_truth")


def _advice(run: CaseRun, outcome: Outcome) -> Iterator[str]:
    note = _holding(run.check.notes, outcome["says"]) or ""
    settings: Mapping[str, str] = dict(SETTING.findall(note))
    hidden = 0
    for path, value in settings.items():
        run.set_key(path, yaml.safe_load(value))
        failed = run.through("ground_truth").failed
        hidden = 0 if failed else int((_classes(run, next(iter(outcome["counts"]))) == IGNORE).sum())
        if hidden == outcome["hidden_where_its_advice_is_followed"]:
            return
    expected = outcome["hidden_where_its_advice_is_followed"]
    yield f"{hidden} px hidden for {expected} where the advice is followed: {settings or 'none is given'}"


def _built(run: CaseRun, outcome: Outcome) -> Iterator[str]:
    if run.case.workflow and run.depth != LAST:
        return
    run.through("land_cover_map" if run.case.workflow else "patches")
    for tile in outcome["built"]:
        labelled = any((run.folder / "raw").glob(f"{tile}.gpkg"))
        asset = "patches" if labelled else "land_cover_map"
        if not (run.products / asset / tile).is_dir():
            yield f"{asset} of {tile} was not built"


def _loads(run: CaseRun, outcome: Outcome) -> Iterator[str]:
    missing = set(outcome["loads"]) - lineage.load_definitions()[0]
    if missing:
        yield f"{', '.join(sorted(missing))} does not load"
    yield from _works(run, "ground_truth")


def _champion(run: CaseRun, outcome: Outcome) -> Iterator[str]:
    if run.depth != LAST:
        return
    if "exit_code" not in outcome:
        yield from _works(run, "champion")
    path = run.products / "champion" / "champion" / "champion.json"
    elected = json.loads(path.read_text(encoding="utf-8"))["experiment"] if path.is_file() else None
    if elected != outcome["champion"]:
        yield f"the champion is {elected} for {outcome['champion']}"
    yield from _leaderboard(run)


def _leaderboard(run: CaseRun) -> Iterator[str]:
    """Every experiment stands on the leaderboard, those that failed last, with the reason."""
    path = run.products / "leaderboard" / "leaderboard" / "leaderboard.csv"
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.is_file() else []
    names = {row["experiment"] for row in rows}
    missing = set(config.experiments_of(config.load_dataset(NAME))) - names
    if missing:
        yield f"not on the leaderboard: {', '.join(sorted(missing))}; rows: {', '.join(sorted(names)) or 'none'}"
    failed = [bool(row["failed"]) for row in rows]
    if failed != sorted(failed):
        yield f"what failed is not last: {[row['experiment'] for row in rows]}"
    untrained = [row["experiment"] for row in rows if not row["mean_iou"] and not row["failed"]]
    if untrained:
        yield f"neither a score nor a reason: {', '.join(untrained)}"


def _exit_code(run: CaseRun, _: Outcome) -> Iterator[str]:
    if not run.attempt("command", lineage.run_command).exit_code:
        yield "exit code 0"


def _stale(run: CaseRun, outcome: Outcome) -> Iterator[str]:
    compared = lineage.assets_through(run.dagster, run.depth)
    stale = {entry for entry in lineage.stale(run.dagster) if _asset(entry) in compared}
    expected = {entry for entry in outcome["stale"] if _asset(entry) in compared}
    missing = {entry for entry in expected if entry not in stale | {_asset(known) for known in stale}}
    if missing:
        yield f"not stale: {', '.join(sorted(missing))}; stale: {', '.join(sorted(stale)) or 'nothing'}"
    tiles = {entry.partition(" ")[2] for entry in expected}
    of_tile_stage = lineage.assets_through(run.dagster, "ground_truth")
    of_tiles = {entry for entry in stale if _asset(entry) in of_tile_stage}
    more = {entry for entry in of_tiles if entry.partition(" ")[2] not in tiles} if expected else stale
    if more:
        yield f"stale as well: {', '.join(sorted(more))}"


def _asset(entry: str) -> str:
    return entry.partition(" ")[0]


def _not_stale(run: CaseRun, outcome: Outcome) -> Iterator[str]:
    yield from _works(run, PREPARED)
    if run.depth != LAST:
        if lineage.training_digest() != run.digest_before:
            yield "the digest of what training reads is another one"
        return
    stale = {_asset(entry) for entry in lineage.stale(run.dagster)} & set(outcome["not_stale"])
    if stale:
        yield f"stale: {', '.join(sorted(stale))}"
    yield from _works(run, run.depth)
    ran = lineage.materialised(run.dagster, run.runs_before)
    again = {entry for entry in ran if _asset(entry) in outcome["not_stale"]}
    if again:
        yield f"materialised again: {', '.join(sorted(again))}"


def _class_at(run: CaseRun, outcome: Outcome) -> Iterator[str]:
    yield from _works(run, "ground_truth")
    pixel = outcome["class_at"]
    class_id = int(_classes(run, pixel["tile"])[pixel["row"], pixel["col"]])
    if class_id != pixel["id"]:
        yield f"class {class_id} for {pixel['id']} at ({pixel['row']}, {pixel['col']}) of {pixel['tile']}"


def _ticked(run: CaseRun, outcome: Outcome) -> Iterator[str]:
    answer = {}

    def tick() -> Attempt:
        answer["added"], answer["text"] = lineage.tick(run.dagster)
        return Attempt()

    failed = run.attempt("sensor", tick).failed
    if failed:
        yield f"sensor: {failed}"
        return
    if answer["added"] != outcome["new_partitions"]:
        yield f"new partitions {answer['added']} for {outcome['new_partitions']}"
    if not _holding([answer["text"]], outcome["says"]):
        yield f"the sensor does not tell of {', '.join(outcome['says'])}"


KINDS: dict[str, Callable[[CaseRun, Outcome], Iterator[str]]] = {
    "accepted": _accepted,
    "noted": _noted,
    "refused": _refused,
}
COMPARISONS: dict[str, Callable[[CaseRun, Outcome], Iterator[str]]] = {
    "mended_by": _mended,
    "counts": _counts,
    "splits": _splits,
    "statistics": _statistics,
    "stale": _stale,
    "not_stale": _not_stale,
    "class_at": _class_at,
    "champion": _champion,
    "exit_code": _exit_code,
    "built": _built,
    "loads": _loads,
    "hidden_where_its_advice_is_followed": _advice,
}
"""Keys of an outcome in the order in which they are compared; `at_most` is measured in a process of its own."""


def restart(run: CaseRun) -> None:
    """The files of the case as they were before anything happened to them."""
    copy_case(run.case, run.folder)
    run.forget()
