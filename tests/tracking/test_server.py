"""MLflow's server as other machines see it: whom it answers, and what a client loads that sees its address alone."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from landcover_orch import tracking
from landcover_orch.errors import ConfigError, TrackingError
from landcover_orch.store.publish import Product
from landcover_orch.tracking import server
from tests.tracking import champions
from tests.training import classroom

PIXELS = classroom.patches(3, seed=5).image


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for name in ("MLFLOW_TRACKING_URI", "LANDCOVER_URL", "LANDCOVER_MLFLOW_UI", "LANDCOVER_DAGSTER_UI"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Product]:
    """A home and its champion."""
    home = tmp_path_factory.mktemp("served") / "home"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return home, champions.crowned(home)


@pytest.fixture(scope="module")
def port(champion: tuple[Path, Product]) -> Iterator[int]:
    """The port of the server of that home."""
    home, _ = champion
    with champions.served(home, home.parent / "server.log") as number:
        yield number


def test_mlflow_finds_the_plugin() -> None:
    points = importlib.metadata.entry_points(group="mlflow.artifact_repository")
    assert "landcover_mlflow:repository" in {point.value for point in points}, "install the project again: make install"


@pytest.mark.slow
def test_the_server_answers_to_its_own_address_alone(port: int) -> None:
    page = f"http://127.0.0.1:{port}/"
    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        assert champions.status(page, {"Host": host}) == 200
    for host in ("10.evil.com", f"10.evil.com:{port}", "192.168.1.1", "127.0.0.1", f"localhost.evil.com:{port}"):
        assert champions.status(page, {"Host": host}) == 403, host
    search = f"{page}api/2.0/mlflow/experiments/search"
    body, kind = json.dumps({"max_results": 1}).encode(), {"Content-Type": "application/json"}
    assert champions.status(search, kind, body) == 200
    assert champions.status(search, {**kind, "Origin": "http://evil.example"}, body) == 403


@pytest.mark.slow
def test_a_client_that_sees_the_address_alone_predicts_as_the_library(
    port: int, champion: tuple[Path, Product], tmp_path: Path
) -> None:
    if not champions.sees_namespaces():
        pytest.skip("unshare -rm is refused here: the home cannot be hidden from a process")
    home, product = champion
    environment = champions.outside(MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")
    library = champions.predicted(tmp_path, PIXELS, environment, hidden=home)
    np.testing.assert_array_equal(
        np.load(tmp_path / "probabilities.npy"), champions.probabilities(product, PIXELS), strict=True
    )
    assert "/code/landcover_orch/" in library  # the copy that came with the model, although one is installed


@pytest.mark.slow
def test_a_run_s_files_are_listed_and_written_over_http(
    port: int, champion: tuple[Path, Product], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    home, product = champion
    run_id = tracking.find_run(product, home)
    uri = f"http://127.0.0.1:{port}"
    client = mlflow.MlflowClient(uri, uri)
    assert "curves.png" in {file.path for file in client.list_artifacts(run_id)}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (tmp_path / "note.txt").write_text("by http")
    client.log_artifact(run_id, str(tmp_path / "note.txt"))
    assert (home / "mlartifacts" / classroom.NAME / str(run_id) / "artifacts" / "note.txt").read_text() == "by http"


@pytest.mark.slow
def test_mlflow_serves_the_champion_in_this_environment(
    port: int, champion: tuple[Path, Product], tmp_path: Path
) -> None:
    serving = champions.free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", champions.CHAMPION),
        *("--env-manager", "local", "--host", "127.0.0.1", "--port", str(serving)),
    ]
    environment = champions.outside(MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")
    address = f"http://127.0.0.1:{serving}"
    with champions.running(command, environment, f"{address}/health", tmp_path / "serving.log"):
        answer = champions.posted(f"{address}/invocations", {"inputs": PIXELS.tolist()})
    predictions = np.array(answer["predictions"], np.float32)
    np.testing.assert_allclose(predictions, champions.probabilities(champion[1], PIXELS), rtol=1e-6)


@pytest.mark.slow
def test_a_public_address_is_answered_alone(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCOVER_URL", "https://maps.example.org")
    tracking.client(home)
    with champions.served(home, tmp_path / "server.log") as port:
        page = f"http://127.0.0.1:{port}/"
        assert champions.status(page, {"Host": "maps.example.org"}) == 200
        for host in ("10.evil.com", f"127.0.0.1:{port}", "maps.example.org.evil.com"):
            assert champions.status(page, {"Host": host}) == 403, host
        search = f"{page}api/2.0/mlflow/experiments/search"
        body, kind = b'{"max_results": 1}', {"Content-Type": "application/json", "Host": "maps.example.org"}
        assert champions.status(search, {**kind, "Origin": "https://maps.example.org"}, body) == 200
        assert champions.status(search, {**kind, "Origin": "https://evil.example"}, body) == 403


@pytest.mark.parametrize(
    ("settings", "host", "origin"),
    [
        ({}, "127.0.0.1:5077,localhost:5077", "http://127.0.0.1:5077,http://localhost:5077"),
        ({"LANDCOVER_URL": "https://Maps.example.org:443/land"}, "maps.example.org", "https://maps.example.org"),
        ({"LANDCOVER_URL": "http://localhost:8080"}, "localhost:8080", "http://localhost:8080"),
        (
            {"LANDCOVER_URL": "http://localhost:13000", "LANDCOVER_MLFLOW_UI": "http://localhost:15000"},
            "localhost:15000",
            "http://localhost:15000",
        ),
    ],
)
def test_the_hosts_and_origins_it_answers_to(
    home: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], host: str, origin: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    command = tracking.server_command(home, 5077)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--allowed-hosts") + 1] == host
    assert command[command.index("--cors-allowed-origins") + 1] == origin


@pytest.mark.parametrize(
    "value", ["maps.example.org", "ftp://a.b", "http://", "https://u@a.b", "http://*.b", "http://a:x"]
)
def test_what_is_no_public_address_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LANDCOVER_URL", value)
    with pytest.raises(ConfigError, match=r"LANDCOVER_URL: .*; expected http"):
        server.public_url()


def test_links_open_the_pages_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    assert server.run_page("7", "abc") == (
        "http://127.0.0.1:5000/#/experiments/7/runs/abc?workflowType=machine_learning"
    )
    assert server.version_page("a b", "3") == (
        "http://127.0.0.1:5000/#/models/a%20b/versions/3?workflowType=machine_learning"
    )
    assert server.product_page("d", "report", "e") == "http://127.0.0.1:3000/pages/d/report/e/index.html"
    monkeypatch.setenv("LANDCOVER_DAGSTER_UI", "https://dagster.example/")
    assert server.dagster_interface() == "https://dagster.example"
    monkeypatch.setenv("LANDCOVER_URL", "https://maps.example.org/")
    assert server.dagster_interface() == "https://maps.example.org"
    assert server.run_page("7", "abc").startswith("https://maps.example.org/mlflow/#/experiments/7/")


def test_a_server_that_accepts_and_never_answers_is_given_up_at_once_and_not_asked_again_for_a_while(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PROBE_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        for _ in range(50):
            with pytest.raises(TrackingError, match="no answer within 0 s"):
                tracking.champion("demo", home)
        assert time.monotonic() - started < 5


def test_whatever_a_server_answers_will_do(port: int) -> None:
    for path in ("", "/nowhere", "/"):
        server.require_answer(f"http://127.0.0.1:{port}{path}")
