"""Links between Dagster, MLflow and the files of products: paths on Dagster's webserver, whatever its address is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

PAGES, MLFLOW = "/pages", "/go/mlflow"
"""Where Dagster's webserver serves files of published products, and sends people on to MLflow's pages."""

TRAININGS = "trainings"
"""Below MLFLOW: runs of trainings by DATASET/EXPERIMENT/FINGERPRINT."""


@dataclass(frozen=True)
class Link:
    """Link of a page to Dagster or MLflow: its text, and its path on Dagster's webserver."""

    text: str
    path: str


def asset_link(dataset: str, asset: str, partition: str | None = None) -> Link:
    """Link to an asset in Dagster, at one of its partitions where that is named."""
    query = f"?view=partitions&partition={quote(partition, safe='')}" if partition else ""
    return Link(f"{asset} {partition or ''}".rstrip() + " in Dagster", f"/assets/{quote(dataset)}/{asset}{query}")


def registered_model_link(dataset: str) -> Link:
    """Link to the registered model of a dataset in MLflow."""
    return Link("registered model in MLflow", f"{MLFLOW}/models/{quote(dataset)}")


def training_run_link(dataset: str, experiment: str, fingerprint: str) -> Link:
    """Link to the MLflow run of a training, by its model's fingerprint: a page is made of its recipe, not of a run."""
    path = "/".join(quote(part, safe="") for part in (dataset, experiment, fingerprint))
    return Link(f"training run of {experiment} in MLflow", f"{MLFLOW}/{TRAININGS}/{path}")


def page_path(home: Path, path: Path) -> str:
    """Path of a product's folder, or of a file in it, on Dagster's webserver; of a folder, that of its page."""
    return f"{PAGES}/{quote(str(path.relative_to(home)))}"


def mlflow_path(url: str) -> str:
    """Path on Dagster's webserver that leads to a page of MLflow, from that page's address."""
    return f"{MLFLOW}/{url.partition('#/')[2].partition('?')[0]}"


def markdown_picture(home: Path, path: Path, alt: str = "picture") -> str:
    """Markdown of a product's picture by link; with Dagster's webserver alone it is shown."""
    return f"![{alt}]({page_path(home, path)})"
