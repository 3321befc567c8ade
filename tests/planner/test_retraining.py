"""A training is due by the dataset's rule, once for the same data, with its reason; a model that is gone is, always."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import yaml

from assets.definitions import lineage
from assets.graph import asset_graph
from assets.lineage import sources
from assets.materialise import materialise
from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.errors import LandcoverError, Problem, RecipeError
from landcover_orch.patches import drift_watch
from landcover_orch.patches import manifest as manifests
from landcover_orch.planner import Asset, Build, Dependency, Partition, Plan, State, Step, next_runs, plan, retraining
from landcover_orch.planner.retraining import Due, Memory, Rule, new_pixels, trained_assets
from landcover_orch.store import products, publish
from landcover_orch.store.publish import NotCurrentError, Product, Stage
from tests import tiny
from tests.planned import PREPARE
from tests.scenes import ORIGIN, write_geotiff

MANIFEST, MODEL = ("dataset_manifest", None), ("model", tiny.EXPERIMENT)
TILES = f"{tiny.NAME}_tiles"
TILE = tiny.SIDE**2
"""Labelled pixels of a tile."""

TRAINED_ON = 3 * TILE
"""Those of the three tiles that are there at first."""

SUNDAYS = {"cron": "0 3 * * 0"}
LAST = "training due, but the manifest is that of the last training"


DEFINITIONS: dict[tuple[str, ...], tuple[Dataset, list[dg.AssetsDefinition]]] = {}
"""Texts of a configuration -> what they define."""


@dataclass
class Tick:
    """A tick: the plan, what was built, and what the rule says at its end."""

    plan: Plan
    built: list[str]
    said: str | None


@dataclass
class Chain:
    """A dataset with a rule: ticks ask for a plan, and build what it gives; models are stood for by small files."""

    root: Path
    dagster: dg.DagsterInstance
    diverging: set[str] = field(default_factory=set)

    @property
    def raw(self) -> Path:
        return self.root / "raw"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def dataset(self) -> Dataset:
        return self.definitions[0]

    @property
    def definitions(self) -> tuple[Dataset, list[dg.AssetsDefinition]]:
        """The dataset and its lineage, which are read anew only where a file of the configuration has changed."""
        texts = tuple(path.read_text() for path in sorted((self.root / "configs").rglob("*.yaml")))
        if texts not in DEFINITIONS:
            dataset = config.load_dataset(tiny.NAME)
            DEFINITIONS[texts] = dataset, lineage(dataset)
        return DEFINITIONS[texts]

    @property
    def memory(self) -> Memory:
        return retraining.load(tiny.NAME, self.home)

    @property
    def digest(self) -> str:
        """Digest of the present manifest."""
        return manifests.load_current(self.home, tiny.NAME).digest

    def change(self, kind: str = "datasets", name: str = tiny.NAME, **settings: Any) -> None:
        """Changes settings of a configuration file."""
        path = self.root / "configs" / kind / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **settings}))

    def rule(self, when: Any, **settings: Any) -> None:
        """Changes the rule."""
        self.change(retraining={"when": when, **settings})

    def look(self, rule: Rule | None = None) -> Plan:
        """The plan by the rule, or by another one."""
        names = {path.stem for path in self.raw.rglob("*.tif")}
        known = {*self.dagster.get_dynamic_partitions(TILES)}
        for name in known - names:
            self.dagster.delete_dynamic_partition(TILES, name)
        self.dagster.add_dynamic_partitions(TILES, sorted(names - known))
        graph = asset_graph(*self.definitions, self.dagster)
        chosen = [asset for asset in graph if asset.name in (*PREPARE, "model")]
        return plan(chosen, (rule or Rule(self.dataset, self.home)).held)

    def tick(self, stages: Collection[str] | None = None) -> Tick:
        """Plans, builds what may start, and settles as the sensor does."""
        rule = Rule(self.dataset, self.home)
        described = self.look(rule)
        runs = next_runs(described, stages)
        text = rule.settle(described, active=bool(next_runs(described)))
        assets = {asset.name: asset for asset in described.assets}
        for step in (step for run in runs for step in run.steps):
            self.build(assets[step.asset], step)
        return Tick(described, [step.name for run in runs for step in run.steps], text)

    def build(self, asset: Asset, step: Step) -> None:
        """Builds a step; a model by a file."""
        builder = asset.builder()
        try:
            if step.asset == "model":
                self.train(builder, step.partition)
            else:
                builder(step.partition)
        except LandcoverError:
            assert publish.failure(products.folder(self.home, tiny.NAME, step.asset), str(step.partition))

    def train(self, builder: Build, experiment: Partition) -> None:
        """Publishes whatever a training would, of the same recipes."""

        def write(stage: Stage) -> None:
            if experiment in self.diverging:
                raise RecipeError(Problem(str(experiment), "diverged at epoch 1", "a finite loss", "lower the rate"))
            stage.write_json("summary.json", {"experiment": experiment})

        while True:
            try:
                with publish.dry_run():
                    builder(experiment)
                return
            except NotCurrentError as error:
                publish.publish(error.folder, error.name, error.recipe, write)

    def rest(self) -> tuple[list[str], list[str]]:
        """Ticks until nothing is built: the models that were trained, and what was said."""
        trained: list[str] = []
        texts: list[str] = []
        for _ in range(12):
            tick = self.tick()
            trained += [name.removeprefix("model ") for name in tick.built if name.startswith("model ")]
            texts += [tick.said] if tick.said else []
            if not tick.built and not tick.said:
                return trained, texts
        raise AssertionError(f"it never rests: {texts}")

    def model(self, experiment: str = tiny.EXPERIMENT) -> Product:
        """The current model."""
        return products.current(self.home, tiny.NAME, "model", experiment)

    def add_tile(self, column: int, **settings: Any) -> None:
        """A tile more."""
        tiny.write_tile(self.raw, f"t{column}", column=column, **settings)

    def remove_tile(self, name: str) -> None:
        """A tile less."""
        for path in self.raw.glob(f"{name}.*"):
            path.unlink()


@dataclass
class Snapshots:
    """A folder, and copies of it as it was at some times."""

    root: Path
    copies: Path
    dagster: dg.DagsterInstance

    def take(self, name: str) -> None:
        """Keeps the folder as it is."""
        shutil.copytree(self.root, self.copies / name, symlinks=True)

    def restore(self, name: str) -> Chain:
        """The chain as it was: under the same paths, which recipes hold."""
        shutil.rmtree(self.root)
        shutil.copytree(self.copies / name, self.root, symlinks=True)
        return Chain(self.root, self.dagster)


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshots]:
    """Three tiles with their manifest (prepared), trained once by `new_data` (trained)."""
    root = tmp_path_factory.mktemp("chain")
    for kind in ("datasets", "legends", "experiments"):
        (root / "configs" / kind).mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patched, dg.DagsterInstance.ephemeral() as dagster:
        patched.setenv("LANDCOVER_HOME", str(root / "home"))
        patched.setenv("LANDCOVER_CONFIGS", str(root / "configs"))
        shots = Snapshots(root, tmp_path_factory.mktemp("snapshots"), dagster)
        materialise(dagster, tiny.write(root / "configs", root / "raw"), PREPARE, log=lambda line: None)
        shots.take("prepared")
        chain = Chain(root, dagster)
        chain.rule("new_data")
        assert chain.rest() == ([tiny.EXPERIMENT], ["training finished (nothing was trained yet)"])
        shots.take("trained")
        patched.undo()
        yield shots


@pytest.fixture
def environment(snapshots: Snapshots, monkeypatch: pytest.MonkeyPatch) -> Snapshots:
    """The snapshots, with their folder as that of configurations and products."""
    monkeypatch.setenv("LANDCOVER_HOME", str(snapshots.root / "home"))
    monkeypatch.setenv("LANDCOVER_CONFIGS", str(snapshots.root / "configs"))
    return snapshots


@pytest.fixture
def chain(environment: Snapshots) -> Chain:
    """The dataset, prepared; nothing was trained."""
    return environment.restore("prepared")


@pytest.fixture
def trained(environment: Snapshots) -> Chain:
    """The dataset, trained once by `new_data`."""
    return environment.restore("trained")


def reason(described: Plan, key: tuple[str, Partition] = MODEL) -> str:
    """Why a step is not due, without what would be built."""
    step = described.steps[key]
    assert step.state is State.NOT_DUE, f"{step.state}: {step}"
    return step.reason.rpartition("; ")[2] if "due from" not in step.reason else step.reason.partition("; ")[2]


# new data


def test_the_first_training_is_due_and_recorded_with_its_manifest(chain: Chain) -> None:
    chain.rule("new_data")
    described = chain.look()
    assert [step.key for step in described.of(State.BUILD)] == [MODEL]
    due = chain.memory.due
    assert due is not None
    assert (due.reason, due.digest) == ("nothing was trained yet", chain.digest)
    assert chain.memory.tried == chain.digest


def test_without_new_data_nothing_is_due_and_nothing_is_said(trained: Chain) -> None:
    memory = trained.memory
    assert memory.due is None
    assert trained.rest() == ([], [])
    assert trained.look().up_to_date
    assert trained.memory == memory


def test_a_new_tile_is_trained_on_once_with_its_pixels_in_the_reason(trained: Chain) -> None:
    trained.add_tile(7)
    sentence = f"new data: {TILE:,} labelled pixels are new or changed, of {TRAINED_ON:,} before"
    assert trained.rest() == ([tiny.EXPERIMENT], [f"training finished ({sentence})"])
    assert trained.model().recipe.inputs["manifest"] == trained.digest
    assert trained.rest() == ([], [])


@pytest.mark.parametrize("part", ["image", "labels"])
def test_a_changed_tile_counts_with_all_its_pixels(trained: Chain, part: str) -> None:
    kept = ".gpkg" if part == "image" else ".tif"
    content = (trained.raw / f"t0{kept}").read_bytes()
    tiny.write_tile(trained.raw, "t0", column=0, lake=0.7)
    (trained.raw / f"t0{kept}").write_bytes(content)
    names, (text,) = trained.rest()
    assert names == [tiny.EXPERIMENT]
    assert f"{TILE:,} labelled pixels are new or changed, of {TRAINED_ON:,} before" in text


def test_a_photograph_without_labels_retrains_nothing(trained: Chain) -> None:
    tiny.write_tile(trained.raw / "bare", "p0", column=20)
    trained.change(tiles={"image": "{tile}.tif", "label": "{tile}.gpkg", "unlabelled": "bare/{tile}.tif"})
    assert trained.rest() == ([], [])
    before = products.current_manifest(trained.home, tiny.NAME).fingerprint
    tiny.write_tile(trained.raw / "bare", "p1", column=21)
    assert trained.rest() == ([], [])
    assert products.current_manifest(trained.home, tiny.NAME).fingerprint != before, (
        "it is in the manifest all the same"
    )


@pytest.mark.parametrize(
    ("least", "words"),
    [
        ({"pixels": TILE}, None),
        ({"pixels": TILE + 1}, "4,097 pixels"),
        ({"fraction": 1 / 3}, None),
        ({"fraction": 0.34}, "34% of those trained on"),
    ],
)
def test_so_many_new_pixels_are_just_enough_or_just_not(
    trained: Chain, least: dict[str, float], words: str | None
) -> None:
    trained.rule("new_data", at_least=least)
    trained.add_tile(7)
    names, texts = trained.rest()
    if words is None:
        assert names == [tiny.EXPERIMENT]
    else:
        assert (names, texts) == ([], [])
        expected = f"{TILE:,} labelled pixels are new or changed; a training is due from {words} on"
        assert reason(trained.look()) == expected
        assert trained.memory.due is None


def test_new_pixels_add_up_until_they_are_enough(trained: Chain) -> None:
    trained.rule("new_data", at_least={"pixels": TILE + 1})
    trained.add_tile(7)
    assert trained.rest() == ([], [])
    trained.add_tile(8)
    names, (text,) = trained.rest()
    assert names == [tiny.EXPERIMENT]
    assert f"{2 * TILE:,} labelled pixels are new or changed, of {TRAINED_ON:,} before" in text
    trained.add_tile(9)
    assert trained.rest() == ([], []), "it counts from the last training on"


def test_a_tile_taken_away_is_other_data_but_no_new_pixel(trained: Chain) -> None:
    trained.rule("new_data", at_least={"pixels": 1})
    trained.remove_tile("t0")
    trained.add_tile(7)
    trained.add_tile(8)
    trained.rest()
    trained.remove_tile("t7")
    assert trained.rest() == ([], [])
    assert reason(trained.look()).startswith("0 labelled pixels are new or changed")
    trained.rule("new_data")
    assert trained.rest()[0] == [tiny.EXPERIMENT]


def test_pixels_are_counted_against_the_manifest_of_a_digest(trained: Chain) -> None:
    first = trained.digest
    manifest = manifests.load_current(trained.home, tiny.NAME)
    assert new_pixels(manifest, tiny.NAME, first, trained.home) == (0, TRAINED_ON)
    assert new_pixels(manifest, tiny.NAME, "0" * 16, trained.home) == (TRAINED_ON, 0), "it is there no more"
    trained.add_tile(7)
    tiny.write_tile(trained.raw, "t1", column=1, lake=0.7)
    trained.rest()
    manifest = manifests.load_current(trained.home, tiny.NAME)
    assert new_pixels(manifest, tiny.NAME, first, trained.home) == (2 * TILE, TRAINED_ON)


def test_a_changed_experiment_is_trained_anew(trained: Chain) -> None:
    trained.change("experiments", tiny.EXPERIMENT, epochs=3)
    assert trained.rest() == ([tiny.EXPERIMENT], ["training finished (an experiment has changed)"])
    assert trained.rest() == ([], [])


def test_a_training_by_hand_is_the_last_one(trained: Chain) -> None:
    trained.rule("new_data", at_least={"pixels": 2 * TILE})
    trained.add_tile(7)
    assert trained.rest() == ([], [])
    by_hand(trained, tiny.EXPERIMENT)
    assert trained.model().recipe.inputs["manifest"] == trained.digest
    trained.add_tile(8)
    assert trained.rest() == ([], [])
    assert reason(trained.look()).startswith(f"{TILE:,} labelled pixels are new or changed")


def by_hand(chain: Chain, experiment: str) -> None:
    """Trains an experiment though the rule does not say so."""
    asset = next(asset for asset in chain.look().assets if asset.name == "model")
    chain.train(asset.builder(), experiment)


def test_a_training_of_another_experiment_by_hand_does_not_make_one_due(trained: Chain) -> None:
    tiny.save(trained.root / "configs", "experiments", {**tiny.RECIPE, "name": "other", "epochs": 3})
    trained.change(experiments=[tiny.EXPERIMENT, "other"])
    assert trained.rest()[0] == ["other"]
    trained.rule("new_data", at_least={"pixels": 2 * TILE})
    trained.add_tile(7)
    assert trained.rest() == ([], [])
    by_hand(trained, "other")
    assert trained.rest() == ([], []), f"{TILE} new pixels are no more than before, and no experiment has changed"


def test_a_training_that_diverges_was_tried(chain: Chain) -> None:
    chain.rule("new_data")
    chain.diverging = {tiny.EXPERIMENT}
    assert chain.rest() == ([tiny.EXPERIMENT], ["training finished (nothing was trained yet)"])
    assert chain.look().steps[MODEL].state is State.FAILED
    assert chain.rest() == ([], [])
    chain.add_tile(7)
    names, (text,) = chain.rest()
    assert names == [tiny.EXPERIMENT]
    assert f"new data: {TILE:,} labelled pixels are new or changed, of {TRAINED_ON:,} before" in text


def test_a_training_without_a_result_waits_for_a_hand_and_is_not_due_again(chain: Chain) -> None:
    chain.rule("new_data")
    rule = Rule(chain.dataset, chain.home)
    text = rule.settle(chain.look(rule), active=False)  # its run was cancelled
    assert text is not None
    assert text.startswith("training finished (nothing was trained yet); model quick")
    assert text.endswith("waits for a hand")
    rule = Rule(chain.dataset, chain.home)
    assert rule.settle(chain.look(rule), active=False) is None, "nothing new happened"


# never, and cron


@pytest.mark.parametrize("block", [{"when": "never"}, None])
def test_models_are_trained_by_hand_alone(chain: Chain, block: dict[str, Any] | None) -> None:
    if block is not None:
        chain.change(retraining=block)
    assert chain.rest() == ([], [])
    described = chain.look()
    assert described.steps[MODEL].reason == (
        "missing: nothing published; models are trained by hand (`retraining.when: never`)"
    )
    assert described.steps[MODEL].fingerprint is not None
    chain.add_tile(7)
    assert chain.rest() == ([], [])
    assert not (chain.home / tiny.NAME / retraining.FILE).exists()
    assert described.steps[MANIFEST].state is State.CURRENT


def test_who_looks_alone_records_no_training(chain: Chain) -> None:
    chain.rule("never")
    chain.rest()
    chain.rule("new_data")
    assert chain.look(Rule(chain.dataset, chain.home, records=False)).steps[MODEL].state is State.BUILD
    assert chain.memory == Memory()


def test_cron_trains_only_when_requested(chain: Chain) -> None:
    chain.rule(SUNDAYS)
    assert chain.rest() == ([], [])
    expected = "the next training is due by `retraining.when.cron`: 0 3 * * 0 (UTC)"
    assert reason(chain.look()) == expected
    assert chain.memory == Memory()
    retraining.request(tiny.NAME, "scheduled: Sundays", chain.home)
    assert chain.rest() == ([tiny.EXPERIMENT], ["training finished (scheduled: Sundays)"])
    chain.add_tile(7)
    assert chain.rest() == ([], [])
    assert reason(chain.look()) == expected
    retraining.request(tiny.NAME, "scheduled: Sundays", chain.home)
    assert chain.rest() == ([tiny.EXPERIMENT], ["training finished (scheduled: Sundays)"])


def test_a_requested_training_on_the_same_manifest_is_cleared_with_a_sentence(chain: Chain) -> None:
    chain.rule(SUNDAYS)
    retraining.request(tiny.NAME, "scheduled", chain.home)
    chain.rest()
    for _ in range(3):  # an election, a promotion, a look
        retraining.request(tiny.NAME, "scheduled", chain.home)
        assert chain.rest() == ([], [LAST])
        assert chain.memory.due is None
    assert chain.rest() == ([], [])


def test_a_requested_training_waits_for_the_manifest_that_is_to_be_made(trained: Chain) -> None:
    trained.rule(SUNDAYS)
    trained.add_tile(7)
    retraining.request(tiny.NAME, "scheduled", trained.home)
    rule = Rule(trained.dataset, trained.home)
    described = trained.look(rule)
    assert described.steps[MODEL].state is State.WAITING
    assert rule.settle(described, active=False) == "training due (scheduled), but the manifest is not ready"
    assert trained.memory.due is not None
    assert trained.rest() == ([tiny.EXPERIMENT], ["training finished (scheduled)"])
    assert trained.model().recipe.inputs["manifest"] == trained.digest


def test_a_requested_training_says_that_the_manifest_cannot_be_made(trained: Chain) -> None:
    trained.rule(SUNDAYS)
    trained.add_tile(7)
    (trained.raw / "t7.tif").write_bytes(b"no raster")
    retraining.request(tiny.NAME, "scheduled", trained.home)
    rule = Rule(trained.dataset, trained.home)
    described = trained.look(rule)
    steps = dict(described.steps)
    steps[MANIFEST] = Step("dataset_manifest", None, "manifest", State.BLOCKED, "tile t7: no `ground_truth`")
    text = rule.settle(Plan(described.assets, steps), active=False)
    assert text == "training due (scheduled), but the manifest cannot be made: tile t7: no `ground_truth`"
    due = trained.memory.due
    assert due is not None
    assert due.reason == "scheduled", "it is due until the manifest can be made"


def test_nothing_is_settled_while_runs_are_under_way(chain: Chain) -> None:
    chain.rule("new_data")
    rule = Rule(chain.dataset, chain.home)
    assert rule.settle(chain.look(rule), active=True) is None
    assert chain.memory.due is not None


# drift


@pytest.fixture
def drifting(trained: Chain) -> Chain:
    """A bright tile more, which is in a new manifest, but not compared yet; trained by drift."""
    trained.rule("drift")
    trained.add_tile(7)
    bright = np.full((3, tiny.SIDE, tiny.SIDE), 250, np.uint8)
    write_geotiff(trained.raw / "t7.tif", bright, origin=(ORIGIN[0] + 7 * tiny.SIDE, ORIGIN[1]))
    return trained


def compare(chain: Chain, *names: str, digest: str) -> float:
    """Compares tiles with what was trained on, as their maps do; gives the largest distance of the last."""
    reference = drift_watch.trained_on(tiny.NAME, digest, chain.home)
    tiles = sources.tiles_by_name(chain.dataset)
    rows = [drift_watch.build(chain.dataset, tiles[name], reference, chain.home).json("summary.json") for name in names]
    return float(rows[-1]["largest"])


def test_by_drift_a_training_is_due_where_a_mapped_tile_lies_far_off(drifting: Chain) -> None:
    first = str(drifting.model().recipe.inputs["manifest"])
    assert drifting.rest() == ([], [])
    assert reason(drifting.look()) == "no mapped tile drifts by more than 1 standard deviations"
    compare(drifting, "t0", "t1", digest=first)
    assert drifting.rest() == ([], [])
    largest = compare(drifting, "t7", digest=first)
    assert largest > 1
    names, texts = drifting.rest()
    assert names == [tiny.EXPERIMENT]
    expected = f"drift: tile t7 lies {largest:.2f} standard deviations off what was trained on"
    assert texts == [f"training finished ({expected})"]
    assert drifting.rest() == ([], []), "the tile drifts all the same, as long as no map was made anew"


def test_drift_on_the_manifest_of_the_last_training_is_not_due(drifting: Chain) -> None:
    compare(drifting, "t7", digest=drifting.digest)
    assert drifting.rest()[0] == [tiny.EXPERIMENT]
    drifting.change("experiments", tiny.EXPERIMENT, epochs=3)
    assert drifting.rest() == ([], [])
    assert reason(drifting.look()) == "tile t7 drifts, but the manifest is that of the last training"


@pytest.mark.parametrize(("limit", "names"), [(1.25, []), (1.24, [tiny.EXPERIMENT])])
def test_drift_counts_above_the_limit(
    drifting: Chain, monkeypatch: pytest.MonkeyPatch, limit: float, names: list[str]
) -> None:
    monkeypatch.setattr(retraining, "largest_drift", lambda *_, **__: ("t7", 1.25))
    drifting.rule("drift", drift=limit)
    assert drifting.rest()[0] == names


def test_by_drift_the_first_training_is_due(chain: Chain) -> None:
    chain.rule("drift")
    assert chain.rest() == ([tiny.EXPERIMENT], ["training finished (nothing was trained yet)"])


def test_the_drift_of_a_tile_that_is_gone_does_not_count(drifting: Chain) -> None:
    compare(drifting, "t7", digest=drifting.digest)
    drifting.remove_tile("t7")
    drifting.add_tile(8)
    assert drifting.rest() == ([], [])


# experiments


@pytest.fixture
def several(chain: Chain) -> Chain:
    """Three experiments, two of them of a matrix."""
    rates = {"optimiser.lr": {"slow": 0.001, "fast": 0.1}}
    tiny.save(chain.root / "configs", "experiments", {**tiny.RECIPE, "name": "rates", "matrix": rates})
    chain.change(experiments=[tiny.EXPERIMENT, "rates"])
    return chain


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ([], [tiny.EXPERIMENT, "rates__slow", "rates__fast"]),
        ([tiny.EXPERIMENT], [tiny.EXPERIMENT]),
        (["rates__fast"], ["rates__fast"]),
        (["rates"], ["rates__slow", "rates__fast"]),
    ],
)
def test_those_that_are_named_are_trained_and_the_others_left_to_a_person(
    several: Chain, chosen: list[str], names: list[str]
) -> None:
    several.rule("new_data", experiments=chosen)
    experiments, texts = several.rest()
    assert (sorted(experiments), texts) == (sorted(names), ["training finished (nothing was trained yet)"])
    left = {step.partition: step.reason for step in several.look().of(State.NOT_DUE)}
    assert set(left) == {tiny.EXPERIMENT, "rates__slow", "rates__fast"} - {*names}
    assert all(text.endswith("; `retraining.experiments` leaves it to a person") for text in left.values())


def test_a_subset_of_experiments_holds_for_a_schedule_as_well(several: Chain) -> None:
    several.rule(SUNDAYS, experiments=["rates__slow"])
    retraining.request(tiny.NAME, "scheduled", several.home)
    assert several.rest() == (["rates__slow"], ["training finished (scheduled)"])


# what is gone


RULES: dict[str, dict[str, Any]] = {
    "never": {"when": "never"},
    "cron": {"when": SUNDAYS},
    "drift": {"when": "drift"},
    "new data": {"when": "new_data", "at_least": {"pixels": 10**9}},
    "another experiment": {"when": "new_data", "experiments": ["other"]},
}


def _gone(product: Path) -> None:
    shutil.rmtree(product)


def _damaged(product: Path) -> None:
    (product / "summary.json").write_text("")


@pytest.mark.parametrize(
    ("rule", "damage"),
    [*((rule, _gone) for rule in RULES.values()), (RULES["never"], _damaged), (RULES["new data"], _damaged)],
    ids=[*RULES, "damaged, never", "damaged, new data"],
)
def test_a_model_that_is_gone_or_damaged_is_made_again_whatever_the_rule(
    trained: Chain, rule: dict[str, Any], damage: Callable[[Path], None]
) -> None:
    if "experiments" in rule:
        tiny.save(trained.root / "configs", "experiments", {**tiny.RECIPE, "name": "other", "epochs": 3})
        trained.change(experiments=[tiny.EXPERIMENT, "other"])
        assert trained.rest()[0] == ["other"]
    trained.change(retraining=rule)
    product, memory = trained.model(), trained.memory
    damage(product.path)
    assert trained.rest() == ([tiny.EXPERIMENT], []), "no training is due: it is the same model"
    assert trained.model() == product
    assert trained.memory == memory


def test_a_former_model_that_was_deleted_is_left_to_the_rule(trained: Chain) -> None:
    former = trained.model()
    trained.change("experiments", tiny.EXPERIMENT, epochs=3)
    trained.rest()
    shutil.rmtree(former.path)
    trained.rule("never")
    trained.change("experiments", tiny.EXPERIMENT, epochs=tiny.RECIPE["epochs"])
    step = trained.look().steps[MODEL]
    assert step.fingerprint == former.fingerprint
    assert step.state is State.NOT_DUE, "the model that stands is another one: this is a training, not a repair"
    assert trained.rest() == ([], [])


def test_a_repetition_that_is_gone_is_made_again_whatever_the_rule(trained: Chain) -> None:
    trained.change("experiments", tiny.EXPERIMENT, protocol={"seeds": [1, 2]})
    trained.rest()
    repetition = trained.model(f"{tiny.EXPERIMENT}.seed-2")
    trained.rule("never")
    shutil.rmtree(repetition.path)
    assert trained.rest()[0] == [tiny.EXPERIMENT]
    assert trained.model(f"{tiny.EXPERIMENT}.seed-2") == repetition


# a training under way


def test_the_manifest_is_held_while_a_training_is_under_way_and_made_afterwards(chain: Chain) -> None:
    chain.rule("new_data")
    before = chain.look().steps[MODEL]
    assert before.state is State.BUILD
    first = chain.digest
    chain.add_tile(7)
    while chain.tick(["prepare"]).built:
        pass
    described = chain.look()
    assert described.steps["patches", "t7"].state is State.CURRENT
    manifest = described.steps[MANIFEST]
    assert (manifest.state, manifest.reason) == (State.NOT_DUE, "t7 new; the training under way is finished first")
    assert described.steps[MODEL] == before, "on the manifest that it began with"
    assert chain.tick().built == ["model quick"]
    assert chain.model().recipe.inputs["manifest"] == first
    sentence = f"new data: {TILE:,} labelled pixels are new or changed, of {TRAINED_ON:,} before"
    expected = ["training finished (nothing was trained yet)", f"training finished ({sentence})"]
    assert chain.rest() == ([tiny.EXPERIMENT], expected)
    assert chain.model().recipe.inputs["manifest"] == chain.digest != first


def test_a_manifest_is_not_held_by_a_training_that_has_not_begun(trained: Chain) -> None:
    trained.rule(SUNDAYS)
    retraining.request(tiny.NAME, "scheduled", trained.home)
    trained.add_tile(7)
    while trained.tick(["prepare"]).built:
        pass
    assert trained.look().steps[MANIFEST].state is State.BUILD


def test_a_manifest_is_not_held_by_a_training_on_another_one(trained: Chain) -> None:
    retraining.save(tiny.NAME, Memory(Due("2026-01-05", "scheduled", "0" * 16), "0" * 16), trained.home)
    trained.add_tile(7)
    while trained.tick(["prepare"]).built:
        pass
    assert trained.look().steps[MANIFEST].state is State.BUILD


def test_a_manifest_that_is_damaged_under_way_is_made_again(chain: Chain) -> None:
    chain.rule("new_data")
    chain.look()
    product = products.current_manifest(chain.home, tiny.NAME)
    shutil.rmtree(product.path)
    assert chain.look().steps[MANIFEST].state is State.BUILD
    assert chain.rest() == ([tiny.EXPERIMENT], ["training finished (nothing was trained yet)"])


# memory


NOW = datetime(2026, 1, 5, 3, tzinfo=UTC)


def test_the_first_of_two_requests_stays(tmp_path: Path) -> None:
    assert retraining.load("d", tmp_path) == Memory()
    retraining.request("d", "scheduled", tmp_path, NOW)
    retraining.request("d", "again", tmp_path, NOW.replace(day=12))
    assert retraining.load("d", tmp_path).due == Due("2026-01-05T03:00:00+00:00", "scheduled", None)


def test_a_request_keeps_what_was_tried(tmp_path: Path) -> None:
    retraining.save("d", Memory(None, "abc", 5.0), tmp_path)
    retraining.request("d", "scheduled", tmp_path, NOW)
    memory = retraining.load("d", tmp_path)
    assert (memory.tried, memory.tried_at) == ("abc", 5.0)
    assert memory.due is not None


def test_memory_is_read_as_it_was_saved(tmp_path: Path) -> None:
    memory = Memory(Due("2026-01-05T03:00:00+00:00", "new data", "abc"), "abc", 5.5)
    retraining.save("d", memory, tmp_path)
    assert retraining.load("d", tmp_path) == memory
    assert [path.name for path in (tmp_path / "d").iterdir()] == [retraining.FILE]


DAMAGED = [
    "",
    "{",
    "[]",
    "null",
    "5",
    '{"due": 5}',
    '{"due": "text"}',
    '{"due": {"since": "2026"}}',
    '{"due": {"since": "", "reason": "", "digest": null, "more": 1}}',
    '{"tried_at": null}',
    '{"tried_at": "long ago"}',
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_memory_is_empty_and_is_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "d" / retraining.FILE
    path.parent.mkdir()
    path.write_text(text)
    assert retraining.load("d", tmp_path) == Memory()
    retraining.request("d", "scheduled", tmp_path, NOW)
    assert json.loads(path.read_text())["due"]["reason"] == "scheduled"


def test_without_its_memory_the_models_say_what_was_trained_on(trained: Chain) -> None:
    (trained.home / tiny.NAME / retraining.FILE).write_bytes(b"\xff\xfe")
    assert trained.rest() == ([], [])
    trained.add_tile(7)
    names, (text,) = trained.rest()
    assert names == [tiny.EXPERIMENT]
    assert f"{TILE:,} labelled pixels are new or changed" in text


# assets that a training is of


def test_a_training_is_of_the_model_and_what_is_made_of_it_up_to_what_stands() -> None:
    def builder() -> Build:
        raise AssertionError

    def asset(name: str, *upstream: str, stands: bool = False) -> Asset:
        return Asset(name, name, tuple(map(Dependency, upstream)), (None,), None, builder, stands=lambda: stands)

    def described(stands: bool) -> Plan:
        assets = (
            asset("truth"),
            asset("model", "truth"),
            asset("prediction", "model"),
            asset("report", "prediction", "model"),
            asset("champion", "report", stands=stands),
            asset("map", "champion"),
            asset("atlas", "map"),
        )
        return Plan(assets, {})

    evaluated = {"model", "prediction", "report", "champion"}
    assert trained_assets(described(stands=True)) == evaluated
    assert trained_assets(described(stands=False)) == {*evaluated, "map", "atlas"}
