"""Which of several processes this is, as torchrun and Slurm tell, and which rows of a batch it takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landcover_orch.errors import TrainingError
from landcover_orch.training import fit
from landcover_orch.training.augmentation import Bands
from landcover_orch.training.device import Device
from landcover_orch.training.distributed import process_group
from landcover_orch.training.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from tests.training import classroom

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "none",
    "RANK": "5",
    "LOCAL_RANK": "1",
    "GROUP_RANK": "1",
    "WORLD_SIZE": "8",
    "LOCAL_WORLD_SIZE": "4",
}
SLURM = {
    "SLURM_JOB_ID": "17",
    "SLURM_JOB_NAME": "landcover",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NTASKS": "8",
    "SLURM_NTASKS_PER_NODE": "4",
}


def _detected(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> ProcessGroup:
    for name in (*TORCHRUN, *SLURM):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return process_group.detect()


@pytest.mark.parametrize("variables", [TORCHRUN, SLURM, {**SLURM, **TORCHRUN}], ids=["torchrun", "srun", "both"])
def test_launchers_tell_rank_size_and_node(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    group = _detected(monkeypatch, variables)
    assert group == ProcessGroup(rank=5, size=8, local=4)
    assert not group.is_main
    assert group.description() == ", by 8 processes, 4 a node, that share each batch"
    assert group.environment is not None
    assert (group.environment.local_rank(), group.environment.node_rank()) == (1, 1)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {**SLURM, "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_PROCID": "0"},
        {key: value for key, value in SLURM.items() if key != "SLURM_STEP_ID"},
        {**SLURM, "SLURM_JOB_NAME": "bash"},
        {**TORCHRUN, "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1", "RANK": "0"},
    ],
    ids=["nothing", "one task", "a batch script without srun", "an interactive shell", "one process"],
)
def test_otherwise_a_process_is_alone(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    assert _detected(monkeypatch, variables) == SINGLE_PROCESS


def test_tasks_on_who_knows_how_many_nodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrainingError, match=r"8 tasks; expected tasks a node.*--ntasks-per-node"):
        _detected(monkeypatch, {key: value for key, value in SLURM.items() if key != "SLURM_NTASKS_PER_NODE"})


@given(st.integers(1, 9), st.integers(1, 40), st.data())
def test_rows_of_all_processes_are_the_batch_in_order(size: int, batch_size: int, data: st.DataObject) -> None:
    batch = np.arange(data.draw(st.integers(1, batch_size)))
    local_batches = [batch[ProcessGroup(rank, size).rows(batch_size)] for rank in range(size)]
    assert np.concatenate(local_batches).tolist() == batch.tolist()
    assert max(map(len, local_batches)) == min(len(batch), ProcessGroup(0, size).local_batch(batch_size))


def test_alone_everything_is_said_and_summed_already() -> None:
    values, rows = torch.tensor([1.0, 2.0]), np.array([[1, 2]])
    assert SINGLE_PROCESS.sum(values) is values
    assert SINGLE_PROCESS.broadcast_text("so it is") == "so it is"
    assert SINGLE_PROCESS.all_gather_rows(rows).tolist() == rows.tolist()
    assert SINGLE_PROCESS.description() == ""


@pytest.fixture
def task() -> fit.Task:
    """What a process learns."""
    ones = np.ones(2, np.float32)
    return fit.Task(
        experiment=classroom.experiment(batch_size=7, augmentation={"rotation": 20, "noise": 0.5}),
        train=classroom.patches(24),
        validation=classroom.patches(8),
        classes=classroom.CLASSES,
        bands=Bands(mean=100 * ones, std=66 * ones, low=0 * ones, high=200 * ones),
        class_pixels=(5, 3, 2),
        device=Device("cpu", bfloat16=False, name="the CPU"),
    )


def test_batches_of_all_processes_are_those_of_one(task: fit.Task) -> None:
    batches = list(fit.train_batches(task, epoch=1))
    local_batches = [list(fit.train_batches(replace(task, group=ProcessGroup(rank, 3)), epoch=1)) for rank in range(3)]
    for batch, *parts in zip(batches, *local_batches, strict=True):
        assert torch.equal(torch.cat([part.image for part in parts]), batch.image)
        assert torch.equal(torch.cat([part.label for part in parts]), batch.label)
        assert {part.batch_size for part in parts} == {len(batch.image)}


def test_more_processes_than_patches_in_a_batch_are_refused(task: fit.Task) -> None:
    crowded = replace(task, group=ProcessGroup(0, 8))
    with pytest.raises(TrainingError, match="batch_size: 7 patches; expected at least one for each of 8 processes"):
        fit.step(crowded, None, print)  # type: ignore[arg-type]
