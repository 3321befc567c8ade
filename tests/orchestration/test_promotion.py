"""Promotion by hand, and what a person is told of: through the command, MLflow's alias and the sensor."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from assets import instance
from assets.cli import main
from assets.materialise import MaterialisationError, materialise
from landcover_orch import tracking
from landcover_orch.evaluation import champion
from landcover_orch.evaluation.decisions import load_decisions
from landcover_orch.store.products import current
from tests import tiny
from tests.in_process import training_in_process
from tests.orchestration.weeks import Weeks, versions


@pytest.fixture
def project(configs: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Two models that wait for a person: promotion is by hand, and nobody is champion yet."""
    (configs / "dagster").mkdir()
    shipped = Path(__file__).resolve().parents[2] / "configs" / "dagster" / "dagster.yaml"
    (configs / "dagster" / "dagster.yaml").write_text(shipped.read_text())
    tiny.save(configs, "experiments", {**tiny.RECIPE, "name": "second", "seed": 7, "epochs": 3})
    dataset = tiny.write(
        configs,
        tmp_path / "raw",
        tiles=4,
        experiments=[tiny.EXPERIMENT, "second"],
        promotion={"by": "hand"},
        retraining={"when": "never"},
    )
    with instance.opened() as dagster:
        with training_in_process(), pytest.raises(MaterialisationError, match="landcover promote tiny VERSION"):
            materialise(dagster, dataset)
        yield dagster


@contextmanager
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What a local server is sent meanwhile."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        """Takes messages."""

        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("LANDCOVER_NOTIFY", f"http://127.0.0.1:{server.server_port}/hook")
    try:
        yield received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def alias(home: Path, name: str = "champion") -> str:
    """The version that bears an alias."""
    return str(tracking.client(home).get_registered_model(tiny.NAME).aliases[name])


def version_of(home: Path, experiment: str) -> str:
    """The registered version of an experiment."""
    found = tracking.client(home).search_model_versions(f"name = '{tiny.NAME}'")
    return next(str(v.version) for v in found if v.tags[tracking.EXPERIMENT] == experiment)


def test_by_hand_a_person_decides_and_is_remembered(
    project: dg.DagsterInstance, home: Path, configs: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ana")
    assert champion.find(tiny.NAME, home) is None

    assert main(["promote", tiny.NAME, "99"]) == 1
    assert "no version 99" in capsys.readouterr().err
    second = version_of(home, "second")
    assert main(["promote", tiny.NAME, second]) == 0
    assert f"Version {second} is the champion of tiny" in capsys.readouterr().out
    assert champion.load(tiny.NAME, home).experiment == "second"
    assert alias(home) == second
    person = load_decisions(tiny.NAME, home)[0]
    assert (person.by, person.user) == ("person", "ana")
    assert load_decisions(tiny.NAME, home)[-1].by == "rule", "it confirms the choice"
    summary = current(home, tiny.NAME, "champion", "champion").json("summary.json")
    assert (summary["by"], summary["user"], summary["at"]) == ("person", "ana", person.at)
    assert main(["materialise", tiny.NAME]) == 0
    capsys.readouterr()
    words = f"Champion, by ana on {person.at[:10]}: second."
    assert current(home, tiny.NAME, "leaderboard", "leaderboard").json("summary.json")["verdict"].endswith(words)
    assert words in tracking.client(home).get_registered_model(tiny.NAME).description

    # the alias is moved in MLflow: the other version is the champion from then on, and the maps are its own
    first = version_of(home, tiny.EXPERIMENT)
    tracking.client(home).set_registered_model_alias(tiny.NAME, "champion", first)
    weeks = Weeks(project)
    assert weeks.pass_week() == ["elect", "map t0 t1 t2 t3", "summarise"]
    chosen = champion.load(tiny.NAME, home)
    assert (chosen.experiment, alias(home)) == (tiny.EXPERIMENT, first)
    from landcover_orch.store import publish

    maps = publish.current(home / tiny.NAME / "land_cover_map", "t0")
    assert maps.recipe.inputs["model"] == chosen.fingerprint
    assert weeks.pass_week() == []

    # switched to automatic, what lost when the person decided is not elected again
    path = configs / "datasets" / f"{tiny.NAME}.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "promotion": {"margin": 0.0}}))
    assert weeks.pass_week() == ["elect"]
    assert champion.load(tiny.NAME, home).experiment == tiny.EXPERIMENT
    assert "chosen by a person" in load_decisions(tiny.NAME, home)[-1].reason


def test_a_person_is_told_once_a_day(
    project: dg.DagsterInstance, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with webhook(monkeypatch) as received:
        weeks = Weeks(project)
        weeks.pass_week()
        (waiting,) = [message for message in received if message["cause"] == "failed: champion"]
        assert "landcover promote tiny VERSION" in waiting["text"]
        first_day = sorted(message["cause"] for message in received)
        received.clear()
        weeks.tick()
        assert received == [], "one message a cause and day"
        weeks.now += timedelta(days=1)
        weeks.tick()
        assert sorted(message["cause"] for message in received) == first_day

        received.clear()
        image = tmp_path / "raw" / "t0.tif"
        image.write_bytes(image.read_bytes()[:200])
        weeks.pass_week()
        causes = {message["cause"] for message in received}
        assert "failed: ground_truth t0" in causes
        assert any(cause.startswith("failed run of tiny_prepare") for cause in causes)
        assert any(cause.startswith("failed check orthophoto.files_fit") for cause in causes)

    assert versions(home, "champion") == {}
