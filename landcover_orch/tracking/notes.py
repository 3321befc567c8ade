"""Markdown descriptions in MLflow, for a stranger to the project: what it is, on which data, how good, how to load.

Each follows from what lies on disk, so that describing again gives the same text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from landcover_orch.config import experiment_names, load_dataset
from landcover_orch.errors import ConfigError, IncompleteError
from landcover_orch.models.contract import Contract, load_contract
from landcover_orch.patches import manifest as manifests
from landcover_orch.patches.manifest import SPLITS, DatasetManifest, TileEntry
from landcover_orch.store.products import (
    CHAMPION,
    DATASET_MANIFEST,
    LEADERBOARD,
    MANIFEST_NAME,
    REPORT,
    REPORT_JSON,
    SUMMARY,
    folder,
    published_products,
)
from landcover_orch.store.publish import Product
from landcover_orch.tracking.server import dagster_interface, interface, product_page

LONGEST = 5000
"""Characters of a description that MLflow's registry takes."""

LISTED = 12
"""Most names of a list."""

Report = Mapping[str, Any]
"""Contents of a report.json."""

REPORT_KEYS = {"experiment", "metrics", "models", "repetitions", "scored_on", "test_digest"}
"""What is read of a report; one of another version without them counts as none."""

VALIDATION_KEYS = {"best_epoch", "epochs", "mean_iou", "accuracy", "majority_share"}
"""What is read of a model's summary."""


def escaped(text: object) -> str:
    """Text as Markdown shows it literally, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|~!])", r"\\\1", " ".join(str(text).split()))


def listed(names: Sequence[object]) -> str:
    """Names of a list, cut after some."""
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(escaped(name) for name in names[:LISTED]) + rest


def score(value: float | None) -> str:
    """A metric to three digits; a dash where it is undefined."""
    return "-" if value is None else f"{value:.3f}"


def cut(paragraphs: Iterable[str]) -> str:
    """Paragraphs as a description, as many as MLflow takes."""
    text = ""
    for paragraph in paragraphs:
        if paragraph and len(text) + len(paragraph) + 2 <= LONGEST:
            text += ("\n\n" if text else "") + paragraph
    return text


def experiment_note(manifest: DatasetManifest, scored: Mapping[str, Report], champion: str | None) -> str:
    """Description of a dataset's MLflow experiment; arguments as those of `model_note`."""
    name = manifest.dataset.name
    return cut(
        [
            f"Land-cover models of the dataset **{escaped(name)}**. Each run trains one experiment (a recipe of "
            "`configs/experiments`); seeds and folds are nested below its run, trials below their search's.",
            data(manifest),
            results(manifest, scored, champion),
            "Metrics: `train/` and `validation/` on patches, each epoch; `test/` on every labelled pixel of the test "
            "split, once. Parameters: `recipe.` what was trained, and how; `dataset.` on what.",
            pages(name, {"the data": (DATASET_MANIFEST, MANIFEST_NAME), "all results": (LEADERBOARD, LEADERBOARD)}),
        ]
    )


def model_note(
    manifest: DatasetManifest, contract: Contract, scored: Mapping[str, Report], champion: str | None
) -> str:
    """Description of a dataset's registered model.

    Args:
        manifest: the dataset's present one.
        contract: of one of its models: what they take and give.
        scored: `reports` of the dataset.
        champion: fingerprint of the champion; None: there is none.
    """
    name = manifest.dataset.name
    return cut(
        [
            f"Land-cover classifiers of the dataset **{escaped(name)}**: pixels of an orthophoto in, the probability "
            "of each class out. `champion` is the version that maps are made by, `challenger` the one trained last.",
            results(manifest, scored, champion),
            data(manifest),
            loading(name, "champion", contract),
            pages(name, {"the data": (DATASET_MANIFEST, MANIFEST_NAME), "all results": (LEADERBOARD, LEADERBOARD)}),
        ]
    )


def training_note(experiment: str, manifest: DatasetManifest) -> str:
    """Description of a run that has only begun."""
    heading = f"Training of the experiment **{escaped(experiment)}** on the dataset {escaped(manifest.dataset.name)}."
    return cut([heading, data(manifest)])


