"""Each partition of a plan is current, or says why its product is not what a build would publish now: by the disk."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landcover_orch.errors import BusyError, ConfigError, LabelError, Problem, TrackingError
from landcover_orch.planner import Asset, Build, Dependency, Partition, Plan, Run, State, Step, by_hand, next_runs, plan
from landcover_orch.store import publish
from landcover_orch.store.publish import MANIFEST, Product, Recipe, Stage

TILES: tuple[Partition, ...] = ("a", "b", "c")
FAULT = Problem("a.tif", "cut short", "a raster", "copy it again")
NOBODY = "nobody can say"


@dataclass
class Inputs:
    """What an asset is made of besides its upstream, and what goes wrong with it."""

    sources: dict[str, str] = field(default_factory=dict)
    """Input -> its version, of all partitions."""

    files: dict[Partition, str] = field(default_factory=dict)
    """Version of a partition's own file."""

    settings: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    broken: set[Partition] = field(default_factory=set)
    """Partitions whose build ends with an error about inputs."""

    unclear: set[Partition] = field(default_factory=set)
    """Partitions of which no recipe can be given."""

    unprepared: bool = False
    """Whether the builder itself raises."""


class Lineage:
    """Assets over small products below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.assets: list[Asset] = []
        self.inputs: dict[str, Inputs] = {}
        self.built: list[tuple[str, Partition]] = []
        """Builds that did some work, in order."""

    def add(
        self,
        name: str,
        upstream: Sequence[str | Dependency] = (),
        partitions: tuple[Partition, ...] = TILES,
        *,
        stage: str = "prepare",
        stands: str | None = None,
        partitioning: str | None = "tiles",
        per_run: int = 1,
    ) -> Inputs:
        """Adds an asset; gives what it is made of, to be changed."""
        given_inputs = self.inputs[name] = Inputs()
        asset = Asset(
            name=name,
            stage=stage,
            dependencies=tuple(Dependency(u) if isinstance(u, str) else u for u in upstream),
            partitions=partitions,
            partitioning=None if partitions == (None,) else partitioning,
            builder=lambda: self.builder(name),
            products=self.root / name,
            stands=lambda: stands is not None and (self.root / name / stands).exists(),
            per_run=per_run,
        )
        self.assets.append(asset)
        return given_inputs

    def builder(self, name: str) -> Build:
        """What builds a partition of an asset."""
        if self.inputs[name].unprepared:
            raise ConfigError(Problem(f"configs/{name}.yaml", "an unknown key", "one of the keys", "delete the key"))
        return lambda partition: self.build(name, partition)

    def build(self, name: str, partition: Partition) -> Product:
        """Publishes a partition of an asset, as the builds of the library do."""
        given_inputs = self.inputs[name]
        if partition in given_inputs.unclear:
            raise LabelError(Problem(f"{partition}.gpkg", NOBODY, "a recipe", "write it"))

        def write(stage: Stage) -> None:
            if partition in given_inputs.broken:
                raise LabelError(FAULT)
            self.built.append((name, partition))
            stage.write_json("summary.json", {"text": f"{name} {partition}"})

        return publish.publish(self.root / name, self.product(partition), self.recipe(name, partition), write)

    def recipe(self, name: str, partition: Partition) -> Recipe:
        """Of what a partition would be built now: its own sources and the products upstream that are there."""
        given_inputs, asset = self.inputs[name], self.asset(name)
        inputs: dict[str, Any] = dict(given_inputs.sources)
        if partition in given_inputs.files:
            inputs["file"] = given_inputs.files[partition]
        for dependency in asset.dependencies:
            upstream = self.asset(dependency.asset)
            for key in asset.reads(upstream, dependency, partition):
                products = self.root / upstream.name
                if (products / self.product(key)).exists():
                    product = publish.current(products, self.product(key))
                    inputs[f"{upstream.name} {self.product(key)}"] = product.fingerprint
        return Recipe(name, given_inputs.version, inputs, given_inputs.settings)

    @staticmethod
    def product(partition: Partition) -> str:
        """Name of a partition's product."""
        return partition or "all"

    def asset(self, name: str) -> Asset:
        """An asset by its name."""
        return next(asset for asset in self.assets if asset.name == name)

    def plan(
        self,
        held: Callable[[Step], str | None] = lambda step: None,
        examined: dict[tuple[str, Partition], Step] | None = None,
    ) -> Plan:
        """The plan of all assets."""
        return plan(self.assets, held, examined)

    def make(self) -> list[tuple[str, Partition]]:
        """Builds round by round what the plan gives, until it gives nothing; what was built, in order."""
        self.built.clear()
        for _ in range(100):
            described = self.plan()
            runs = next_runs(described)
            if not runs:
                return self.built
            for run in runs:
                self.execute(described, run)
        raise AssertionError(f"the plan never rests: {[str(step) for step in self.plan().of(State.BUILD)]}")

    def execute(self, described: Plan, run: Run) -> None:
        """Builds the steps of a run in order; what is made of a step that failed is left out."""
        stopped: set[tuple[str, Partition]] = set()
        for step in run.steps:
            upstream = {known.key for _, known, _ in described.upstream(self.asset(step.asset), step.partition)}
            try:
                if not upstream & stopped:
                    self.builder(step.asset)(step.partition)
                    continue
            except (LabelError, ConfigError):
                pass
            stopped.add(step.key)

    def path(self, name: str, partition: Partition) -> Path:
        """Folder of a current product."""
        return (self.root / name / self.product(partition)).resolve()


