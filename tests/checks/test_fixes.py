"""Each `Fix:` that the check prints for a list of faults is followed to the letter; the dataset is sound afterwards."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import yaml

from assets.cli import main
from tests import tiny

PROBLEM = re.compile(r"^problem: (?P<where>.*?): (?P<found>.*?)\. Fix: (?P<fix>.*)$", re.MULTILINE)
SETTING = re.compile(r"`([\w.]+): ([^`]+)`")
ROUNDS = 3
"""A fix may uncover another problem; no fault takes more."""


@dataclass(frozen=True)
class Project:
    """A sound dataset of three tiles, in a folder of its own."""

    folder: Path

    @property
    def raw(self) -> Path:
        """Folder of its files."""
        return self.folder / "raw"

    def file(self, kind: str = "datasets", name: str = tiny.NAME) -> Path:
        """A file of its configurations."""
        return self.folder / "configs" / kind / f"{name}.yaml"

    def set(self, path: str, value: object, kind: str = "datasets", name: str = tiny.NAME) -> None:
        """Sets a key, or deletes it where the value is None."""
        content = yaml.safe_load(self.file(kind, name).read_text())
        *parents, last = path.split(".")
        table = content
        for parent in parents:
            table = table.setdefault(parent, {})
        table[last] = value
        if value is None:
            del table[last]
        self.file(kind, name).write_text(yaml.safe_dump(content))

    def replace(self, old: str, new: str) -> None:
        """Replaces a text in all configurations that a person writes."""
        for path in (self.folder / "configs").glob("*/*.yaml"):
            path.write_text(re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", new, path.read_text()))

    def polygons(self, tile: str, change: Callable[[gpd.GeoDataFrame], gpd.GeoDataFrame], **how: Any) -> None:
        """Changes the labels of a tile."""
        path = self.raw / f"{tile}.gpkg"
        changed = change(gpd.read_file(path))
        path.unlink()
        changed.to_file(path, **how)

    def pixels(self, tile: str, change: Callable[[np.ndarray], np.ndarray] = lambda a: a, **profile: Any) -> None:
        """Changes the orthophoto of a tile; `names` are those of its bands."""
        path, names = self.raw / f"{tile}.tif", profile.pop("names", ())
        with rasterio.open(path) as source:
            array, described = change(source.read()), source.profile
        described.update(dtype=array.dtype, count=len(array), **profile)
        path.unlink()
        with rasterio.open(path, "w", **described) as target:
            target.write(array)
            for i, name in enumerate(names, 1):
                target.set_band_description(i, name)


Follow = Callable[[Project, re.Match[str]], None]


def set_what_it_says(project: Project, problem: re.Match[str]) -> None:
    """Sets the first key that the fix states with its value."""
    path, value = SETTING.findall(problem["fix"])[0]
    project.set(path, yaml.safe_load(value))


def take_what_was_meant(project: Project, problem: re.Match[str]) -> None:
    """Writes what the fix supposes in the place of what was found."""
    meant = re.findall(r"did you mean '([^']+)'", problem["fix"])[0]
    given = re.findall(r"'([^']+)'|: (\w+)$", f"{problem['where']}: {problem['found'].partition(';')[0]}")
    wrong = [a or b for a, b in given] or [problem["found"].split(":")[0]]
    project.replace(wrong[0], meant)


def put_in_quotes(project: Project, problem: re.Match[str]) -> None:
    """Writes a value in quotes, as the fix has it; the tile of that name is there then."""
    value, quoted = re.findall(r"put (\S+) in quotes: (\S+?)\.?$", problem["fix"])[0]
    file = project.file()
    file.write_text(file.read_text().replace(f"- {value}", f"- {quoted}"))


def run_the_command(project: Project, problem: re.Match[str]) -> None:
    """Runs the command that the fix ends with, in the folder of the files; what it writes takes the file's place."""
    command = problem["fix"].rpartition(": ")[2].rstrip(".")
    done = subprocess.run(["bash", "-c", command], cwd=project.raw, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (project.raw / "new.csv").replace(project.raw / "test.csv")


def export(project: Project, problem: re.Match[str]) -> None:
    """Sets the variable that the fix exports."""
    name = re.findall(r"export (\w+)=", problem["fix"])[0]
    pytest.MonkeyPatch().setenv(name, str(project.raw))


def by_hand(words: str, follow: Callable[[Project], object]) -> Follow:
    """What a person does whom the fix tells in such words."""

    def followed(project: Project, problem: re.Match[str]) -> None:
        assert words in problem[0]
        follow(project)

    return followed


def set_to(path: str, value: object, words: str, kind: str = "datasets", name: str = tiny.NAME) -> Follow:
    """Sets a key that the fix names to what the problem or the fix offers in such words."""
    return by_hand(words, lambda project: project.set(path, value, kind, name))


def write_recipe(project: Project, **more: object) -> None:
    """Writes the recipe with other keys."""
    tiny.save(project.folder / "configs", "experiments", {**tiny.RECIPE, **more})


def damage(project: Project) -> None:
    """Cuts an orthophoto, whose source stays."""
    path = project.raw / "t0.tif"
    shutil.copy(path, project.folder / "source.tif")
    path.write_bytes(path.read_bytes()[:400])


def copy_again(project: Project) -> None:
    """Copies the orthophoto from its source."""
    shutil.copy(project.folder / "source.tif", project.raw / "t0.tif")


def list_of_tiles(project: Project) -> None:
    """A list of test tiles in latin-1."""
    (project.raw / "test.csv").write_bytes("tile,place\nt2,Süd\n".encode("latin-1"))
    project.set("splits.test", {"from_csv": "test.csv"})


def wrong_crs(number: int | None) -> Callable[[Project], None]:
    """Gives the labels of a tile another CRS, or none, and leaves their coordinates."""
    crs = None if number is None else f"EPSG:{number}"
    return lambda project: project.polygons("t0", lambda frame: frame.set_crs(crs, allow_override=True))


def name_as_a_number(project: Project) -> None:
    """Renames the test tile to what YAML takes for a number."""
    for path in project.raw.glob("t2.*"):
        path.rename(path.with_stem("22978945"))
    file = project.file()
    file.write_text(file.read_text().replace("- t2", "- 22978945"))


BLOCKS = {"block": 5000, "validation": {"blocks": 0.25}, "test": {"blocks": 0.25}}
WATER = ("t0", "t1", "t2")
right_crs = by_hand("ogr2ogr -a_srs EPSG:n", wrong_crs(25830))

FAULTS: dict[str, tuple[Callable[[Project], object], Follow]] = {
    "column": (
        lambda p: p.set("labels.attribute", "codes"),
        set_to("labels.attribute", "code", "there are code; expected"),
    ),
    "unknown code": (
        lambda p: p.polygons("t0", lambda frame: frame.assign(code=["10", "99"])),
        by_hand(
            'add "99" to `codes` of configs/legends/tiny.yaml: a class name, or ignore', lambda p: add_code(p, "99")
        ),
    ),
    "bands": (
        lambda p: p.set("bands", ["red", "green"]),
        set_to("bands", ["red", "green", "blue"], "correct the dataset's `bands`"),
    ),
    "band names": (
        lambda p: [p.pixels(name, names=("blue", "green", "red"), photometric="minisblack") for name in WATER],
        set_to("bands", ["blue", "green", "red"], "give `bands` in the file's order"),
    ),
    "band names that are wrong": (
        lambda p: p.pixels("t0", names=("blue", "green", "red"), photometric="minisblack"),
        set_what_it_says,
    ),
    "band names and colours": (lambda p: p.pixels("t0", names=("blue", "green", "red")), set_what_it_says),
    "float64": (lambda p: p.pixels("t0", lambda a: a.astype("float64")), set_what_it_says),
    "int32": (lambda p: p.pixels("t0", lambda a: a.astype("int32"), nodata=-(2**31)), set_what_it_says),
    "large patch": (lambda p: p.set("patches", {"size": 128, "stride": 128}), set_what_it_says),
    "cron": (
        lambda p: p.set("retraining", {"when": {"cron": "0 25 * * *"}}),
        set_to("retraining.when.cron", "0 3 * * 0", "as '0 3 * * 0'"),
    ),
    "time zone": (
        lambda p: p.set("retraining", {"when": {"cron": "0 5 * * *", "timezone": "Europe/Madird"}}),
        set_to("retraining.when.timezone", "Europe/Madrid", "or 'Europe/Madrid'"),
    ),
    "experiment": (lambda p: p.set("experiments", ["quik"]), take_what_was_meant),
    "legend": (lambda p: p.set("legend", "tny"), take_what_was_meant),
    "model": (lambda p: write_recipe(p, model={"name": "unett"}), take_what_was_meant),
    "key": (lambda p: p.replace("patches", "patchs"), take_what_was_meant),
    "key of a model": (
        lambda p: write_recipe(p, model={**tiny.RECIPE["model"], "weights": "w.pt"}),  # type: ignore[dict-item]
        set_to("model.weights", None, "Fix: delete the key", "experiments", "quick"),
    ),
    "test tile": (
        lambda p: p.set("splits.test.tiles", ["t9"]),
        set_to("splits.test.tiles", ["t2"], "expected one of t0, t1, t2"),
    ),
    "no labels": (
        lambda p: (p.raw / "t0.gpkg").rename(p.folder / "t0.gpkg"),
        by_hand("Fix: add the file", lambda p: (p.folder / "t0.gpkg").rename(p.raw / "t0.gpkg")),
    ),
    "pattern": (
        lambda p: p.set("tiles.image", "{tile}.tiff"),
        set_to("tiles.image", "{tile}.tif", "Fix: correct `tiles.image`"),
    ),
    "metres as degrees": (wrong_crs(4326), right_crs),
    "no CRS": (wrong_crs(None), right_crs),
    "elsewhere": (
        lambda p: p.polygons("t0", lambda frame: frame.set_crs("EPSG:25831", allow_override=True)),
        by_hand("the CRS of one of the files", wrong_crs(25830)),
    ),
    "number": (name_as_a_number, put_in_quotes),
    "blocks": (lambda p: p.set("splits", BLOCKS), set_what_it_says),
    "one class": (
        lambda p: [p.polygons(name, lambda frame: frame[frame.code == "20"]) for name in WATER],
        set_what_it_says,
    ),
    "root": (
        lambda p: p.set("root", "/nowhere/at/all"),
        by_hand("correct `root`", lambda p: p.set("root", str(p.raw))),
    ),
    "variable": (lambda p: p.set("root", "${NO_SUCH_VARIABLE}"), export),
    "cut orthophoto": (damage, by_hand("copy the file again from its source", copy_again)),
    "cut labels": (
        lambda p: (
            shutil.copy(p.raw / "t0.gpkg", p.folder / "t0.gpkg"),
            (p.raw / "t0.gpkg").write_bytes(b"junk"),
        ),
        by_hand("restore the file", lambda p: shutil.copy(p.folder / "t0.gpkg", p.raw / "t0.gpkg")),
    ),
    "layer": (
        lambda p: p.set("labels.layer", "landcover"),
        set_to("labels.layer", "labels", "the file has labels"),
    ),
    "feature number": (
        lambda p: p.set("labels.id", "fid"),
        set_to("labels.id", None, "leave `labels.id` empty"),
    ),
    "latin-1": (list_of_tiles, run_the_command),
}


def add_code(project: Project, code: str) -> None:
    """Adds a code to the legend, to its codes and to the order of burning."""
    project.set("codes", {**tiny.LEGEND["codes"], code: "ignore"}, "legends")  # type: ignore[dict-item]
    project.set("burn_order", [*tiny.LEGEND["burn_order"], code], "legends")


@pytest.fixture
def project(configs: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The sound dataset; a variable that a fix sets is taken back."""
    monkeypatch.delenv("NO_SUCH_VARIABLE", raising=False)
    tiny.write(configs, tmp_path / "raw")
    return Project(tmp_path)


def checked(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """What `landcover check` says of the dataset: its exit code, and its lines."""
    code = main(["check", tiny.NAME])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_fix_says_mends_the_fault(fault: str, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    make, follow = FAULTS[fault]
    assert checked(capsys)[0] == 0
    make(project)
    code, text = checked(capsys)
    assert code == 1
    for _ in range(ROUNDS):
        problem = PROBLEM.search(text)
        assert problem, text
        follow(project, problem)
        code, text = checked(capsys)
        if code == 0:
            break
    assert code == 0, text
