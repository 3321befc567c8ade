"""Files of published products and the dataset's index pages, served by Dagster's webserver below /pages/."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import dagster as dg
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from assets.overview import dataset_links, last_state, left_behind_lines
from landcover_orch import config
from landcover_orch.errors import IncompleteError, LandcoverError
from landcover_orch.overview import index
from landcover_orch.pages.links import MLFLOW, PAGES, TRAININGS, Link
from landcover_orch.store import publish
from landcover_orch.store.products import MODEL, folder
from landcover_orch.store.publish import MANIFEST
from landcover_orch.tracking import finished_run, interface, run_url, training_view

HEADERS = {
    "Content-Security-Policy": "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox allow-downloads",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
"""A page may run its own script and nothing else: it has none of the server's rights, nor its origin.

What its links open in a new tab, as Dagster's pages, works as if it were opened by hand.
"""

MLFLOW_PATH = re.compile(r"(experiments/\d+(/runs/[0-9a-f]{32})?|models(/[\w-]{1,200}(/versions/\d+)?)?)")

TRAINING_PATH = re.compile(TRAININGS + r"/([\w-]{1,200})/([\w.-]{1,200})/([0-9a-f]{8,64})")

SERVERS = (Link("Dagster", "/"), Link("models in MLflow", f"{MLFLOW}/models"))
"""Links of the list of datasets."""

INDEX_PATH = re.compile(r"(?:([\w-]+)/)?(?:index\.html)?")
"""Path of the list of datasets, or of the index page of one."""


def routes(dagster: dg.DagsterInstance | None = None) -> list[Route]:
    """Routes before Dagster's own; the state of datasets is looked up in the instance."""

    def page_or_index(request: Request) -> Response:
        return index_page(request.path_params["path"], dagster) or page(request)

    return [
        Route(f"{PAGES}/{{path:path}}", page_or_index, methods=["GET", "HEAD"]),
        Route(PAGES, lambda _: RedirectResponse(f"{PAGES}/"), methods=["GET", "HEAD"]),
        Route(f"{MLFLOW}/{{path:path}}", mlflow, methods=["GET", "HEAD"]),
    ]


def index_page(path: str, dagster: dg.DagsterInstance | None) -> Response | None:
    """The index page of a dataset or the list of all, made of what is published now; None where it is another path."""
    match = INDEX_PATH.fullmatch(path)
    if match is None:
        known = path in index.known_datasets(config.home())
        return RedirectResponse(f"{PAGES}/{path}/") if known else None
    home, name = config.home(), match[1]
    names = index.known_datasets(home)
    if name is None:
        html = index.datasets_page(home, names, partial(last_state, dagster), SERVERS)
        return HTMLResponse(html, headers=HEADERS)
    if name not in names:
        return None
    html = index.index_page(home, name, last_state(dagster, name), left_behind_lines(name), dataset_links(name))
    return HTMLResponse(html, headers=HEADERS)


def page(request: Request) -> Response:
    """A file of a published product; 404 for anything else."""
    try:
        path = published_file(config.home(), request.path_params["path"])
    except IncompleteError as error:
        return PlainTextResponse(str(error), 500, HEADERS)
    if path is None:
        text = f"No published file of that name. The index of a dataset lists those there are: {PAGES}/DATASET/"
        return PlainTextResponse(text, 404, HEADERS)
    return FileResponse(path, headers=HEADERS)


def mlflow(request: Request) -> Response:
    """Redirects to the present address of a run, a registered model or a version in MLflow's pages."""
    path = request.path_params["path"]
    if (training := TRAINING_PATH.fullmatch(path)) is not None:
        return training_run(*training.groups())
    if MLFLOW_PATH.fullmatch(path) is None:
        return PlainTextResponse("No run, model or version of MLflow.", 404, HEADERS)
    return RedirectResponse(training_view(f"{interface()}/#/{path}"), 302)


def training_run(dataset: str, experiment: str, fingerprint: str) -> Response:
    """Redirects to the MLflow run of the training that gave the model of a fingerprint."""
    home = config.home()
    try:
        run_id = finished_run(dataset, experiment, fingerprint, home) if folder(home, dataset, MODEL).is_dir() else None
        url = run_url(run_id, home) if run_id else None
    except LandcoverError as error:
        return PlainTextResponse(str(error), 503, HEADERS)
    if url is None:
        fix = f"`landcover materialise {dataset}` registers the model, and its run with it"
        return PlainTextResponse(f"No run in MLflow of this training of {experiment}. Fix: {fix}.", 404, HEADERS)
    return RedirectResponse(url, 302)


def published_file(home: Path, path: str) -> Path | None:
    """The file at DATASET/ASSET/NAME/FILE, if it is one of a published product's; else None.

    NAME is that of the current product, or of any with its fingerprint. Databases, logs, files that are being written
    and everything beside the products are none.

    Raises:
        IncompleteError: its bytes are not those that were published.
    """
    parts = path.split("/")
    if len(parts) < 3 or any(not part or part.startswith(".") for part in parts[:-1]):
        return None
    if parts[-1] == "":
        parts[-1] = "index.html"
    for product_folder, file in divisions(home, parts):
        if not (product_folder / MANIFEST).is_file() or not product_folder.resolve().is_relative_to(
            (home / parts[0]).resolve()
        ):
            continue
        try:
            product = publish.load(product_folder.resolve())
        except (LandcoverError, OSError, ValueError):
            return None
        return product.file(file) if file in product.files and (product.path / file).is_file() else None
    return None


def divisions(home: Path, parts: list[str]) -> Iterator[tuple[Path, str]]:
    """The folders that may be a product, with the rest of the path: products of an experiment's tiles lie deeper."""
    for depth in (3, 4):
        if len(parts) > depth:
            yield home.joinpath(*parts[:depth]), "/".join(parts[depth:])
