"""Descriptions in MLflow kept up to date: of a version and its run, of its registered model and experiment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from landcover_orch.errors import IncompleteError
from landcover_orch.models.contract import Contract, load_contract
from landcover_orch.patches.manifest import load_current
from landcover_orch.store import publish
from landcover_orch.store.products import MODEL, REPORT, REPORT_JSON, folder, published_products
from landcover_orch.store.publish import Product
from landcover_orch.tracking import notes
from landcover_orch.tracking.runs import EXPERIMENT, FINGERPRINT, NOTE, PARENT

CHAMPION = "champion"

REPORTED = "landcover.report"
"""Tag of a run that a report was logged to: the report's fingerprint."""


def describe(client: Any, name: str, number: str, home: Path) -> None:
    """Describes a version and its run by all that is known now, and its registered model and MLflow experiment.

    So is the version of its experiment that was registered last before it, which it may have superseded.
    """
    versions = client.search_model_versions(f"name = '{name}'")
    experiment = next(dict(v.tags or {}).get(EXPERIMENT) for v in versions if str(v.version) == number)
    others = [int(v.version) for v in versions if dict(v.tags or {}).get(EXPERIMENT) == experiment]
    former = sorted(other for other in others if str(other) != number)[-1:]
    describe_scored(client, name, home, {number, *map(str, former)})


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
    has_alias = CHAMPION in client.get_registered_model(name).aliases
    client.update_registered_model(name, notes.model_note(verdict, manifest, contract, scored, champion, has_alias))
    experiment = client.get_experiment_by_name(name).experiment_id
    client.set_experiment_tag(experiment, NOTE, notes.experiment_note(verdict, manifest, scored, champion))


def describe_version(
    client: Any,
    version: Any,
    product: Product,
    home: Path,
    scored: Mapping[str, notes.Report],
    successor: str | None,
) -> None:
    """Describes a version, its run and the run of all repetitions.

    Args:
        client: of MLflow.
        version: the version, with its aliases.
        product: its model.
        home: folder everything is written below.
        scored: `notes.reports` of its dataset.
        successor: number of the version that superseded it.
    """
    run_tags = client.get_run(version.run_id).data.tags
    tags, champion = {**run_tags, **(version.tags or {})}, CHAMPION in version.aliases
    logged = logged_report(client, version.run_id) if REPORTED in run_tags else None
    note = notes.version_note(str(version.version), tags, champion, product, home, scored, logged, successor)
    client.update_model_version(version.name, str(version.version), note)
    client.set_tag(version.run_id, NOTE, note)
    report = notes.report_of(product, scored)
    if PARENT in tags and report is not None:
        contract = load_contract(product.path)
        manifest = notes.manifest_of(contract.dataset, contract.data_digest, home)
        client.set_tag(tags[PARENT], NOTE, notes.repetitions_note(report, tags, manifest))


def logged_report(client: Any, run_id: str) -> notes.Report | None:
    """The report that was logged to a run, the last that scored its model; None where it is of another version."""
    name = f"{REPORT}/{REPORT_JSON}"
    if name not in (file.path for file in client.list_artifacts(run_id, REPORT)):
        return None
    with TemporaryDirectory() as scratch:
        path = client.download_artifacts(run_id, name, scratch)
        report: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return report if report.keys() >= notes.REPORT_KEYS else None


def successor_of(version: Any, versions: Sequence[Any], home: Path) -> str | None:
    """Number of the version that superseded one: of its experiment's present model, where that is another one."""
    tags = dict(version.tags or {})
    experiment = str(tags.get(EXPERIMENT))
    present = published_products(folder(home, version.name, MODEL), [experiment]).get(experiment)
    if present is None or present.fingerprint == tags.get(FINGERPRINT):
        return None
    identity = (experiment, present.fingerprint)
    numbers = {(dict(v.tags or {}).get(EXPERIMENT), dict(v.tags or {}).get(FINGERPRINT)): v.version for v in versions}
    return str(numbers[identity]) if identity in numbers else None


def describe_scored(client: Any, name: str, home: Path, numbers: set[str] | None = None) -> None:
    """Describes the versions of a dataset that current reports are of, or those of some numbers.

    A version whose model is no longer on disk, or is another version's, keeps the description it has.
    """
    scored = notes.reports(name, home)
    models = {fingerprint for report in scored.values() for fingerprint in report["models"].values()}
    contract = None
    versions = client.search_model_versions(f"name = '{name}'")
    for entry in versions:
        tags, number = dict(entry.tags or {}), str(entry.version)
        if number not in numbers if numbers is not None else tags.get(FINGERPRINT) not in models:
            continue
        try:
            product = publish.load(home / name / MODEL / f"{tags.get(EXPERIMENT)}-{tags.get(FINGERPRINT)}")
            contract = load_contract(product.path)
        except (IncompleteError, ValueError):
            continue
        version = client.get_model_version(name, number)
        describe_version(client, version, product, home, scored, successor_of(entry, versions, home))
    if contract is not None:
        describe_dataset(client, name, contract, home, scored)
