"""A person's day: a folder of files, clicks in Dagster, a report, a model version, a new tile, a served model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import box

from assets.ui import unused_port
from landcover_orch.evaluation.decisions import load_decisions
from tests import scenes
from tests.day.browser import Browser, opened
from tests.end_to_end.served import Served

pytestmark = [pytest.mark.slow, pytest.mark.long]  # its six minutes are those of a machine that does nothing else

X, Y = scenes.ORIGIN
SIDE, NAME = 128, "town"
MINUTES = 6
PARTITIONS = """
query($asset: AssetKeyInput!) { assetNodeOrError(assetKey: $asset) { ... on AssetNode { partitionKeys } } }
"""
LOAD = """
import sys, numpy as np, mlflow
model = mlflow.pyfunc.load_model("models:/town@champion")
print(model.predict(np.load(sys.argv[1])).shape)
"""


def write_tile(folder: Path, number: int) -> None:
    """A tile of ponds in fields, three bands, with polygons of both; each tile has ponds of other places."""
    random, left = np.random.default_rng(number), X + number * SIDE
    water, ponds = np.zeros((SIDE, SIDE), bool), []
    for row in range(8, SIDE - 16, 32):
        for col in range(8, SIDE - 16, 32):
            down, right = row + random.integers(8), col + random.integers(8)
            water[down : down + 16, right : right + 16] = True
            ponds.append((box(left + right, Y - down - 16, left + right + 16, Y - down), "20"))
    pixels = (random.normal(150, 12, (3, SIDE, SIDE)) - 80 * water).clip(1, 254)
    folder.mkdir(parents=True, exist_ok=True)
    field = (box(left, Y - SIDE, left + SIDE, Y), "10")
    scenes.write_polygons(folder / f"t{number}.gpkg", [field, *ponds], attribute="code")
    scenes.write_geotiff(folder / f"t{number}.tif", pixels.astype(np.uint8), origin=(left, Y))


@pytest.fixture
def served(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The servers of a fresh home that holds nothing but the shipped demo's definitions."""
    monkeypatch.setenv("LANDCOVER_CONFIGS", str(tmp_path / "configs"))
    return Served(tmp_path)


def test_a_day(served: Served, home: Path, tmp_path: Path) -> None:
    began, raw = time.monotonic(), tmp_path / "files"
    for number in range(4):
        write_tile(raw, number)
    pictures = Path(os.environ.get("LANDCOVER_SCREENSHOTS", tmp_path / "screenshots"))
    with served, opened(pictures) as browser:
        draft(served, raw)
        materialise(served, browser)
        read_report(served, browser)
        read_version(served, browser)
        new_tile(served, browser, home, tmp_path, raw)
        load_elsewhere(served, home, tmp_path)
        serve(served, tmp_path)
    assert served.left == []
    assert time.monotonic() - began < 60 * MINUTES


def draft(served: Served, raw: Path) -> None:
    """`init` writes dataset and legend; the servers, which run, load them."""
    done = served.command("init", NAME, str(raw))
    assert done.returncode == 0, done.stdout + done.stderr
    checked = served.command("check", NAME)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    served.wait_for_line("Configurations changed: reloaded.")
    keys = {"asset": {"path": [NAME, "ground_truth"]}}
    served.wait_for(lambda: len(served.ask(PARTITIONS, keys)["assetNodeOrError"]["partitionKeys"]) == 4, "its tiles")


def materialise(served: Served, browser: Browser) -> None:
    """Clicks: one asset of all tiles, then the job that makes everything."""
    browser.open(f"{served.url}/assets/{NAME}/ground_truth")
    browser.click("Materialize")
    browser.click("All", exact=True)
    browser.picture("materialise")
    browser.page.get_by_role("button", name=re.compile(r"^Launch (backfill|run)")).last.click()
    browser.open(f"{served.url}/locations/landcover_orch/jobs/{NAME}_everything/playground")
    browser.picture("launchpad")
    browser.click("Launch run")
    browser.page.wait_for_url(re.compile("/runs/"))
    run = browser.page.url.rpartition("/")[2][:36]
    browser.picture("run")
    assert served.wait_for_run(run, "SUCCESS", "FAILURE", "CANCELED", patience=240) == "SUCCESS"