def version_note(
    number: str, tags: Mapping[str, str], champion: bool, product: Product, home: Path, scored: Mapping[str, Report]
) -> str:
    """Description of a registered version, which its run bears too.

    Args:
        number: of the version.
        tags: of version and run: the Dagster run that trained it; when and why it was promoted.
        champion: whether it is the champion now.
        product: its model.
        home: folder everything is written below.
        scored: `reports` of the dataset.
    """
    contract = load_contract(product.path)
    manifest = manifest_of(contract, home)
    summary, dataset = product.json(SUMMARY), contract.dataset
    report = report_of(product, scored)
    links = {"the data": (DATASET_MANIFEST, MANIFEST_NAME)} | (
        {"report": (REPORT, report["experiment"])} if report else {}
    )
    return cut(
        [
            f"Land-cover classifier of the experiment **{escaped(contract.experiment)}** ({contract.model.name}, "
            f"{summary.get('parameters', 0):,} parameters), version {number} of {escaped(dataset)}.",
            promotion(tags, champion),
            test_scores(report, contract, scored) if report else "",
            validation_scores(summary),
            data(manifest) if manifest else f"Data: manifest `{contract.data_digest}`.",
            loading(dataset, number, contract),
            pages(dataset, links),
            trained_by(tags),
        ]
    )


def repetitions_note(report: Report, tags: Mapping[str, str], manifest: DatasetManifest | None) -> str:
    """Description of the run of an experiment that repeats: mean and standard deviation over its repetitions."""
    name, number = report["experiment"], len(report["repetitions"])
    statistics = [
        f"{words} {score(report['spread'][metric]['mean'])} ± {score(report['spread'][metric]['sd'])}"
        for words, metric in (("mean IoU", "mean_iou"), ("accuracy", "accuracy"))
        if metric in report.get("spread", {})
    ]
    return cut(
        [
            f"Experiment **{escaped(name)}**, {number} repetitions, each a run below this one and a version; "
            f"validation chose {escaped(report.get('chosen', '?'))}.",
            f"{report['scored_on'].capitalize()}, mean ± standard deviation over them: {', '.join(statistics)}.",
            data(manifest) if manifest else "",
            pages(report.get("dataset", ""), {"report": (REPORT, name)}) if report.get("dataset") else "",
            trained_by(tags),
        ]
    )


def data(manifest: DatasetManifest) -> str:
    """The data: labelled tiles, years, and which tiles and pixels each split has."""
    tiles = [tile for tile in manifest.tiles if tile.label_fingerprint is not None]
    dated = [
        f"{what} of {years(values)}"
        for what, values in (("orthophotos", [t.year for t in tiles]), ("labels", [t.label_year for t in tiles]))
        if any(values)
    ]
    heading = (
        f"Data: {len(tiles)} labelled tiles{''.join(f', {text}' for text in dated)} (manifest `{manifest.digest}`)."
    )
    return "\n".join([heading, "", *(f"- {split}: {split_tiles(tiles, split)}" for split in SPLITS)])


def split_tiles(tiles: Sequence[TileEntry], split: str) -> str:
    """Pixels of a split, and the tiles they lie in."""
    counted = [tile for tile in tiles if any(tile.class_pixels.get(split, ()))]
    pixels = sum(sum(tile.class_pixels[split]) for tile in counted)
    return f"{pixels:,} pixels of {listed([tile.name for tile in counted])}" if counted else "none"


def years(values: Sequence[int | None]) -> str:
    """Years as a list."""
    return ", ".join(str(year) for year in sorted({year for year in values if year is not None}))


def validation_scores(summary: Mapping[str, Any]) -> str:
    """What the weights scored on validation patches, beside the most frequent class."""
    if not summary.keys() >= VALIDATION_KEYS:
        return ""
    return (
        f"Validation (patches, epoch {summary['best_epoch']} of {summary['epochs']}): mean IoU "
        f"{score(summary['mean_iou'])}, accuracy {score(summary['accuracy'])}; always the most frequent class: "
        f"accuracy {score(summary['majority_share'])}."
    )


def test_scores(report: Report, contract: Contract, scored: Mapping[str, Report]) -> str:
    """What a model scored on the test split, in a table with all that was scored on the same pixels."""
    metrics = next((r["metrics"] for r in report["repetitions"] if r["name"] == contract.experiment), report["metrics"])
    others = {
        name: other["metrics"]
        for name, other in scored.items()
        if other["test_digest"] == report["test_digest"] and name != report["experiment"]
    }
    heading = f"{report['scored_on'].capitalize()}, {metrics['pixels']:,} pixels:"
    return table(heading, {**others, contract.experiment: metrics}, contract.experiment, contract.dataset)


def results(manifest: DatasetManifest, scored: Mapping[str, Report], champion: str | None) -> str:
    """Test scores of all experiments on the present test pixels, the champion's in bold; empty where there are none."""
    present = {name: report for name, report in scored.items() if report["test_digest"] == manifest.test_digest}
    if not present:
        return ""
    bold = next((name for name, report in present.items() if champion in report["models"].values()), None)
    first = next(iter(present.values()))
    mark = ", champion in bold" if bold else ""
    heading = f"{first['scored_on'].capitalize()}, {first['metrics']['pixels']:,} pixels{mark}:"
    return table(heading, {name: r["metrics"] for name, r in present.items()}, bold, manifest.dataset.name)


