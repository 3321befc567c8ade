"""Descriptions in MLflow: what a stranger reads of a version, a run, a model and an experiment."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landcover_orch import tracking
from landcover_orch.legend import LandClass, Legend
from landcover_orch.models.contract import load_contract
from landcover_orch.patches import manifest as manifests
from landcover_orch.store import publish
from landcover_orch.store.publish import Product, Recipe, Stage
from landcover_orch.tracking import notes
from tests.tracking import champions
from tests.training import classroom

NAME = classroom.NAME


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "LANDCOVER_URL", "LANDCOVER_MLFLOW_UI", "LANDCOVER_DAGSTER_UI"):
        monkeypatch.delenv(name, raising=False)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _report(home: Path, experiment: str, fingerprint: str, mean_iou: float, test_digest: str = "") -> Product:
    metrics = {"pixels": 1234, "mean_iou": mean_iou, "accuracy": 0.75}
    content = {
        "experiment": experiment,
        "models": {experiment: fingerprint},
        "metrics": metrics,
        "repetitions": [{"name": experiment, "metrics": metrics}],
        "scored_on": "test split",
        "verdict": f"{experiment}: mean IoU {mean_iou:.3f}, 0.250 above the most frequent class alone.",
        "test_digest": test_digest or classroom.manifest().test_digest,
    }

    def write(stage: Stage) -> None:
        stage.write_json("report.json", content)
        stage.write_json("summary.json", metrics)

    return publish.publish(home / NAME / "report", experiment, Recipe("report", 1, content, {}), write)


def _descriptions(home: Path) -> dict[str, str]:
    client = tracking.client(home)
    experiment = client.get_experiment_by_name(NAME)
    runs = client.search_runs([experiment.experiment_id])
    return {
        "experiment": experiment.tags["mlflow.note.content"],
        "model": client.get_registered_model(NAME).description,
        **{f"version {v.version}": v.description for v in client.search_model_versions(f"name = '{NAME}'")},
        **{f"run {run.data.tags['landcover.fingerprint']}": run.data.tags["mlflow.note.content"] for run in runs},
    }


def test_a_version_says_what_it_is_on_which_data_how_good_and_how_to_load(home: Path) -> None:
    product = champions.crowned(home)
    version = tracking.champion(NAME, home)
    assert version is not None
    _report(home, "k-means", "other", 0.75)
    _report(home, "older", "other", 0.99, test_digest="other pixels")
    tracking.log_report(version.run_id, _report(home, "quick", product.fingerprint, 0.5), home)
    texts = _descriptions(home)
    text = texts["version 1"]
    assert text == texts[f"run {product.fingerprint}"]
    assert text.startswith("quick: mean IoU 0.500, 0.250 above the most frequent class alone.\n")
    assert "experiment **quick** (unet, " in text
    assert "Champion since 20" in text
    assert text.index("- k-means: mean IoU 0.750, accuracy") < text.index("- **quick**: mean IoU 0.500, accuracy")
    assert "older" not in text
    assert "Test split, 1\u202f234 pixels" in text
    assert "- train: 10 pixels of only" in text
    assert "always the most frequent class: accuracy 0.500" in text
    assert "http://127.0.0.1:3000/pages/classroom/report/quick/index.html" in text
    assert '("models:/classroom/1")' in text
    assert '("models:/classroom@champion")' in texts["model"]
    assert "- k-means: mean IoU 0.750, accuracy 0.750" in texts["model"]
    assert texts["model"].startswith("No model has been scored yet.")
    assert "`dataset.` on what" in texts["experiment"]


def test_without_a_champion_nothing_is_offered_that_would_not_load(home: Path) -> None:
    product = champions.crowned(home)
    tracking.client(home).delete_registered_model_alias(NAME, "champion")
    version = tracking.client(home).get_model_version(NAME, "1")
    tracking.log_report(version.run_id, _report(home, "quick", product.fingerprint, 0.5), home)
    text = _descriptions(home)["model"]
    assert "@champion" not in text
    assert "No version is the champion yet" in text


def test_describing_again_gives_the_same_texts(home: Path) -> None:
    product = champions.crowned(home)
    version = tracking.champion(NAME, home)
    assert version is not None
    report = _report(home, "quick", product.fingerprint, 0.5)
    tracking.log_report(version.run_id, report, home)
    texts = _descriptions(home)
    tracking.register(product, classroom.manifest(), home)
    tracking.log_report(version.run_id, report, home)
    tracking.promote(NAME, product, {}, "again", home)
    assert _descriptions(home) == texts


def test_who_lost_the_alias_is_champion_no_more(home: Path) -> None:
    champions.crowned(home)
    champions.crowned(home, seed=1)
    texts = _descriptions(home)
    assert "Was made champion on 20" in texts["version 1"]
    assert "Champion since 20" in texts["version 2"]
    assert "after version 1" in texts["version 2"]


def test_a_superseded_version_keeps_its_scores_and_names_the_version_that_superseded_it(home: Path) -> None:
    product = champions.crowned(home)
    version = tracking.champion(NAME, home)
    assert version is not None
    tracking.log_report(version.run_id, _report(home, "quick", product.fingerprint, 0.5), home)
    champions.crowned(home, seed=1)
    _report(home, "quick", "of version 2", 0.25)
    texts = _descriptions(home)
    assert texts["version 1"].startswith("quick: mean IoU 0.500, 0.250 above the most frequent class alone.\n")
    assert "version 1 of classroom, superseded by version 2. Was made champion on 20" in texts["version 1"]
    assert "- **quick**: mean IoU 0.500, accuracy 0.750" in texts["version 1"]
    assert "/report/quick/" not in texts["version 1"], "that page is of version 2"
    assert texts["version 1"] == texts[f"run {product.fingerprint}"]
    assert texts["version 2"].startswith("quick is not scored on test ground yet.")
    assert "superseded" not in texts["version 2"]
    tracking.register(champions.crowned(home), classroom.manifest(), home)  # its recipe is as it was before
    assert "superseded by version 1." in _descriptions(home)["version 2"]
    assert "superseded" not in _descriptions(home)["version 1"]


def test_years_and_long_lists_are_short(home: Path) -> None:
    (tile,) = classroom.manifest().tiles
    tiles = tuple(
        tile.model_copy(update={"name": f"t{i}", "year": 2010 + i % 2, "label_year": 2011}) for i in range(20)
    )
    text = notes.data(classroom.manifest(tiles=tiles))
    assert "20 labelled tiles, orthophotos of 2010, 2011, labels of 2011" in text
    assert "- test: 200 pixels of t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11 and 8 more" in text
    assert "0 labelled tiles (manifest" in notes.data(
        classroom.manifest(tiles=(tile.model_copy(update={"label_fingerprint": None}),))
    )


def test_names_are_shown_as_they_are(home: Path) -> None:
    names = ("a|b", "<img src=x>", "[link](http://evil.example)", "two\nlines", "low_grass _x")
    classes = tuple(LandClass(id=i, name=name, colour=f"#00000{i}") for i, name in enumerate(names))
    contract = load_contract(champions.crowned(home).path)
    changed = contract.model_copy(update={"legend": Legend(name="odd", classes=classes, codes={})})
    text = notes.loading(NAME, "1", changed, None)
    assert r"0 a|b, 1 &lt;img src=x>, 2 \[link\](http://evil.example), 3 two lines, 4 low_grass \_x" in text


@pytest.mark.parametrize(
    ("crs", "size"),
    [
        ("EPSG:25833", ", 2 m a pixel. "),
        ("EPSG:4326", ", 2 degrees a pixel. "),
        ("EPSG:2263", ", 2 US survey foot a pixel. "),
        (None, ", not normalised. "),
    ],
)
def test_the_size_of_a_pixel_has_the_unit_of_its_crs(home: Path, crs: str | None, size: str) -> None:
    contract = load_contract(champions.crowned(home).path)
    (tile,) = classroom.manifest().tiles
    manifest = classroom.manifest(tiles=(tile.model_copy(update={"crs": crs}),))
    text = notes.loading(NAME, "1", contract.model_copy(update={"resolution": 2.0}), manifest)
    assert size in text
    assert "CRS" not in text


def test_a_repetition_that_was_not_chosen_has_a_verdict_of_its_own(home: Path) -> None:
    contract = load_contract(champions.crowned(home).path)
    manifest = manifests.load(classroom.published(home).path)
    metrics = {"mean_iou": 0.25, "accuracy": 0.5}
    report = {
        "verdict": "three_seeds: mean IoU 0.500",
        "chosen": "other",
        "data_digest": manifest.digest,
        "repetitions": [{"name": "quick", "metrics": metrics}, {"name": "other", "metrics": metrics}],
    }
    text = notes.model_verdict(report, contract, home)
    assert text.startswith(
        "quick: mean IoU 0.250, accuracy 0.500, 0.083 above the most frequent class alone (0.167), on"
    )
    assert "10 test pixels of tile only" in text
    assert notes.model_verdict({**report, "chosen": "quick"}, contract, home) == "three_seeds: mean IoU 0.500"


def test_a_description_fits_into_the_registry() -> None:
    text = notes.cut(["first", "x" * notes.LONGEST, "", "last"])
    assert text == "first\n\nlast"


@pytest.mark.slow
def test_the_lines_that_load_it_run_as_they_stand(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    product = champions.crowned(home)
    pixels = classroom.patches(2, seed=3).image
    with champions.served(home, tmp_path / "server.log") as port:
        monkeypatch.setenv("LANDCOVER_MLFLOW_UI", f"http://127.0.0.1:{port}")
        text = notes.loading(NAME, "champion", load_contract(product.path), classroom.manifest())
        script = text.partition("```python\n")[2].partition("```")[0]
        assert script.startswith("import mlflow\n")
        np.save(tmp_path / "in.npy", pixels)
        script = f"import numpy as np\npixels = np.load('in.npy')\n{script}\nnp.save('out.npy', probabilities)\n"
        champions.run_script(tmp_path, script, champions.outside())
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), champions.probabilities(product, pixels))


def test_a_training_that_runs_is_described_already(home: Path) -> None:
    recipe: Any = Recipe("model", 1, {}, {"model": {"name": "unet"}})
    start = tracking.Start.of(classroom.manifest(), "quick", recipe, home / "journal.jsonl")
    with tracking.Tracker(start, home, {"dagster.run_id": "0123456789"}) as log:
        run = tracking.client(home).get_run(log.run_id)
    note = run.data.tags["mlflow.note.content"]
    assert note.startswith("quick, an experiment on the dataset classroom, is not scored yet")
    assert note.endswith("[run 01234567](http://127.0.0.1:3000/runs/0123456789)")
    assert run.data.tags["landcover.model"] == "unet"
    assert len(run.data.tags["mlflow.source.git.commit"]) == 40
    assert run.data.tags["mlflow.user"] == run.info.user_id != "unknown"
