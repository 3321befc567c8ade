"""What Dagster loads: light, complete, described; a dataset with a fault stops itself alone."""

from __future__ import annotations

import logging
import subprocess
import sys
from contextlib import suppress
from itertools import product
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets import chain, definitions
from assets.cli import main
from assets.definitions import collect, defs, lineage
from assets.execution import MAX_RETRIES
from assets.graph import BUILDER, STAGE, placement, planned, planned_specs, stage_of, stages, subject
from landcover_orch import config
from landcover_orch.errors import ConfigError
from landcover_orch.planner.graph import stage_order
from landcover_orch.store import products
from landcover_orch.store.canonical import digest
from tests import tiny

HEAVY = ("torch", "mlflow", "dask", "rasterio", "geopandas", "lightning", "zarr", "tensorstore", "matplotlib", "optuna")
DATASETS = [config.load_dataset(name) for name in (*config.dataset_names(), *config.names(config.STUDIES))]
SOURCES = {"orthophoto", "labels", "experiment"}


def test_loading_imports_nothing_heavy() -> None:
    code = f"import sys, assets.definitions; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_looks_after_the_servers_for_days_holds_neither_dagster_nor_mlflow() -> None:
    code = "import sys, assets.ui; print([m for m in ('dagster', 'mlflow', 'pandas', 'rasterio') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_plan_imports_no_torch(configs: Path, home: Path, tmp_path: Path) -> None:
    tiny.write(configs, tmp_path / "raw")
    code = (
        "import sys, dagster as dg\n"
        "from assets.lineage import sources\nfrom landcover_orch import config\nfrom tests.planned import described\n"
        "dataset = config.load_dataset('tiny')\n"
        "with dg.DagsterInstance.ephemeral() as instance:\n"
        "    sources.observe(instance, dataset)\n"
        "    steps = described(instance, dataset).steps\n"
        "print(len(steps) >= 19, [m for m in ('torch', 'lightning', 'mlflow', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


@pytest.fixture(scope="module")
def everything() -> dg.Definitions:
    """The definitions of every dataset that is shipped."""
    return collect(DATASETS)


def test_definitions_are_loadable(everything: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(defs)
    dg.Definitions.validate_loadable(everything)


def test_the_daemon_starts_no_run_anew(everything: dg.Definitions) -> None:
    settings = yaml.safe_load((config.shipped_configs() / "dagster" / "dagster.yaml").read_text())
    assert settings["run_retries"] == {"enabled": False}
    jobs = [job for job in everything.get_repository_def().get_all_jobs() if not job.name.startswith("__")]
    assert {job.run_tags.get(MAX_RETRIES) for job in jobs} == {"0"}


def test_every_dataset_has_the_whole_lineage(everything: dg.Definitions) -> None:
    keys = {tuple(key.path) for key in everything.resolve_asset_graph().get_all_asset_keys()}
    searched = {(dataset.name, "search") for dataset in DATASETS if dataset.searches}
    reviewed = {(dataset.name, "label_review") for dataset in DATASETS if dataset.label_review}
    outdated = {(dataset.name, "label_changes") for dataset in DATASETS if dataset.outdated}
    assert ("demo", "search") in searched
    assert ("demo-label-review", "label_review") in reviewed
    assert ("demo-label-changes", "label_changes") in outdated
    own, names = searched | reviewed | outdated, [dataset.name for dataset in DATASETS]
    shared = {asset for _, asset in keys} - {asset for _, asset in own}
    assert keys == own | {(dataset, asset) for dataset in names for asset in shared}
    assert shared | {asset for _, asset in own} >= SOURCES | products.ASSETS.keys() - {products.DRIFT}


def test_the_planner_knows_every_asset_but_those_that_run_when_asked_to() -> None:
    for dataset in DATASETS:
        unplanned = [spec.key.path[-1] for a in lineage(dataset) for spec in a.specs if BUILDER not in spec.metadata]
        assert unplanned == (["search"] if dataset.searches else [])


def test_every_asset_is_described_owned_and_versioned(everything: dg.Definitions) -> None:
    graph = everything.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key
        assert node.is_external or node.code_version, key


def test_tile_assets_share_one_backfill_policy(everything: dg.Definitions) -> None:
    graph = everything.resolve_asset_graph()
    tiled = [graph.get(key) for key in graph.materializable_asset_keys if graph.get(key).tags.get(STAGE) == "prepare"]
    assert len(tiled) == 3 * len(DATASETS)
    policies = {node.backfill_policy for node in tiled}
    assert len(policies) == 1
    policy = policies.pop()
    assert policy is not None
    assert -(-100 // policy.max_partitions_per_run) <= 4


def test_each_stage_has_a_job_of_its_assets() -> None:
    demo = config.load_dataset("demo")
    by_stage = stages(lineage(demo))
    known = ["prepare", "manifest", "train", "evaluate", "elect", "map", "summarise"]
    assert [stage for stage in by_stage if stage in known] == known
    for stage, keys in by_stage.items():
        assert set(defs.resolve_job_def(f"demo_{stage}").asset_layer.executable_asset_keys) == {*keys}
    assert defs.resolve_job_def("demo_everything").name == "demo_everything"


def test_an_asset_in_another_stage_is_refused_where_its_runs_would_repeat() -> None:
    """What is allowed elsewhere only makes a run longer, or splits one."""
    planned_assets = planned_specs(lineage(config.load_dataset("demo-label-changes")))
    specs = [spec for spec in planned_assets if spec.key.path[-1] in products.ASSETS]
    allowed = set()
    for spec, stage in product(specs, {stage_of(spec) for spec in specs}):
        replaced = spec.replace_attributes(tags={**spec.tags, STAGE: stage})
        with suppress(ConfigError):
            stage_order({s.key.path[-1]: placement(replaced if s is spec else s) for s in specs})
            allowed |= {(spec.key.path[-1], stage)} - {(spec.key.path[-1], stage_of(spec))}
    assert allowed == {
        ("label_quality", "map"),
        ("model", "evaluate"),
        ("prediction", "train"),
        ("leaderboard", "summarise"),
    }


def test_an_asset_without_a_stage_is_a_stage_of_its_own() -> None:
    @dg.asset(key=["demo", "areas"], deps=[["demo", "champion"]], metadata=planned(lambda dataset: NotImplemented))
    def areas() -> None: ...

    by_stage = stages([*lineage(config.load_dataset("demo")), areas])
    assert by_stage["areas"] == [areas.key]
    assert list(by_stage).index("areas") > list(by_stage).index("elect")


def test_the_library_knows_the_products_of_every_asset() -> None:
    """Its table against Dagster's graph: what each product of a partitioned asset is of."""
    specs = {spec.key.path[-1]: spec for dataset in DATASETS for known in lineage(dataset) for spec in known.specs}
    levels = {name: asset.levels[:1] for name, asset in products.ASSETS.items() if name != products.DRIFT}
    assert levels.keys() <= specs.keys()
    kinds = {name: partition_kind(spec) for name, spec in specs.items()}
    assert {name: levels.get(name, ()) for name in specs} == {name: (k,) if k else () for name, k in kinds.items()}


def partition_kind(spec: dg.AssetSpec) -> str | None:
    """What an asset is partitioned by, as the library calls it."""
    if isinstance(spec.partitions_def, dg.DynamicPartitionsDefinition):
        return "tile"
    if spec.partitions_def is None:
        return None
    dataset = config.load_dataset(spec.key.path[0])
    names = spec.partitions_def.get_partition_keys()
    return {config.experiments_of(dataset): "experiment", tuple(dataset.searches): "search"}[tuple(names)]


def test_every_module_of_the_lineage_is_loaded() -> None:
    folder = Path(definitions.__file__).with_name("lineage")
    names = {module.__name__ for module in definitions.MODULES}
    assert names == {f"assets.lineage.{path.stem}" for path in folder.glob("[!_]*.py")}


def test_assets_and_checks_stand_behind_what_they_are_made_of() -> None:
    entries = definitions.items(config.load_dataset("demo-label-review"))
    names = [subject(item).path[-1] for item in entries]
    chain_of = ["ground_truth", "patches", "dataset_manifest", "model", "prediction", "report", "champion"]
    assert [name for name in dict.fromkeys(names) if name in chain_of] == chain_of
    assert names.index("label_review") > names.index("prediction")
    assert names.count("dataset_manifest") == 5, "with its checks"


def test_automation_is_off_where_no_block_asks_for_it(everything: dg.Definitions) -> None:
    repository = everything.get_repository_def()
    assert not any(dataset.retraining for dataset in DATASETS)
    assert not repository.schedule_defs
    watches = [s for s in repository.sensor_defs if s.name.endswith("_watch")]
    assert len(watches) == len(DATASETS)
    assert all(s.default_status == dg.DefaultSensorStatus.STOPPED for s in watches)


def test_a_block_switches_sensor_and_schedule_on(configs: Path, home: Path, tmp_path: Path) -> None:
    tiny.write(configs, tmp_path / "raw", retraining={"when": {"cron": "0 3 * * 0", "timezone": "Europe/Madrid"}})
    repository = definitions.load().get_repository_def()
    (sensor,) = (s for s in repository.sensor_defs if s.name == "tiny_watch")
    (schedule,) = repository.schedule_defs
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == chain.TICK_S
    assert schedule.job_name == "tiny_train"
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 3 * * 0", "Europe/Madrid")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("legnd: tiny", "legnd"),
        ("", "an empty file"),
        ("legend: absent", "no file absent.yaml"),
        ("retraining: {when: {cron: 0 25 * * *}}", "no cron time"),
        ("retraining: {when: {cron: 0 3 * * 0, timezone: Europe/Madird}}", "no time zone"),
        ("- just\n- a list", "a list; expected keys and values"),
    ],
)
def test_a_dataset_with_a_fault_stops_itself_alone(
    configs: Path, home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, says: str
) -> None:
    tiny.write(configs, tmp_path / "raw")
    content = (configs / "datasets" / "tiny.yaml").read_text().replace("name: tiny", "name: other")
    whole = text if not text or text.startswith("-") else f"{content}\n{text}"
    if "legend: absent" in text:
        whole = content.replace("legend: tiny", "legend: absent")
    (configs / "datasets" / "other.yaml").write_text(whole)
    with caplog.at_level(logging.ERROR):
        loaded = definitions.load()
    assert "dataset other is not loaded" in caplog.text
    assert says in caplog.text
    repository = loaded.get_repository_def()
    assert {sensor.name for sensor in repository.sensor_defs} >= {"tiny_watch", "other_fault", "demo_watch"}
    graph = loaded.resolve_asset_graph()
    others = {tuple(key.path) for key in graph.get_all_asset_keys() if key.path[0] == "other"}
    assert others == {("other", "configuration")}
    with dg.DagsterInstance.ephemeral() as instance:
        result = repository.get_sensor_def("other_fault")(dg.build_sensor_context(instance=instance))
    assert isinstance(result, dg.SensorResult)
    (event,) = result.asset_events
    assert isinstance(event, dg.AssetCheckEvaluation)
    assert not event.passed
    assert says in str(event.metadata["problem"].value)


def test_of_two_datasets_that_dagster_calls_alike_the_first_is_loaded(
    configs: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.write(configs, tmp_path / "raw")
    text = (configs / "datasets" / "tiny.yaml").read_text()
    for name in ("a_b", "a-b"):
        (configs / "datasets" / f"{name}.yaml").write_text(text.replace("name: tiny", f"name: {name}"))
    (home / "a_b" / "patches" / "t0-1").mkdir(parents=True)
    repository = definitions.load().get_repository_def()
    fault = f"a_b_{digest('a-b')[:4]}_fault"
    assert {sensor.name for sensor in repository.sensor_defs} >= {"demo_watch", "tiny_watch", "a_b_watch", fault}
    assert dg.AssetKey(["a_b", "patches"]) in repository.asset_graph.get_all_asset_keys()
    assert main(["check", "a-b"]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem: ")]
    for file in ("a-b.yaml: ", "those of", "a_b.yaml"):
        assert file in line
    assert "rename the file and its `name`, as a-b-2" in line
    assert main(["init", "a-b", str(tmp_path / "raw")]) == 1
    assert main(["init", "tin-y", str(tmp_path / "raw")]) == 0
    assert main(["init", "tin_y", str(tmp_path / "raw")]) == 1
    assert "tin-y.yaml" in capsys.readouterr().err
    renamed = (configs / "datasets" / "a-b.yaml").rename(configs / "datasets" / "a-b-2.yaml")
    renamed.write_text(text.replace("name: tiny", "name: a-b-2"))
    sensors = {sensor.name for sensor in definitions.load().get_repository_def().sensor_defs}
    assert sensors >= {"a_b_watch", "a_b_2_watch"}


def test_served_are_the_datasets_whose_data_can_be_there(
    configs: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.write(configs, tmp_path / "raw")
    text = (configs / "datasets" / "tiny.yaml").read_text().replace("name: tiny", "name: away")
    (configs / "datasets" / "away.yaml").write_text(text.replace(str(tmp_path / "raw"), "${NOT_SET_ANYWHERE}"))
    assert config.served_datasets() == ["demo", "tiny"]
    (home / "away" / "champion").mkdir(parents=True)
    (home / "away" / "champion" / "decisions.jsonl").touch()
    assert config.served_datasets() == ["away", "demo", "tiny"]  # its products and history stay in sight
    monkeypatch.setenv("LANDCOVER_DATASETS", "tiny, demo-siose")
    assert config.served_datasets() == ["tiny", "demo-siose"]
    groups = {key.path[0] for key in definitions.load().resolve_asset_graph().get_all_asset_keys()}
    assert groups == {"tiny", "demo-siose"}


def test_a_folder_that_is_not_mounted_is_named_and_takes_nothing_away(
    configs: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDCOVER_DATASETS", "tiny")
    tiny.write(configs, tmp_path / "raw", retraining={"when": "new_data"})
    (tmp_path / "raw").rename(tmp_path / "elsewhere")
    loaded = definitions.load().get_repository_def()
    assert loaded.has_job("tiny_train")
    assert {s.name for s in loaded.sensor_defs} == {"tiny_watch", "tiny_fault"}
    sensor = loaded.get_sensor_def("tiny_fault")
    with dg.DagsterInstance.ephemeral() as instance:

        def outcome(cursor: str | None) -> tuple[list[bool], str]:
            result = sensor(dg.build_sensor_context(instance=instance, cursor=cursor))
            assert isinstance(result, dg.SensorResult)
            return [event.passed for event in result.asset_events], str(result.cursor)

        passed, text = outcome(None)
        assert passed == [False]
        assert f"{tmp_path / 'raw'}, which is not there" in text
        assert outcome(text) == ([], text)
        (tmp_path / "elsewhere").rename(tmp_path / "raw")
        assert outcome(text)[0] == [True]
    assert {s.name for s in definitions.load().get_repository_def().sensor_defs} == {"tiny_watch"}


@pytest.mark.parametrize("name", ["one copy", "one.v2", "größe", "-"])
def test_a_file_whose_name_no_asset_may_have_stops_itself_alone(
    configs: Path, home: Path, tmp_path: Path, name: str
) -> None:
    tiny.write(configs, tmp_path / "raw")
    text = (configs / "datasets" / "tiny.yaml").read_text()
    (configs / "datasets" / f"{name}.yaml").write_text(text)
    (configs / "datasets" / "folder.yaml").mkdir()
    loaded = definitions.load()
    dg.Definitions.validate_loadable(loaded)
    graph = loaded.resolve_asset_graph()
    (file,) = (key for key in graph.get_all_asset_keys() if key.path[-1] == "configuration")
    fault = str(graph.get(file).description)
    if name != "-":
        assert f"configs/datasets/{name}.yaml: its name; expected letters a to z, digits" in fault
        assert "Fix: rename it" in fault
    assert loaded.get_repository_def().has_job("tiny_train")
