"""Pages of products on Dagster's webserver: what is served, what never is, and with which rights."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import dagster as dg
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from assets import files
from landcover_orch import tracking
from landcover_orch.pages.links import mlflow_path, page_path, training_run_link
from landcover_orch.store.publish import Product, Recipe, Stage, publish, rebuild_mark


def build(home: Path, asset: str, name: str, content: bytes = b"<h1>report</h1>") -> Product:
    def write(stage: Stage) -> None:
        (stage.path / "index.html").write_bytes(content)
        (stage.path / "figures").mkdir()
        (stage.path / "figures" / "a b.png").write_bytes(b"png")

    folder = home / "town" / asset
    return publish(folder, name, Recipe(asset, 1, {"content": str(content)}, {}), write)


@pytest.fixture
def product(home: Path) -> Product:
    """A published report, and what lies beside it in a home."""
    for name in ("mlflow.db", "dagster/history/runs.db", "town/champion/decisions.jsonl", "town/report/notes.txt"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("private")
    return build(home, "report", "small")


@pytest.fixture
def client() -> TestClient:
    """A client of the routes alone."""
    return TestClient(Starlette(routes=files.routes()), follow_redirects=False)


def test_files_of_a_product_are_served_without_the_servers_rights(client: TestClient, product: Product) -> None:
    for path in ("/pages/town/report/small/index.html", "/pages/town/report/small/"):
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (200, "<h1>report</h1>")
        assert answer.headers["content-security-policy"] == files.HEADERS["Content-Security-Policy"]
        assert "allow-same-origin" not in answer.headers["content-security-policy"]
        assert answer.headers["content-security-policy"].startswith("sandbox ")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"].startswith("text/html")
    assert client.get("/pages/town/report/small/figures/a%20b.png").headers["content-type"] == "image/png"


def test_a_link_keeps_to_its_product_when_another_one_is_current(client: TestClient, home: Path) -> None:
    former = build(home, "report", "small")
    build(home, "report", "small", b"<h1>new</h1>")
    assert client.get(page_path(home, former.file("index.html"))).text == "<h1>report</h1>"
    assert client.get("/pages/town/report/small/").text == "<h1>new</h1>"


@pytest.mark.parametrize(
    "path",
    [
        "mlflow.db",
        "dagster/history/runs.db",
        "town/champion/decisions.jsonl",
        "town/report/notes.txt",
        "town/report/small/manifest.json",
        "town/report/small/absent.html",
        "town/report/small/figures",
        "town/report/small/../notes.txt",
        "town/report/small/%2e%2e/notes.txt",
        "town/report/small/..%2f..%2f..%2fmlflow.db",
        "town/report/.small.partial/index.html",
        "town/report/elsewhere/secret.txt",
        "town/report//small/index.html",
        "town/report/small/%00",
        "../etc/passwd",
        "town",
        "town/",
        "dagster/",
        "dagster/index.html",
    ],
)
def test_nothing_else_is_served(client: TestClient, home: Path, product: Product, tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.txt").write_text("private")
    (home / "town" / "report" / "elsewhere").symlink_to(tmp_path / "outside")
    (home / "town" / "report" / ".small.partial").mkdir()
    (home / "town" / "report" / ".small.partial" / "index.html").write_text("half")
    answer = client.get(f"/pages/{path}")
    assert answer.status_code == 404
    assert "private" not in answer.text


@pytest.fixture
def demonstrated(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose dataset `demo` alone is served."""
    monkeypatch.setenv("LANDCOVER_DATASETS", "demo")
    return home