def read_report(served: Served, browser: Browser) -> None:
    """The report opens by its link in Dagster, and leads back to all other pages."""
    browser.open(f"{served.url}/assets/{NAME}/report")
    browser.see("/pages/town/report/")
    browser.picture("asset")
    report = browser.new_tab("/pages/town/report/")
    report.get_by_text("Confusion matrix").first.wait_for()
    browser.picture("report", report)
    assert report.url.startswith(f"{served.url}/pages/{NAME}/report/")
    with browser.context.expect_page() as asset:
        report.get_by_text(re.compile("report .* in Dagster")).click()
    asset.value.get_by_role("button", name="Materialize").first.wait_for()
    browser.picture("asset_of_report", asset.value)
    assert "/report?view=partitions&partition=" in asset.value.url
    report.goto(f"{served.url}/pages/{NAME}/")
    with browser.context.expect_page() as group:
        report.get_by_text("assets in Dagster").click()
    group.value.get_by_text("land_cover_map").first.wait_for()
    browser.picture("group_of_index", group.value)


def read_version(served: Served, browser: Browser) -> None:
    """The registered version says what it is to a stranger."""
    browser.open(f"{served.url}/go/mlflow/models/{NAME}")
    assert browser.page.url.startswith(served.mlflow_url)
    browser.see("champion")
    browser.picture("registered_model")
    browser.page.get_by_text("Version 1").first.click()
    browser.see("mlflow.pyfunc.load_model")
    browser.picture("version")


def new_tile(served: Served, browser: Browser, home: Path, folder: Path, raw: Path) -> None:
    """A block in the dataset, a photograph with labels: champion decided, tile mapped, and nothing on the next tick."""
    path = folder / "configs" / "datasets" / f"{NAME}.yaml"
    path.write_text(path.read_text() + "\nretraining: {when: new_data, experiments: [random-forest]}\n")
    served.wait_for_line("Configurations changed: reloaded.", 2)
    before = len(load_decisions(NAME, home))
    write_tile(raw, 4)
    new_map = home / NAME / "land_cover_map" / "t4" / "class.tif"
    served.wait_for(new_map.is_file, "the map of the new tile", 200)
    served.wait_for(lambda: "nothing new since" in served.last_tick(f"{NAME}_watch"), "a tick with nothing new")
    assert len(load_decisions(NAME, home)) == before + 1
    browser.open(f"{served.url}/locations/landcover_orch/sensors/{NAME}_watch")
    browser.see("nothing new since")
    browser.picture("sensor")
    browser.open(f"{served.url}/overview/activity/timeline")
    browser.see(f"{NAME}_map")
    browser.picture("timeline")
    browser.open(f"{served.url}/assets/{NAME}/land_cover_map?partition=t4")
    browser.page.locator("img[src^='/pages/town/land_cover_map/t4-']").first.wait_for()
    browser.picture("map")


def load_elsewhere(served: Served, home: Path, folder: Path) -> None:
    """A client on this machine whose mount namespace hides the home loads the champion by the address alone."""
    np.save(folder / "pixels.npy", np.full((2, 3, 64, 64), 100, np.uint8))
    python = f"{sys.executable} -W ignore -c '{LOAD}' {folder / 'pixels.npy'}"
    hidden = f'mount -t tmpfs none {home} && test -z "$(ls {home})" && {python}'
    environment = {**os.environ, "MLFLOW_TRACKING_URI": served.mlflow_url}
    environment.pop("LANDCOVER_HOME")
    try:
        subprocess.run(["unshare", "-rm", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine allows no mount namespaces (`unshare -rm`)")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", hidden], env=environment, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("(2, 2, 64, 64)")


def serve(served: Served, folder: Path) -> None:
    """`mlflow models serve` answers a request with the model's own example."""
    port, environment = unused_port(), {**os.environ, "MLFLOW_TRACKING_URI": served.mlflow_url}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", f"models:/{NAME}@champion"]
    options = ["--env-manager", "local", "--port", str(port)]
    with (folder / "serve.log").open("w") as log:
        server = subprocess.Popen([*command, *options], env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        example = ["artifacts", "download", "--artifact-uri", f"models:/{NAME}@champion/serving_input_example.json"]
        subprocess.run(
            [sys.executable, "-m", "mlflow", *example, "--dst-path", str(folder)],
            env=environment,
            check=True,
            capture_output=True,
        )
        served.wait_for(lambda: is_answered(port), "the served model")
        url, body = f"http://127.0.0.1:{port}/invocations", f"@{folder / 'serving_input_example.json'}"
        curl = ["curl", "-sS", url, "-H", "Content-Type: application/json", "-d", body]
        answer = subprocess.run(curl, capture_output=True, text=True, check=True).stdout
        assert np.array(json.loads(answer)["predictions"]).shape[1] == 2
    finally:
        server.terminate()
        server.wait(30)


def is_answered(port: int) -> bool:
    """Whether a served model answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
            return True
    except OSError:
        return False
