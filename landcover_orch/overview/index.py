"""Index page of a dataset: verdict, warnings, state, the tiles of each split, the ranking, links to all pages."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from landcover_orch import config
from landcover_orch.config import Dataset
from landcover_orch.errors import LandcoverError
from landcover_orch.evaluation.decisions import Decision, champion_words, present_decision
from landcover_orch.metrics.catalogue import HEADLINE
from landcover_orch.overview.listing import Listed, listing
from landcover_orch.pages import page
from landcover_orch.pages.links import Link, training_run_link
from landcover_orch.pages.verdict import NOT_SCORED, software
from landcover_orch.store import publish, retention
from landcover_orch.store.products import (
    ASSETS,
    CHAMPION,
    DATASET_MANIFEST,
    LEADERBOARD,
    MANIFEST_NAME,
    PAGE,
    REPORT,
    REPORT_JSON,
    SUMMARY,
    folder,
    published_products,
)
from landcover_orch.store.publish import Product

SPLITS_PICTURE = "tiles.png"


@dataclass(frozen=True)
class State:
    """State of a dataset as it was last looked at: whether all products are current (None: nobody looked), and when."""

    current: bool | None = None
    text: str = ""
    at: datetime | None = None


StateOf = Callable[[str], State]


@dataclass(frozen=True)
class Overview:
    """What the index page of a dataset shows; it is made of what is published at this moment."""

    folder: Path
    dataset: Dataset | None
    fault: str | None
    """What is wrong with its configuration."""

    is_taken_out: bool
    """Whether products stay of a dataset that no configuration describes any more."""

    state: State
    manifest: Product | None
    leaderboard: Product | None
    decision: Decision | None
    """The last one on the champion."""

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.folder.name

    @cached_property
    def products(self) -> Mapping[str, list[Listed]]:
        """Asset -> its current products; looked at once, as of a province there are many."""
        return listing(self.folder)

    @property
    def bytes(self) -> int:
        """Bytes of everything that lies in its folder."""
        return retention.size(self.folder)

    @property
    def description(self) -> str:
        """One sentence about the dataset; empty where its configuration cannot be read."""
        return self.dataset.description if self.dataset else ""

    @property
    def scores(self) -> Mapping[str, Any]:
        """Summary of the leaderboard; empty where there is none."""
        return self.leaderboard.json(SUMMARY) if self.leaderboard else {}

    @property
    def data(self) -> Mapping[str, Any]:
        """Summary of the manifest; empty where there is none."""
        return self.manifest.json(SUMMARY) if self.manifest else {}

    @property
    def verdict(self) -> str:
        """Verdict on the best model in a sentence, as the leaderboard has it."""
        return self.scores.get("verdict") or NOT_SCORED

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before believing the scores."""
        warnings = list(self.data.get("warnings") or self.scores.get("warnings") or [])
        if self.is_taken_out:
            return warnings
        if self.dataset and (without := self.dataset.tiles.go_on_without):
            tiles = f"{'tile' if len(without) == 1 else 'tiles'} {', '.join(without)}"
            effect = "neither trained on, scored nor mapped"
            warnings.append(f"Made without {tiles}, as `tiles.go_on_without` says: {effect}.")
        scored_on = self.leaderboard.recipe.inputs.get("manifest") if self.leaderboard else None
        if scored_on and self.data and scored_on != self.data["digest"]:
            fix = f"landcover materialise {self.name}"
            warnings.append(f"The scores are of an earlier version of the data ({scored_on}). Fix: {fix}.")
        if self.decision and self.decision.challenger:
            waiting = self.decision.challenger.experiment
            fix = f"landcover promote {self.name} VERSION"
            warnings.append(f"{waiting} waits for a person to make it champion. Fix: {fix}.")
        return warnings

    @property
    def champion(self) -> str:
        """Who is champion: its experiment, and whether it is an earlier training than the one that is scored."""
        if self.decision is None:
            return ""
        name = self.decision.champion.experiment
        report = published_products(self.folder / REPORT, [name]).get(name)
        return champion_words(self.decision, {name: report.json(REPORT_JSON)} if report else {})

    @property
    def without_champion(self) -> list[str]:
        """Why no model maps the tiles, where models are scored; empty where one does."""
        if self.decision or self.is_taken_out or not self.scores.get("best"):
            return []
        failed = publish.failure(self.folder / CHAMPION, CHAMPION)
        step = f"none was elected yet. Fix: landcover materialise {self.name}."
        return [f"No champion, so no tile is mapped: {'; '.join(map(str, failed.problems)) if failed else step}"]

    @property
    def damaged(self) -> list[str]:
        """Warning of damaged products; empty where all are whole."""
        names = [f"{e.asset}/{e.name}" for entries in self.products.values() for e in entries if e.damaged]
        fix = f"landcover materialise {self.name}"
        if not names or self.is_taken_out:
            return []
        return [f"Damaged: {', '.join(names[:6])}, {len(names)} in all. Fix: {fix}."]

    @property
    def next_steps(self) -> list[tuple[str, str]]:
        """What to do next: a sentence and a command each; the first is the most urgent."""
        if self.is_taken_out:
            file = config.own_configs() / "datasets" / f"{self.name}.yaml"
            return [
                ("Remove what stays of it, with its history in Dagster", f"landcover clean {self.name} --all --yes"),
                (f"Or bring it back: put its configuration back as {file}, then", f"landcover status {self.name}"),
            ]
        if self.fault:
            return [("Mend the configuration, then look at the data", f"landcover check {self.name}")]
        if self.manifest is None:
            return [
                ("See every problem of the data before anything is built", f"landcover check {self.name}"),
                ("Then build all of it", f"landcover materialise {self.name}"),
            ]
        steps = []
        if self.state.current is not True:
            steps.append(("See what is missing or stale, and why", f"landcover status {self.name}"))
            steps.append(("Build it", f"landcover materialise {self.name}"))
        if self.decision:
            model = f"landcover predict new/*.tif --model models:/{self.name}@champion --output maps"
            steps.append(("Map new orthophotos by the champion", model))
        return steps or [("Nothing is left to do; look for newer data", f"landcover status {self.name}")]