def test_index_pages_are_made_of_what_is_published_now(client: TestClient, demonstrated: Path) -> None:
    for path in ("/pages/demo/", "/pages/demo/index.html"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"] == files.HEADERS["Content-Security-Policy"]
        assert "Nothing has been published yet" in answer.text
    folder = demonstrated / "demo" / "report"
    publish(folder, "small", Recipe("report", 1, {}, {}), lambda stage: stage.write_json("report.json", {}))
    text = client.get("/pages/demo/").text
    assert 'href="report/small/report.json"' in text
    assert client.get("/pages/demo/report/small/report.json").status_code == 200
    assert client.get("/pages/demo").headers["location"] == "/pages/demo/"
    listed = client.get("/pages/").text
    assert 'href="demo/index.html"' in listed
    assert client.get("/pages/index.html").status_code == 200


def test_index_pages_link_to_dagster_and_mlflow(client: TestClient, demonstrated: Path) -> None:
    assert "/go/mlflow/models/demo" not in client.get("/pages/demo/").text, "nothing is trained yet"
    (demonstrated / "demo" / "model").mkdir(parents=True)
    text = client.get("/pages/demo/").text
    links = dict(re.findall(r'<a href="([^"]+)" target="_blank" rel="noopener">([^<]+) ↗</a>', text))
    assert links == {
        "/locations/landcover_orch/asset-groups/demo": "assets in Dagster",
        "/locations/landcover_orch/jobs/demo_everything": "job in Dagster",
        "/locations/landcover_orch/sensors/demo_watch": "sensor in Dagster",
        "/go/mlflow/models/demo": "registered model in MLflow",
    }
    assert client.get("/go/mlflow/models/demo").status_code == 302
    assert 'href="/go/mlflow/models"' in client.get("/pages/").text
    assert client.get("/go/mlflow/models").status_code == 302


def test_the_index_shows_what_the_check_of_the_group_last_said(demonstrated: Path) -> None:
    with dg.DagsterInstance.ephemeral() as dagster:
        client = TestClient(Starlette(routes=files.routes(dagster)))
        assert "not looked at yet" in client.get("/pages/demo/").text
        report = partial(dg.AssetCheckEvaluation, asset_key=dg.AssetKey(["demo", "dataset_manifest"]))
        key = {"check_name": "group_up_to_date", "severity": dg.AssetCheckSeverity.WARN, "metadata": {}}
        dagster.report_runless_asset_event(report(passed=False, description="3 products are stale", **key))
        text = client.get("/pages/demo/").text
        assert "not up to date" in text
        assert "3 products are stale" in text
        assert "landcover materialise demo" in text
        dagster.report_runless_asset_event(report(passed=True, **key))
        assert ">up to date<" in client.get("/pages/demo/").text


def test_a_fault_of_the_configuration_stands_on_the_index(
    client: TestClient, home: Path, configs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDCOVER_DATASETS", "faulty")
    (configs / "datasets" / "faulty.yaml").write_text("name: faulty\ntyls: 3\n")
    for path in ("/pages/faulty/", "/pages/"):
        text = client.get(path).text
        assert "configuration cannot be loaded" in text
        assert "tyls" in text
        assert "landcover check faulty" in text


def test_a_damaged_product_is_not_served(client: TestClient, product: Product) -> None:
    (product.path / "index.html").write_text("other")
    assert client.get("/pages/town/report/small/").status_code == 404


def test_a_file_of_other_bytes_is_told_and_built_again(client: TestClient, product: Product) -> None:
    path = product.path / "index.html"
    path.write_bytes(path.read_bytes().replace(b"report", b"repost"))
    answer = client.get("/pages/town/report/small/index.html")
    assert answer.status_code == 500
    assert "index.html: missing or changed" in answer.text
    assert "Fix: materialise again" in answer.text
    assert rebuild_mark(product.path).exists()


def test_a_product_that_links_outside_the_home_is_not_served(client: TestClient, home: Path, tmp_path: Path) -> None:
    outside = build(tmp_path / "outside", "report", "small")
    (home / "town" / "report").mkdir(parents=True)
    (home / "town" / "report" / "small").symlink_to(outside.path)
    assert client.get("/pages/town/report/small/index.html").status_code == 404


def test_links_to_mlflow_lead_to_its_present_address(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCOVER_MLFLOW_UI", "http://127.0.0.1:5007")
    run = "0123456789abcdef0123456789abcdef"
    link = mlflow_path(f"http://127.0.0.1:5000/#/experiments/3/runs/{run}?workflowType=machine_learning")
    assert link == f"/go/mlflow/experiments/3/runs/{run}"
    answer = client.get(link)
    assert answer.status_code == 302
    expected = f"http://127.0.0.1:5007/#/experiments/3/runs/{run}?workflowType=machine_learning"
    assert answer.headers["location"] == expected
    assert client.get("/go/mlflow/models/town/versions/4").status_code == 302


def test_the_link_of_a_training_leads_to_its_run(
    client: TestClient, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANDCOVER_MLFLOW_UI", "http://127.0.0.1:5007")
    monkeypatch.setenv("LANDCOVER_DATASETS", "demo")
    model = publish(
        home / "demo" / "model", "small", Recipe("model", 1, {}, {}), lambda stage: stage.write_json("a", 1)
    )
    link = training_run_link("demo", "small", model.fingerprint).path
    assert f'<a href="{link}"' in client.get("/pages/demo/").text
    answer = client.get(link)
    assert (answer.status_code, "landcover materialise demo" in answer.text) == (404, True)
    mlflow = tracking.client(home)
    tags = {tracking.EXPERIMENT: "small", tracking.FINGERPRINT: model.fingerprint}
    run = mlflow.create_run(mlflow.create_experiment("demo"), tags=tags)
    mlflow.set_terminated(run.info.run_id, "FINISHED")
    answer = client.get(link)
    assert answer.status_code == 302
    start = f"http://127.0.0.1:5007/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}?"
    assert answer.headers["location"].startswith(start)
    assert not (home / "else").exists()
    assert client.get("/go/mlflow/trainings/else/small/0123456789abcdef").status_code == 404


@pytest.mark.parametrize("path", ["", "/evil.example", "experiments/x", "models/a/b", "runs/../..", "//evil.example/"])
def test_nothing_else_is_redirected_to(client: TestClient, path: str) -> None:
    assert client.get(f"/go/mlflow/{path}").status_code == 404