def table(heading: str, rows: Mapping[str, Mapping[str, Any]], bold: str | None, dataset: str) -> str:
    """Table of test metrics by experiment, the best first; baselines are marked."""
    known = baselines(dataset)
    names = sorted(rows, key=lambda name: -(rows[name]["mean_iou"] or 0))[:LISTED]
    lines = []
    for name in {**dict.fromkeys(names), **({bold: None} if bold else {})}:
        shown = f"**{escaped(name)}**" if name == bold else escaped(name)
        mark = " (baseline)" if name in known else ""
        lines.append(f"| {shown}{mark} | {score(rows[name]['mean_iou'])} | {score(rows[name]['accuracy'])} |")
    return "\n".join([heading, "", "| experiment | mean IoU | accuracy |", "|---|---|---|", *lines])


def baselines(dataset: str) -> set[str]:
    """Experiments that a dataset has as baselines; none where its configuration is not there."""
    try:
        return {name for file in load_dataset(dataset).baselines for name in experiment_names(file)}
    except ConfigError:
        return set()


def promotion(tags: Mapping[str, str], champion: bool) -> str:
    """When and why a version became champion, and whether it still is; nothing where it never did."""
    if "landcover.promoted_at" not in tags:
        return ""
    reason = (
        tags.get("landcover.champion.reason") or f"chosen by {tags.get('landcover.champion.promoted_by', 'the rule')}"
    )
    before = tags.get("landcover.previous_champion", "none")
    after = f" after version {before}" if before != "none" else ""
    since = f"{'Champion since' if champion else 'Was made champion on'} {tags['landcover.promoted_at'][:10]}"
    return f"{since}{after}: {escaped(reason)}."


def loading(name: str, version: str, contract: Contract) -> str:
    """How to load and call a version: a script that runs, with the shapes and types."""
    uri = f"models:/{name}/{version}" if version.isdigit() else f"models:/{name}@{version}"
    classes = ", ".join(f"{c.id} {escaped(c.name)}" for c in contract.legend.classes[:LISTED])
    return (
        f"Pixels: {contract.dtype} as stored; bands {listed(contract.bands)}; {contract.resolution:g} CRS units on the "
        f"ground. Classes: {classes}.\n\n"
        "```python\n"
        "import mlflow\n\n"
        f'mlflow.set_tracking_uri("{interface()}")\n'
        f'model = mlflow.pyfunc.load_model("{uri}")\n'
        f"probabilities = model.predict(pixels)  # (n, {len(contract.bands)}, y, x) {contract.dtype} -> "
        f"(n, {len(contract.legend.classes)}, y, x) float32\n"
        "```"
    )


def pages(dataset: str, products: Mapping[str, tuple[str, str]]) -> str:
    """Links to pages of products, by what they show."""
    links = [f"[{words}]({product_page(dataset, asset, name)})" for words, (asset, name) in products.items()]
    return f"Pages: {', '.join(links)}."


def trained_by(tags: Mapping[str, str]) -> str:
    """The Dagster run that trained; nothing where it is not known."""
    run_id = tags.get("dagster.run_id")
    return f"Trained by Dagster: [run {run_id[:8]}]({dagster_interface()}/runs/{run_id})" if run_id else ""


def reports(dataset: str, home: Path) -> dict[str, Report]:
    """Experiment -> its current report."""
    where = folder(home, dataset, REPORT)
    names = sorted(path.name for path in where.glob("[!.]*") if path.is_symlink())
    products = published_products(where, names)
    contents = {name: product.json(REPORT_JSON) for name, product in products.items() if REPORT_JSON in product.files}
    return {name: content for name, content in contents.items() if content.keys() >= REPORT_KEYS}


def report_of(product: Product, scored: Mapping[str, Report]) -> Report | None:
    """The report that scored a model; None where there is none."""
    return next((report for report in scored.values() if product.fingerprint in report["models"].values()), None)


def champion_of(dataset: str, home: Path) -> str | None:
    """Fingerprint of the champion's model; None where nobody was elected yet."""
    product = published_products(folder(home, dataset, CHAMPION), [CHAMPION]).get(CHAMPION)
    return str(product.json(SUMMARY)["fingerprint"]) if product else None


def manifest_of(contract: Contract, home: Path) -> DatasetManifest | None:
    """The manifest that a model was trained on; None where it is no longer there."""
    where = folder(home, contract.dataset, DATASET_MANIFEST)
    products = [path for path in where.glob("[!.]*-*") if path.is_dir() and not path.is_symlink()]
    for path in sorted(products, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            manifest = manifests.load(path)
        except (IncompleteError, OSError):
            continue
        if manifest.digest == contract.data_digest:
            return manifest
    return None