def overview(home: Path, name: str, state: State) -> Overview:
    """Overview of a dataset, by its configuration and what is published of it."""
    try:
        dataset = config.load_dataset(name)
    except LandcoverError:
        dataset = None
    is_taken_out = not config.is_described(name) and config.missing_configs() is None and (home / name).is_dir()
    manifests = published_products(folder(home, name, DATASET_MANIFEST), [MANIFEST_NAME])
    boards = published_products(folder(home, name, LEADERBOARD), [LEADERBOARD])
    return Overview(
        folder=home / name,
        dataset=dataset,
        fault=None if is_taken_out else config.fault(name),
        is_taken_out=is_taken_out,
        state=state,
        manifest=manifests.get(MANIFEST_NAME),
        leaderboard=boards.get(LEADERBOARD),
        decision=last_decision(home, name),
    )


def last_decision(home: Path, name: str) -> Decision | None:
    """The last decision on a dataset's champion; None where there is none, or its history is damaged."""
    try:
        return present_decision(name, home)
    except LandcoverError:
        return None


def registered_version(home: Path, name: str) -> str | None:
    """Version of the champion in MLflow's registry, as it was last set."""
    import json

    path = folder(home, name, CHAMPION) / "alias.json"
    try:
        version = json.loads(path.read_text(encoding="utf-8")).get("version")
    except (OSError, ValueError, AttributeError):
        return None
    return None if version is None else str(version)


def index_page(home: Path, name: str, state: State, left_behind: Sequence[str] = (), links: Sequence[Link] = ()) -> str:
    """HTML of a dataset's index page.

    Args:
        home: folder everything is written below.
        name: of the dataset; links to its files are relative to its folder.
        state: as it was last looked at.
        left_behind: what stays on disk of experiments and tiles that the dataset no longer has.
        links: to Dagster and MLflow.
    """
    shown = overview(home, name, state)
    picture = None
    if shown.manifest and SPLITS_PICTURE in shown.manifest.files:
        picture = shown.manifest.file(SPLITS_PICTURE).read_bytes()
    reported = {entry.name for entry in shown.products.get(REPORT, []) if entry.page}
    return page.render(
        "index.html",
        links=links,
        title=name,
        shown=shown,
        verdict=shown.verdict,
        warnings=[*shown.without_champion, *shown.warnings, *shown.damaged, *left_behind],
        picture=picture,
        legend=shown.manifest.json("dataset.json")["legend"]["classes"] if shown.manifest else [],
        ranking=[row for row in shown.scores.get("leaderboard", []) if not row["failed"]],
        headline=HEADLINE,
        reported=reported,
        version=registered_version(home, name),
        titles={name: asset.title for name, asset in ASSETS.items()},
        training_run=lambda entry: training_run_link(name, entry.name, entry.fingerprint),
        software=software(),
        now=datetime.now(UTC),
    )


def datasets_page(home: Path, names: Iterable[str], state_of: StateOf, links: Sequence[Link] = ()) -> str:
    """HTML of the list of datasets, each with its verdict and a link to its index page."""
    shown = [overview(home, name, state_of(name)) for name in names]
    values = {"datasets": shown, "software": software(), "now": datetime.now(UTC)}
    return page.render("datasets.html", links=links, title="Datasets", **values)


def write(path: Path, html: str) -> Path:
    """Writes a page under its final name at once, so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.new")
    partial.write_text(html, encoding="utf-8")
    partial.replace(path)
    return path


def write_pages(home: Path, name: str, state_of: StateOf, left_behind: Sequence[str] = ()) -> Path:
    """Writes the index page of a dataset and the list of all datasets as files; gives the former."""
    write(home / PAGE, datasets_page(home, known_datasets(home), state_of))
    return write(home / name / PAGE, index_page(home, name, state_of(name), left_behind))


def known_datasets(home: Path) -> list[str]:
    """Names of the datasets that are served, and of those with products whose configuration is no longer there."""
    published = {path.parent.parent.name for path in home.glob(f"*/{DATASET_MANIFEST}/{MANIFEST_NAME}")}
    return sorted({*config.served_datasets(), *published})