@pytest.fixture
def chain(tmp_path: Path) -> Lineage:
    """Three tiles in two steps, a table of all of them, and a page of the table."""
    lineage = Lineage(tmp_path)
    lineage.add("truth", per_run=50)
    lineage.add("patches", ["truth"], per_run=50)
    lineage.add("table", ["truth", "patches"], (None,), stage="manifest")
    lineage.add("page", ["table"], (None,), stage="report")
    return lineage


def states(described: Plan, asset: str) -> list[State]:
    """States of an asset's partitions in order."""
    return [step.state for step in described.steps.values() if step.asset == asset]


def snapshot(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every path below a folder with what would show that it was touched."""
    return {
        path.relative_to(folder).as_posix(): (
            path.lstat().st_ino,
            path.lstat().st_mtime_ns,
            str(path.readlink()) if path.is_symlink() else path.read_text() if path.is_file() else "",
        )
        for path in folder.rglob("*")
    }


# missing, stale, damaged, asked for


def test_of_nothing_the_first_assets_are_missing_and_the_others_wait(chain: Lineage) -> None:
    described = chain.plan()
    assert [step.asset for step in described.steps.values()] == ["truth"] * 3 + ["patches"] * 3 + ["table", "page"]
    first = described.steps["truth", "b"]
    assert (first.state, first.reason, first.problems) == (State.BUILD, "missing: nothing published", ())
    assert first.fingerprint == chain.recipe("truth", "b").fingerprint
    assert described.steps["patches", "b"].state is State.WAITING
    assert described.steps["patches", "b"].reason == "waits for truth b"
    assert described.steps["table", None].reason == "waits for truth a and 5 more"
    assert described.steps["page", None].reason == "waits for table"
    assert not described.up_to_date


def test_what_was_built_is_current_until_something_changes(chain: Lineage) -> None:
    assert chain.make() == [*((a, t) for a in ("truth", "patches") for t in TILES), ("table", None), ("page", None)]
    described = chain.plan()
    assert described.up_to_date
    assert {(step.reason, step.problems) for step in described.steps.values()} == {("", ())}
    assert described.steps["truth", "b"].fingerprint == publish.current(chain.root / "truth", "b").fingerprint
    assert chain.make() == []


CHANGES: list[tuple[str, Mapping[str, Any], str]] = [
    ("input", {"sources": {"image": "2", "label": "1"}}, "image changed"),
    ("two inputs", {"sources": {"image": "2", "label": "2"}}, "image, label changed"),
    ("new input", {"sources": {"image": "1", "label": "1", "roads": "1"}}, "roads new"),
    ("input gone", {"sources": {"image": "1"}}, "label gone"),
    ("input renamed", {"sources": {"image": "1", "labels": "1"}}, "labels new; label gone"),
    ("setting", {"settings": {"size": 64, "grid": {"x": 1}}}, "setting size changed"),
    ("inner setting", {"settings": {"size": 32, "grid": {"x": 2}}}, "setting grid.x changed"),
    ("new setting", {"settings": {"size": 32, "grid": {"x": 1, "y": 1}}}, "setting grid.y new"),
    ("setting gone", {"settings": {"grid": {"x": 1}}}, "setting size gone"),
    ("code", {"version": 2}, "code version 1 -> 2"),
    (
        "all",
        {"version": 2, "sources": {"image": "2", "label": "1"}, "settings": {"size": 64, "grid": {"x": 1}}},
        "code version 1 -> 2; image changed; setting size changed",
    ),
]


@pytest.mark.parametrize(("change", "reason"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_a_stale_product_says_exactly_what_changed(chain: Lineage, change: Mapping[str, Any], reason: str) -> None:
    before = Inputs(sources={"image": "1", "label": "1"}, settings={"size": 32, "grid": {"x": 1}})
    chain.inputs["page"] = before
    chain.make()
    chain.inputs["page"] = replace(before, **change)
    described = chain.plan()
    assert described.of(State.BUILD) == [described.steps["page", None]]
    assert described.steps["page", None].reason == reason
    assert len(described.of(State.CURRENT)) == 7
    assert chain.make() == [("page", None)]


def test_a_tile_that_came_or_went_is_a_change_of_the_set_of_inputs(chain: Lineage) -> None:
    chain.make()
    for name in ("truth", "patches"):
        asset = chain.asset(name)
        chain.assets[chain.assets.index(asset)] = replace(asset, partitions=("a", "b"))
    described = chain.plan()
    assert [(step.name, step.reason) for step in described.of(State.BUILD)] == [("table", "patches c, truth c gone")]
    assert described.of(State.WAITING) == [described.steps["page", None]]
    for name in ("truth", "patches"):
        asset = chain.asset(name)
        chain.assets[chain.assets.index(asset)] = replace(asset, partitions=("a", "b", "c", "d"))
    assert {step.name for step in chain.plan().of(State.BUILD)} == {"truth d"}
    for tile in ("truth", "patches"):
        chain.build(tile, "d")
    assert chain.plan().steps["table", None].reason == "patches d, truth d new"


def test_a_change_of_one_tile_reaches_what_is_made_of_it_alone(chain: Lineage) -> None:
    chain.make()
    chain.inputs["truth"].files["b"] = "2"
    described = chain.plan()
    assert {step.name: step.reason for step in described.of(State.BUILD)} == {"truth b": "file new"}
    assert {step.name for step in described.of(State.WAITING)} == {"patches b", "table", "page"}
    assert chain.make() == [("truth", "b"), ("patches", "b"), ("table", None), ("page", None)]


def test_what_comes_out_the_same_stops_the_chain(chain: Lineage) -> None:
    chain.make()
    shutil.rmtree(chain.path("truth", "b"))
    assert {step.name for step in chain.plan().of(State.WAITING)} == {"patches b", "table", "page"}
    assert chain.make() == [("truth", "b")]


def _file_gone(product: Path) -> None:
    (product / "summary.json").unlink()


def _other_size(product: Path) -> None:
    (product / "summary.json").write_text("{}")


def _manifest_gone(product: Path) -> None:
    (product / MANIFEST).unlink()


def _manifest_cut(product: Path) -> None:
    (product / MANIFEST).write_text((product / MANIFEST).read_text()[:-40])


def _manifest_empty(product: Path) -> None:
    (product / MANIFEST).write_bytes(b"")


def _other_schema(product: Path) -> None:
    (product / MANIFEST).write_text(json.dumps({**json.loads((product / MANIFEST).read_text()), "schema": 99}))


def _other_json(product: Path) -> None:
    (product / MANIFEST).write_text("[]")


def _no_files(product: Path) -> None:
    manifest = json.loads((product / MANIFEST).read_text())
    (product / MANIFEST).write_text(json.dumps({"schema": manifest["schema"], "recipe": manifest["recipe"]}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_file_gone, "summary.json: missing or changed"),
        (_other_size, "summary.json: missing or changed"),
        (_manifest_gone, "no manifest.json"),
        (_manifest_cut, "no JSON"),
        (_manifest_empty, "no JSON"),
        (_other_schema, "another version of landcover_orch"),
        (_other_json, "manifest.json"),
        (_no_files, "manifest.json"),
    ],
)
def test_a_damaged_product_is_built_again(chain: Lineage, damage: Callable[[Path], None], words: str) -> None:
    chain.make()
    before = chain.path("patches", "b")
    damage(before)
    described = chain.plan()
    step = described.steps["patches", "b"]
    assert described.of(State.BUILD) == [step]
    assert step.reason.startswith("damaged: ")
    assert words in step.reason
    assert chain.make() == [("patches", "b")]
    assert chain.path("patches", "b") == before
    assert chain.plan().up_to_date


def test_a_product_whose_folder_is_gone_is_missing(chain: Lineage) -> None:
    chain.make()
    shutil.rmtree(chain.path("patches", "b"))
    assert (chain.root / "patches" / "b").is_symlink()
    described = chain.plan()
    assert [(step.name, step.reason) for step in described.of(State.BUILD)] == [
        ("patches b", "missing: its files are gone")
    ]
    assert chain.make() == [("patches", "b")]


def test_a_product_without_its_link_is_missing_and_found_again(chain: Lineage) -> None:
    chain.make()
    (chain.root / "patches" / "b").unlink()
    described = chain.plan()
    assert [(step.name, step.reason) for step in described.of(State.BUILD)] == [
        ("patches b", "missing: no link to its product")
    ]
    assert chain.make() == [], "the product itself is whole: it is linked again"
    assert chain.plan().up_to_date


def test_a_folder_of_products_that_is_gone_is_missing(chain: Lineage) -> None:
    chain.make()
    shutil.rmtree(chain.root / "page")
    assert chain.plan().steps["page", None].reason == "missing: nothing published"
    assert not (chain.root / "page").exists()
    assert chain.make() == [("page", None)]


def test_what_is_asked_for_is_built_again_and_nothing_else(chain: Lineage) -> None:
    chain.make()
    assert publish.request_rebuild(chain.root / "patches", "b")
    described = chain.plan()
    assert [(step.name, step.reason) for step in described.of(State.BUILD)] == [
        ("patches b", "a rebuild was asked for")
    ]
    assert chain.make() == [("patches", "b")]


def test_a_step_of_several_products_is_current_where_all_of_them_are(tmp_path: Path) -> None:
    def build(partition: Partition) -> dict[tuple[str, ...], Product]:
        recipes = {tile: Recipe("maps", 1, {tile: versions[tile]}, {}) for tile in "abc"}
        return {
            (tile,): publish.publish(tmp_path / "maps", tile, recipe, lambda stage: stage.write_json("map.json", 1))
            for tile, recipe in recipes.items()
        }

    versions = dict.fromkeys("abc", "1")
    assets = [Asset("maps", "map", (), (None,), None, lambda: build)]
    build(None)
    first = plan(assets).steps["maps", None]
    assert first.state is State.CURRENT
    versions["b"] = "2"
    step = plan(assets).steps["maps", None]
    assert (step.state, step.reason) == (State.BUILD, "b changed")
    build(None)
    assert plan(assets).steps["maps", None].fingerprint not in (None, first.fingerprint)
    shutil.rmtree((tmp_path / "maps" / "c").resolve())
    assert plan(assets).steps["maps", None].reason.startswith("missing: ")


# failed and blocked


@pytest.fixture
def failed(chain: Lineage) -> Lineage:
    """The chain after the truth of tile b failed."""
    chain.inputs["truth"].broken = {"b"}
    chain.make()
    return chain


def test_a_failed_build_is_not_asked_for_again(failed: Lineage) -> None:
    described = failed.plan()
    step = described.steps["truth", "b"]
    assert (step.state, step.reason, step.problems) == (State.FAILED, str(FAULT), (FAULT,))
    assert described.of(State.BUILD, State.WAITING) == []
    assert failed.make() == []


def test_a_failed_step_blocks_the_same_partition_and_what_reads_all_goes_on(failed: Lineage) -> None:
    assert failed.built == [
        ("truth", "a"),
        ("truth", "c"),
        ("patches", "a"),
        ("patches", "c"),
        ("table", None),
        ("page", None),
    ]
    described = failed.plan()
    blocked = described.steps["patches", "b"]
    assert (blocked.state, blocked.problems) == (State.BLOCKED, (FAULT,))
    assert blocked.reason == f"truth b failed: {FAULT}"
    assert described.steps["table", None].state is State.CURRENT
    assert described.steps["page", None].state is State.CURRENT


def test_a_failed_step_is_asked_for_with_other_inputs(failed: Lineage) -> None:
    failed.inputs["truth"].broken = set()
    failed.inputs["truth"].files["b"] = "2"
    assert failed.plan().steps["truth", "b"].state is State.BUILD
    assert failed.make() == [("truth", "b"), ("patches", "b"), ("table", None), ("page", None)]
    assert failed.plan().up_to_date
    assert publish.failure(failed.root / "truth", "b") is None


def test_a_failed_step_is_asked_for_by_a_newer_code_version_and_by_a_person(failed: Lineage) -> None:
    failed.inputs["truth"].version = 2
    assert failed.plan().steps["truth", "b"].state is State.BUILD
    failed.inputs["truth"].version = 1
    assert failed.plan().steps["truth", "b"].state is State.FAILED
    publish.request_rebuild(failed.root / "truth", "b")
    assert failed.plan().steps["truth", "b"].state is State.BUILD


def test_a_former_product_does_not_hide_a_failure_of_the_present_inputs(chain: Lineage) -> None:
    chain.make()
    chain.inputs["truth"].files["b"] = "2"
    chain.inputs["truth"].broken = {"b"}
    chain.make()
    described = chain.plan()
    assert described.steps["truth", "b"].state is State.FAILED
    assert described.steps["patches", "b"].state is State.BLOCKED, "its product is of the former tile"
    del chain.inputs["truth"].files["b"]
    assert chain.plan().up_to_date, "the former file is back, and so are its products"


def test_a_rebuild_that_was_asked_for_and_failed_is_not_asked_for_again(chain: Lineage) -> None:
    chain.make()
    chain.inputs["truth"].broken = {"b"}
    publish.request_rebuild(chain.root / "truth", "b")
    assert chain.plan().steps["truth", "b"].state is State.BUILD
    with pytest.raises(LabelError):
        chain.build("truth", "b")
    assert chain.plan().steps["truth", "b"].state is State.FAILED
    publish.request_rebuild(chain.root / "truth", "b")
    assert chain.plan().steps["truth", "b"].state is State.BUILD, "a person asks once more"


@pytest.mark.parametrize("error", [BusyError, TrackingError])
def test_trouble_around_a_build_is_no_failure_of_its_inputs(
    chain: Lineage, monkeypatch: pytest.MonkeyPatch, error: type[BusyError | TrackingError]
) -> None:
    def trouble(stage: Stage) -> None:
        raise error(FAULT)

    with pytest.raises(error):
        publish.publish(chain.root / "truth", "b", chain.recipe("truth", "b"), trouble)
    assert chain.plan().steps["truth", "b"].state is State.BUILD


def test_an_unpartitioned_upstream_that_failed_blocks_everything_below(chain: Lineage) -> None:
    chain.add("maps", ["table"], stage="map")
    chain.add("atlas", ["maps"], (None,), stage="summary")
    chain.inputs["table"].broken = {None}
    chain.make()
    described = chain.plan()
    assert states(described, "table") == [State.FAILED]
    assert states(described, "page") == [State.BLOCKED]
    assert states(described, "maps") == [State.BLOCKED] * 3
    assert described.steps["maps", "a"].reason == f"table failed: {FAULT}"
    assert states(described, "atlas") == [State.CURRENT], "of all maps it takes those that are there"


def test_a_named_partition_that_failed_blocks(failed: Lineage) -> None:
    failed.add("of_b", [Dependency("truth", ("b",))], (None,), stage="report")
    failed.add("of_a", [Dependency("truth", ("a",))], (None,), stage="report")
    failed.make()
    described = failed.plan()
    assert states(described, "of_b") == [State.BLOCKED]
    assert states(described, "of_a") == [State.CURRENT]


def test_the_root_of_a_blocked_chain_is_named_at_its_end(failed: Lineage) -> None:
    failed.add("stores", ["patches"])
    failed.add("reports", ["stores"])
    reason = failed.plan().steps["reports", "b"].reason
    assert reason == f"truth b failed: {FAULT}"


def test_a_builder_that_cannot_be_prepared_blocks_its_asset_alone(chain: Lineage) -> None:
    chain.inputs["patches"].unprepared = True
    chain.make()
    described = chain.plan()
    assert states(described, "truth") == [State.CURRENT] * 3
    assert states(described, "patches") == [State.BLOCKED] * 3
    for step in described.steps.values():
        if step.asset == "patches":
            assert step.reason == (
                "configs/patches.yaml: an unknown key; expected one of the keys. Fix: delete the key."
            )
            assert step.problems[0].where == "configs/patches.yaml"
    assert states(described, "table") == [State.CURRENT], "of all patches it takes those that are there"


def test_a_builder_is_prepared_once_and_only_where_it_is_asked(chain: Lineage, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[str] = []
    original = chain.builder
    monkeypatch.setattr(chain, "builder", lambda name: (prepared.append(name), original(name))[1])
    chain.plan()
    assert prepared == ["truth"], "the others wait for it"
    chain.make()
    prepared.clear()
    chain.plan()
    assert prepared == ["truth", "patches", "table", "page"]


def test_a_partition_whose_build_raises_blocks_itself_alone(chain: Lineage) -> None:
    chain.inputs["patches"].unclear = {"b"}
    chain.make()
    described = chain.plan()
    assert states(described, "patches") == [State.CURRENT, State.BLOCKED, State.CURRENT]
    step = described.steps["patches", "b"]
    assert step.reason == f"b.gpkg: {NOBODY}; expected a recipe. Fix: write it."
    assert step.problems == (Problem("b.gpkg", NOBODY, "a recipe", "write it"),)
    assert described.steps["table", None].state is State.CURRENT


def test_many_problems_are_counted_and_all_of_them_kept(tmp_path: Path) -> None:
    problems = [Problem(f"{i}.tif", "gone", "a file", "copy it") for i in range(3)]

    def raises() -> Build:
        raise ConfigError(*problems)

    described = plan([Asset("truth", "prepare", (), (None,), None, raises)])
    step = described.steps["truth", None]
    assert step.reason == "0.tif: gone; expected a file. Fix: copy it. (and 2 more)"
    assert step.problems == tuple(problems)


def test_what_is_no_error_of_the_library_is_not_swallowed() -> None:
    def raises() -> Build:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        plan([Asset("truth", "prepare", (), (None,), None, raises)])


# waiting and not due


def test_what_is_not_due_is_held_with_its_reason_and_so_is_what_is_made_of_it(chain: Lineage) -> None:
    chain.make()
    chain.inputs["table"].sources["code"] = "2"
    described = chain.plan(lambda step: "on Sunday" if step.asset == "table" else None)
    table, page = described.steps["table", None], described.steps["page", None]
    assert (table.state, table.reason) == (State.NOT_DUE, "code new; on Sunday")
    assert table.fingerprint == chain.recipe("table", None).fingerprint
    assert (page.state, page.reason) == (State.NOT_DUE, "waits for table, which is not due")
    assert not described.up_to_date
    assert next_runs(described) == []


def test_by_hand_it_is_built_all_the_same_and_says_what_the_rule_would_hold(chain: Lineage) -> None:
    chain.make()
    chain.inputs["table"].sources["code"] = "2"
    examined: dict[tuple[str, Partition], Step] = {}

    def held(step: Step) -> str | None:
        return "on Sunday" if step.asset == "table" else None

    chain.plan(held, examined)
    asked = len(examined)
    described = by_hand(chain.plan(examined=examined), held)
    assert len(examined) == asked, "nothing is looked at twice"
    table, page = described.steps["table", None], described.steps["page", None]
    note = "not due for the schedule (on Sunday); `landcover materialise` builds it now"
    assert (table.state, table.reason) == (State.BUILD, f"code new; {note}")
    assert (page.state, page.reason) == (State.WAITING, "waits for table")


def test_only_what_would_be_built_is_asked_whether_it_is_due(failed: Lineage) -> None:
    asked: list[str] = []

    def held(step: Step) -> None:
        assert step.state is State.BUILD
        assert step.fingerprint
        asked.append(step.name)

    failed.plan(held)
    assert asked == []
    failed.inputs["truth"].files["c"] = "2"
    failed.plan(held)
    assert asked == ["truth c"]


def test_what_stands_is_gone_on_with_while_a_new_one_is_not_due(tmp_path: Path) -> None:
    lineage = Lineage(tmp_path)
    champion = lineage.add("champion", partitions=(None,), stage="elect", stands="all")
    lineage.add("maps", ["champion"], stage="map")
    lineage.add("atlas", ["maps"], (None,), stage="summary")

    def held(step: Step) -> str | None:
        return "not before Sunday" if step.asset == "champion" else None

    first = lineage.plan(held)
    assert {step.state for step in first.steps.values()} == {State.NOT_DUE}, "there is none that stands"
    lineage.make()
    champion.sources["model"] = "2"
    described = lineage.plan(held)
    assert described.steps["champion", None].state is State.NOT_DUE
    assert len(described.of(State.CURRENT)) == 4
    shutil.rmtree(lineage.path("maps", "b"))
    assert {step.name for step in lineage.plan(held).of(State.BUILD)} == {"maps b"}, "by the champion that stands"


def test_of_all_partitions_those_that_are_current_are_gone_on_with(tmp_path: Path) -> None:
    lineage = Lineage(tmp_path)
    lineage.add("model", partitions=("x", "y"), stage="train", partitioning="experiments")
    lineage.add("report", ["model"], ("x", "y"), stage="evaluate", partitioning="experiments")
    lineage.add("board", ["report"], (None,), stage="elect")

    def held(*names: str) -> Plan:
        return lineage.plan(lambda step: "on Sunday" if step.asset == "model" and step.partition in names else None)

    assert {step.state for step in held("x", "y").steps.values()} == {State.NOT_DUE}, "there is nothing to go on with"
    for asset in ("model", "report"):
        lineage.build(asset, "x")
    described = held("y")
    assert states(described, "model") == states(described, "report") == [State.CURRENT, State.NOT_DUE]
    assert states(described, "board") == [State.BUILD], "of the report that is there"
    assert described.steps["report", "y"].reason == "waits for model y, which is not due"


def test_waiting_goes_before_what_is_not_due_and_failing_before_both(tmp_path: Path) -> None:
    lineage = Lineage(tmp_path)
    lineage.add("rests", partitions=(None,))
    lineage.add("grows", partitions=(None,))
    lineage.add("fails", partitions=(None,)).unprepared = True
    lineage.add("two", ["rests", "grows"], (None,))
    lineage.add("three", ["rests", "grows", "fails"], (None,))
    described = lineage.plan(lambda step: "later" if step.asset == "rests" else None)
    assert described.steps["two", None].state is State.WAITING
    assert described.steps["two", None].reason == "waits for grows"
    assert described.steps["three", None].state is State.BLOCKED


def test_an_upstream_that_is_not_planned_does_not_count(chain: Lineage) -> None:
    described = plan([asset for asset in chain.assets if asset.name != "truth"])
    assert states(described, "patches") == [State.BUILD] * 3
    assert ("truth", "a") not in described.steps


def test_an_asset_without_partitions_yet_holds_nothing_up(tmp_path: Path) -> None:
    lineage = Lineage(tmp_path)
    lineage.add("truth", partitions=())
    lineage.add("table", ["truth"], (None,), stage="manifest")
    described = lineage.plan()
    assert [step.name for step in described.of(State.BUILD)] == ["table"]


# cost


def costs(folder: Path, product: str, seconds: float | None, at: int) -> None:
    """The cost of a past build, as `publish` leaves it beside the product."""
    path = folder / f".{product}.cost.json"
    path.write_text(json.dumps({"wall_s": seconds, "cpu_s": None, "peak_bytes": None, "bytes": None, "files": None}))
    os.utime(path, (at, at))


def test_seconds_are_those_of_its_last_build(chain: Lineage) -> None:
    chain.make()
    folder = chain.root / "patches"
    for path in folder.glob(".*.cost.json"):
        path.unlink()
    costs(folder, f"b-{'1' * 16}", 40.0, 1000)
    costs(folder, f"b-{'2' * 16}", 60.0, 2000)
    costs(folder, f"b-{'3' * 16}", 50.0, 1500)
    costs(folder, f"a-{'1' * 16}", 7.0, 3000)
    shutil.rmtree(chain.path("patches", "b"))
    assert chain.plan().steps["patches", "b"].seconds == 60


def test_seconds_of_what_was_never_built_are_the_median_of_the_others(chain: Lineage) -> None:
    folder = chain.root / "truth"
    folder.mkdir()
    for tile, seconds in (("x", 10.0), ("y", 20.0), ("z", 90.0)):
        costs(folder, f"{tile}-{'1' * 16}", seconds, 1000)
    assert chain.plan().steps["truth", "b"].seconds == 20


def test_seconds_are_unknown_where_nothing_was_measured(chain: Lineage) -> None:
    assert chain.plan().steps["truth", "b"].seconds is None
    folder = chain.root / "truth"
    folder.mkdir()
    costs(folder, f"b-{'1' * 16}", None, 1000)
    (folder / f".a-{'1' * 16}.cost.json").write_text('{"wall_s": 3.')
    assert chain.plan().steps["truth", "b"].seconds is None


def test_what_waits_has_its_seconds_too_and_an_experiment_those_of_all_its_tiles(tmp_path: Path) -> None:
    lineage = Lineage(tmp_path)
    lineage.add("model", partitions=("unet", "segnet"), partitioning="experiments")
    lineage.add("prediction", ["model"], ("unet", "segnet"), partitioning="experiments")
    folder = tmp_path / "prediction" / "unet"
    folder.mkdir(parents=True)
    costs(folder, f"t0-{'1' * 16}", 10.0, 1000)
    costs(folder, f"t1-{'1' * 16}", 30.0, 1000)
    described = lineage.plan()
    assert states(described, "prediction") == [State.WAITING, State.WAITING]
    assert [described.steps["prediction", name].seconds for name in ("unet", "segnet")] == [40.0, 40.0]


def test_seconds_of_a_name_are_not_those_of_a_longer_name(tmp_path: Path) -> None:
    lineage = Lineage(tmp_path)
    lineage.add("model", partitions=("unet", "unet-wide"), partitioning="experiments")
    folder = tmp_path / "model"
    folder.mkdir()
    costs(folder, f"unet-{'1' * 16}", 10.0, 1000)
    costs(folder, f"unet-wide-{'1' * 16}", 900.0, 2000)
    described = lineage.plan()
    assert described.steps["model", "unet"].seconds == 10
    assert described.steps["model", "unet-wide"].seconds == 900


# nothing is written, and the order of assets does not matter


def test_a_plan_creates_no_folder(chain: Lineage) -> None:
    chain.plan()
    assert list(chain.root.iterdir()) == []


def test_a_plan_writes_nothing(failed: Lineage) -> None:
    failed.inputs["truth"].files["c"] = "2"
    failed.inputs["patches"].unclear = {"a"}
    shutil.rmtree(failed.path("table", None))
    (failed.path("page", None) / "summary.json").unlink()
    publish.request_rebuild(failed.root / "truth", "a")
    failed.add("new", ["truth"])
    before = snapshot(failed.root)
    failed.built.clear()
    failed.plan()
    failed.plan(lambda step: "later")
    assert snapshot(failed.root) == before
    assert failed.built == []


def test_the_order_of_assets_given_does_not_matter(failed: Lineage) -> None:
    failed.inputs["truth"].files["c"] = "2"
    failed.add("of_a", [Dependency("truth", ("a",))], (None,), stage="report")
    failed.add("atlas", ["of_a", "page"], (None,), stage="summary")
    expected = failed.plan()
    assert {step.state for step in expected.steps.values()} >= {State.CURRENT, State.BUILD, State.WAITING, State.FAILED}

    @given(st.permutations(failed.assets))
    @settings(max_examples=20)
    def check(assets: list[Asset]) -> None:
        described = plan(assets)
        assert described.steps == expected.steps
        position = {asset.name: i for i, asset in enumerate(described.assets)}
        assert all(position[d.asset] < position[a.name] for a in assets for d in a.dependencies)
        assert {run.key for run in next_runs(described)} == {run.key for run in next_runs(expected)}

    check()


# any lineage, from any state


PARTITIONINGS: dict[str, tuple[Partition, ...]] = {"tiles": ("a", "b"), "experiments": ("x", "y"), "none": (None,)}
DISTURBANCES = ("missing", "link", "stale", "damaged", "requested")


@st.composite
def lineages(draw: st.DrawFn) -> list[tuple[str, str, str, list[int | tuple[int, str]], int]]:
    """Name, stage, partitioning, upstream (all by position, or a named partition), per_run of each asset."""
    described: list[tuple[str, str, str, list[int | tuple[int, str]], int]] = []
    for i in range(draw(st.integers(2, 5))):
        kind = draw(st.sampled_from(sorted(PARTITIONINGS)))
        upstream: list[int | tuple[int, str]] = []
        for j in draw(st.sets(st.integers(0, i - 1), max_size=2)) if i else ():
            other = PARTITIONINGS[described[j][2]]
            named = None not in other and draw(st.booleans()) and draw(st.booleans())
            upstream.append((j, str(other[0])) if named else j)
        stage = draw(st.sampled_from(["early", "late"]))
        described.append((f"asset{i}", stage, kind, upstream, draw(st.integers(1, 2))))
    return described


def lineage_of(root: Path, described: Iterable[tuple[str, str, str, list[int | tuple[int, str]], int]]) -> Lineage:
    """The lineage that was drawn."""
    lineage = Lineage(root)
    for name, stage, kind, upstream, per_run in described:
        dependencies = [
            Dependency(f"asset{u}") if isinstance(u, int) else Dependency(f"asset{u[0]}", (u[1],)) for u in upstream
        ]
        lineage.add(name, dependencies, PARTITIONINGS[kind], stage=stage, partitioning=kind, per_run=per_run)
    return lineage


def disturb(lineage: Lineage, step: tuple[str, Partition], how: str) -> None:
    """Brings a product into a state that a plan is to mend."""
    name, partition = step
    product = lineage.path(name, partition)
    match how:
        case "missing":
            shutil.rmtree(product, ignore_errors=True)
        case "link":
            (lineage.root / name / lineage.product(partition)).unlink(missing_ok=True)
        case "stale":
            lineage.inputs[name].files[partition] = "2"
        case "damaged":
            (product / "summary.json").unlink(missing_ok=True)
        case "requested":
            publish.request_rebuild(lineage.root / name, lineage.product(partition))


def consistent(lineage: Lineage) -> list[tuple[str, Partition]]:
    """Steps whose product is not whole, or not of what is current upstream."""
    return [
        (asset.name, partition)
        for asset in lineage.assets
        for partition in asset.partitions
        if publish.current(lineage.root / asset.name, lineage.product(partition)).fingerprint
        != lineage.recipe(asset.name, partition).fingerprint
    ]


@given(described=lineages(), data=st.data())
@settings(max_examples=15)
def test_round_by_round_everything_becomes_current_each_step_once(described: list[Any], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lineage = lineage_of(Path(folder), described)
        steps = [(asset.name, partition) for asset in lineage.assets for partition in asset.partitions]
        assert sorted(lineage.make(), key=str) == sorted(steps, key=str), "each once, from nothing"
        assert lineage.plan().up_to_date
        assert consistent(lineage) == [], "none was built before what it is made of"

        disturbances = data.draw(
            st.lists(st.tuples(st.sampled_from(steps), st.sampled_from(DISTURBANCES)), max_size=4), "disturbances"
        )
        for step, how in disturbances:
            disturb(lineage, step, how)
        built = lineage.make()
        assert len(set(built)) == len(built), "no step twice"
        assert lineage.plan().up_to_date
        assert consistent(lineage) == []
        reached = {step for step, _ in disturbances}
        for asset in lineage.assets:
            for partition in asset.partitions:
                upstream = {known.key for _, known, _ in lineage.plan().upstream(asset, partition)}
                reached |= {(asset.name, partition)} if upstream & reached else set()
        assert set(built) <= reached, "nothing that no disturbance reaches"


@given(described=lineages(), data=st.data())
@settings(max_examples=15)
def test_what_fails_stops_what_is_made_of_it_and_nothing_else(described: list[Any], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lineage = lineage_of(Path(folder), described)
        steps = [(asset.name, partition) for asset in lineage.assets for partition in asset.partitions]
        broken = data.draw(st.sets(st.sampled_from(steps), min_size=1, max_size=2), "broken")
        for name, partition in broken:
            lineage.inputs[name].broken.add(partition)
        built = lineage.make()
        assert len(set(built)) == len(built)
        final = lineage.plan()
        stopped: set[tuple[str, Partition]] = set()
        for asset in final.assets:
            for partition in asset.partitions:
                needed = {known.key for _, known, each in final.upstream(asset, partition) if each}
                if needed & (stopped | broken):
                    stopped.add((asset.name, partition))
        assert {step.key for step in final.of(State.BLOCKED)} == stopped
        assert {step.key for step in final.of(State.FAILED)} == broken - stopped
        assert {step.key for step in final.of(State.CURRENT)} == {*steps} - stopped - broken
        assert {*built} == {*steps} - stopped - broken


def test_what_reads_all_partitions_goes_on_with_those_that_are_current(tmp_path: Path) -> None:
    """Reports of two experiments, of which one alone is trained by the rule: the leaderboard waits for no third one."""
    recipe = publish.Recipe("report", 1, {}, {})

    def report(partition: str | None) -> dict[tuple[str, ...], publish.Product]:
        if partition in resting:
            raise publish.NotCurrentError(tmp_path, str(partition), recipe, "stale", "manifest changed")
        return {}

    def reason(step: Step) -> str | None:
        return "a person trains it" if step.asset == "report" else None

    reports = Asset("report", "evaluate", (), ("a", "b"), "experiments", lambda: report)
    board = Asset("leaderboard", "elect", (Dependency("report"),), (None,), None, lambda: lambda _: {})
    resting = {"b"}
    assert plan([reports, board], reason).steps["leaderboard", None].state is State.CURRENT
    resting = {"a", "b"}
    assert plan([reports, board], reason).steps["leaderboard", None].state is State.NOT_DUE
