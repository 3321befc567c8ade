"""Launch of runs through running servers: those that cannot execute them leave them to this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets import chain, execution, instance, launch, processes
from assets.client import Client, ServerUnreachableError
from assets.materialise import materialise
from landcover_orch.config import Dataset
from tests import tiny


class Servers(Client):
    """A client of servers that have a configuration of a dataset, and launch nothing."""

    def __init__(self, tags: dict[str, str]) -> None:
        super().__init__("http://127.0.0.1:1")
        self.tags, self.asked = tags, 0

    def job_tags(self, job: str) -> dict[str, str]:
        """Tags of the servers' jobs."""
        return self.tags

    def launch(self, *_: object) -> str:
        """No run."""
        self.asked += 1
        return super().launch("tiny_prepare", None, {})


@pytest.fixture
def dataset(configs: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The tiny dataset, while servers whose reload is awaited no longer than a look takes."""
    monkeypatch.setattr(launch, "RELOAD_S", 0.1)
    return tiny.write(configs, tmp_path / "raw")


def materialised(dataset: Dataset, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines of a materialisation of the ground truth, whose run is of this process."""
    monkeypatch.setattr(launch, "running", lambda _: servers)
    lines: list[str] = []
    with instance.opened() as dagster:
        materialise(dagster, dataset, {"ground_truth"}, log=lines.append)
        (run,) = dagster.get_runs()
    assert run.is_success
    assert processes.PROCESS in run.tags
    assert run.tags[chain.CONFIGURATION] == chain.configuration_tags(dataset)[chain.CONFIGURATION]
    assert run.tags[execution.MAX_RETRIES] == "0"
    return lines


def test_servers_of_another_configuration_execute_nothing(
    dataset: Dataset, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = Servers(chain.configuration_tags(dataset.model_copy(update={"root": str(home)})))
    lines = materialised(dataset, servers, monkeypatch)
    assert lines[0].endswith("serves no tiny, or one of another configuration: runs in this process")
    assert servers.asked == 0


def test_what_servers_do_not_launch_is_executed_here_and_they_are_asked_once(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = Servers(chain.configuration_tags(dataset))
    lines = materialised(dataset, servers, monkeypatch)
    assert lines[0] == "  runs are launched through http://127.0.0.1:1, where `landcover ui` serves the home"
    assert any("not launched there, but in this process" in line for line in lines)
    assert servers.asked == 1


class OfAnotherHistory(Servers):
    """Servers whose runs are in another history."""

    def __init__(self, tags: dict[str, str]) -> None:
        super().__init__(tags)
        self.terminated: list[str] = []

    def launch(self, *_: object) -> str:
        """A run that this process cannot see."""
        return "elsewhere"

    def terminate(self, run_id: str) -> None:
        """Notes it."""
        self.terminated.append(run_id)


def test_servers_that_write_another_history_are_told_and_their_run_is_terminated(
    dataset: Dataset, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = OfAnotherHistory(chain.configuration_tags(dataset))
    monkeypatch.setattr(launch, "running", lambda _: servers)
    with instance.opened() as dagster, pytest.raises(launch.OtherHistoryError) as caught:
        materialise(dagster, dataset, {"ground_truth"}, log=lambda line: None)
    assert servers.terminated == ["elsewhere"]
    assert str(caught.value).startswith(
        f"DAGSTER_HOME={home / 'dagster'}: its history has no run that http://127.0.0.1:1"
    )
    assert "Fix: unset DAGSTER_HOME" in str(caught.value)


def test_a_client_of_nothing_says_so() -> None:
    client = Client("http://127.0.0.1:1")
    assert not client.answers()
    with pytest.raises(ServerUnreachableError, match="expected an answer of `landcover ui`"):
        client.job_tags("tiny_prepare")


def test_a_process_is_told_from_a_later_one_of_its_number_and_not_from_itself_by_another_clock() -> None:
    host, number, started = processes.this_process().split()
    assert not processes.is_gone(f"{host} {number} {float(started) + 0.7:.2f}"), "the machine's clock was set"
    assert processes.is_gone(f"{host} {number} {float(started) - 60:.2f}")
    assert not processes.is_gone(f"elsewhere {number} 1.00")


def test_lines_of_a_run_are_passed_on_once_without_dagster_s_own(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "running", lambda _: None)
    lines: list[str] = []
    with instance.opened() as dagster:
        materialise(dagster, dataset, {"ground_truth"}, log=lambda line: None)
        (run,) = dagster.get_runs()
        launched = launch.Launcher(None, execution.InProcess(dagster, print), lines.append)
        for _ in range(2):  # the second time is behind a Ctrl-C
            launched.pass_on(run.run_id)
    assert [line for line in lines if "tile t0 done" in line] == ["    tiny/ground_truth: tile t0 done (1 of 3)"]
    assert not [line for line in lines if launch.is_noise(line.strip())]
    assert launch.is_noise("[pipes] external process successfully opened dagster pipes.")
    assert not launch.is_noise("epoch 1 of 2: loss 0.5")
