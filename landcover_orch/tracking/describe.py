"""Descriptions in MLflow kept up to date: of a version and its run, of its registered model and experiment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from landcover_orch.errors import IncompleteError
from landcover_orch.models.contract import Contract, load_contract
from landcover_orch.patches.manifest import load_current
from landcover_orch.store import publish
from landcover_orch.store.products import MODEL
from landcover_orch.store.publish import Product
from landcover_orch.tracking import notes
from landcover_orch.tracking.runs import EXPERIMENT, FINGERPRINT, NOTE, PARENT

CHAMPION = "champion"


def describe(client: Any, name: str, number: str, product: Product, home: Path) -> None:
    """Describes a version and its run by all that is known now, and its registered model and MLflow experiment."""
    scored = notes.reports(name, home)
    describe_version(client, client.get_model_version(name, number), product, home, scored)
    describe_dataset(client, name, load_contract(product.path), home, scored)


def describe_dataset(
    client: Any, name: str, contract: Contract, home: Path, scored: Mapping[str, notes.Report]
) -> None:
    """Describes a dataset's registered model and its MLflow experiment, by its present manifest, if it has one."""
    try:
        manifest = load_current(home, name)
    except IncompleteError:
        return
    champion = notes.champion_of(name, home)
    verdict = notes.dataset_verdict(name, home)
    client.update_registered_model(name, notes.model_note(verdict, manifest, contract, scored, champion))
    experiment = client.get_experiment_by_name(name).experiment_id
    client.set_experiment_tag(experiment, NOTE, notes.experiment_note(verdict, manifest, scored, champion))


def describe_version(
    client: Any, version: Any, product: Product, home: Path, scored: Mapping[str, notes.Report]
) -> None:
    """Describes a version, its run and the run of all repetitions, given the reports of its dataset."""
    tags = {**client.get_run(version.run_id).data.tags, **(version.tags or {})}
    champion = CHAMPION in version.aliases
    note = notes.version_note(str(version.version), tags, champion, product, home, scored)
    client.update_model_version(version.name, str(version.version), note)
    client.set_tag(version.run_id, NOTE, note)
    report = notes.report_of(product, scored)
    if PARENT in tags and report is not None:
        contract = load_contract(product.path)
        manifest = notes.manifest_of(contract.dataset, contract.data_digest, home)
        client.set_tag(tags[PARENT], NOTE, notes.repetitions_note(report, tags, manifest))


def describe_scored(client: Any, name: str, home: Path, numbers: set[str] | None = None) -> None:
    """Describes the versions of a dataset that current reports are of, or those of some numbers.

    A version whose model is no longer on disk, or is another version's, keeps the description it has.
    """
    scored = notes.reports(name, home)
    models = {fingerprint for report in scored.values() for fingerprint in report["models"].values()}
    contract = None
    for entry in client.search_model_versions(f"name = '{name}'"):
        tags, number = dict(entry.tags or {}), str(entry.version)
        if number not in numbers if numbers is not None else tags.get(FINGERPRINT) not in models:
            continue
        try:
            product = publish.load(home / name / MODEL / f"{tags.get(EXPERIMENT)}-{tags.get(FINGERPRINT)}")
            contract = load_contract(product.path)
        except (IncompleteError, ValueError):
            continue
        describe_version(client, client.get_model_version(name, number), product, home, scored)
    if contract is not None:
        describe_dataset(client, name, contract, home, scored)
