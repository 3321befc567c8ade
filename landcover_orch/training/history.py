"""Training history: validation metrics of each epoch, the best one, early stopping; as rows, CSV and a figure."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landcover_orch.metrics import catalogue, confusion
from landcover_orch.metrics.metric import Value
from landcover_orch.pages.chart import as_png, canvas

if TYPE_CHECKING:
    from landcover_orch.training.distributed.process_group import ProcessGroup


class Tally:
    """Validation counts: the confusion matrix over all patches, and what map metrics count in each."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.matrix = np.zeros((classes, classes), np.int64)
        nothing = np.zeros((0, 0), np.uint8)
        self._counts = {name: [c[None][:0]] for name, c in catalogue.map_counts(nothing, nothing, classes).items()}

    def add(self, label: NDArray[np.uint8], predicted: NDArray[np.uint8]) -> None:
        """Counts the patches of a batch, both (n, y, x)."""
        self.matrix += confusion.count(label, predicted, self.classes)
        for patch in zip(label, predicted, strict=True):
            for name, counts in catalogue.map_counts(*patch, self.classes).items():
                self._counts[name].append(counts[None])

    def all_gather(self, group: ProcessGroup) -> Tally:
        """The counts of all processes."""
        total = Tally(self.classes)
        total.matrix = group.all_gather_rows(self.matrix[None]).sum(axis=0)
        total._counts = {name: [group.all_gather_rows(np.concatenate(c))] for name, c in self._counts.items()}
        return total

    def metrics(self) -> dict[str, Value]:
        """Name -> value of every metric; the patches are the pictures of map metrics."""
        return catalogue.summary(self.matrix, {name: np.concatenate(c) for name, c in self._counts.items()})


@dataclass(frozen=True)
class Row:
    """One epoch; the metrics are those of the validation split, `iou` a class, None where a class does not occur.

    `lr` is None where nothing is learnt by gradients, `loss` where nothing is learnt at all.
    """

    epoch: int
    loss: float | None
    validation_loss: float
    metrics: dict[str, Value]
    iou: dict[str, Value]
    lr: float | None

    def flat(self) -> dict[str, Any]:
        """Cells of a table by column: the metrics in place, IoU as 'iou <class>'."""
        plain = {name: value for name, value in asdict(self).items() if name not in ("iou", "metrics")}
        return {**plain, **self.metrics, **{f"iou {name}": value for name, value in self.iou.items()}}


@dataclass(frozen=True)
class TrainingHistory:
    """Training history: the epochs' rows, the seconds each took, and the micro-batches that a batch passed in."""

    rows: list[Row]
    seconds: list[float]
    micro_batches: int = 1


def row(
    epoch: int, loss: float | None, validation_loss: float, tally: Tally, names: Sequence[str], lr: float | None
) -> Row:
    """The row of an epoch from its losses and what was counted of the validation split."""
    return Row(
        epoch=epoch,
        loss=loss,
        validation_loss=validation_loss,
        metrics=tally.metrics(),
        iou=dict(zip(names, confusion.iou(tally.matrix), strict=True)),
        lr=lr,
    )


def score(entry: Row, metric: str) -> float:
    """Checkpoint score, the larger the better: a metric, or minus one that should be small, as the loss.

    An undefined metric is worse than any.
    """
    value = entry.validation_loss if metric == "loss" else entry.metrics[metric]
    if value is None:
        return float("-inf")
    return -value if catalogue.smaller_is_better(metric) else value


def best(history: Sequence[Row], metric: str) -> Row:
    """The epoch with the best score; of equals the first."""
    return max(history, key=lambda entry: score(entry, metric))


def exhausted(history: Sequence[Row], metric: str, patience: int | None) -> bool:
    """Early stopping: whether the last `patience` epochs all failed to beat the best."""
    return bool(history) and patience is not None and history[-1].epoch - best(history, metric).epoch >= patience


def write_csv(path: Path, history: Sequence[Row]) -> None:
    """One line an epoch, an empty cell where a value is undefined."""
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = [entry.flat() for entry in history]
        table = csv.DictWriter(file, fieldnames=list(lines[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(lines)


def draw(path: Path, history: Sequence[Row], colours: Sequence[str], chosen: int) -> None:
    """Losses, means and the classes' IoU over the epochs as a PNG; a line marks the chosen epoch."""
    figure = canvas(12, 3.6)
    for axes, (title, curves) in zip(figure.subplots(1, 3), panels(history, colours).items(), strict=True):
        for name, values, style in curves:
            axes.plot([entry.epoch for entry in history], values, label=name, marker=".", **style)
        axes.axvline(chosen, color="#999999", linewidth=1, linestyle=":")
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        if title != "loss":
            axes.set_ylim(0, 1)
    path.write_bytes(as_png(figure))


Curve = tuple[str, list[Value], dict[str, Any]]


def panels(history: Sequence[Row], colours: Sequence[str]) -> dict[str, list[Curve]]:
    """Learning curves by the title of their panel: name, values and line style of each."""
    names = list(history[0].iou)
    means = [metric.name for metric in catalogue.METRICS if metric.headline]
    return {
        "loss": [
            ("train", [_nan(entry.loss) for entry in history], {}),
            ("validation", [entry.validation_loss for entry in history], {}),
        ],
        "validation": [
            (name.replace("_", " "), [_nan(entry.metrics[name]) for entry in history], {}) for name in means
        ],
        "validation IoU a class": [
            (name, [_nan(entry.iou[name]) for entry in history], {"color": colour})
            for name, colour in zip(names, colours, strict=True)
        ],
    }


def _nan(value: Value) -> float:
    return float("nan") if value is None else value
