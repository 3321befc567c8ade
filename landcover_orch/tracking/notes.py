"""Markdown descriptions in MLflow, for a stranger to the project: how good, what it is, on which data, how to load.

Each opens with the verdict that the pages open with, since MLflow shows one line of a description in its tables, and
three of a run's. Each follows from what lies on disk, so that describing again gives the same text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from landcover_orch.config import experiment_names, load_dataset
from landcover_orch.errors import ConfigError, IncompleteError, pluralise
from landcover_orch.grid import unit_of_length
from landcover_orch.models.contract import Contract, load_contract
from landcover_orch.pages.page import format_number
from landcover_orch.pages.verdict import NOT_SCORED
from landcover_orch.patches import manifest as manifests
from landcover_orch.patches.baselines import verdict_on
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

NO_CHAMPION = "No version is the champion yet; each version's page says how to load it by its number."

Report = Mapping[str, Any]
"""Contents of a report.json."""

Identity = tuple[str, str]
"""Experiment and fingerprint of a model: two experiments may be the same training."""

REPORT_KEYS = {"experiment", "metrics", "models", "repetitions", "scored_on", "test_digest", "verdict"}
"""What is read of a report; one of another version without them counts as none."""

VALIDATION_KEYS = {"best_epoch", "epochs", "mean_iou", "accuracy", "majority_share"}
"""What is read of a model's summary."""


def escaped(text: object) -> str:
    """Text as Markdown shows it literally, on one line.

    Tables of MLflow show a description as it is written: an underscore within a word, which needs no escape, has none.
    """
    line = re.sub(r"[ \t\r\n]+", " ", str(text)).strip().replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*~\[\]]|(?<!\w)[_@]|_(?!\w))", r"\\\1", line)


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


def dataset_verdict(dataset: str, home: Path) -> str:
    """Verdict on a dataset's best model, as its index page and its leaderboard have it."""
    leaderboard = published_products(folder(home, dataset, LEADERBOARD), [LEADERBOARD]).get(LEADERBOARD)
    return escaped((leaderboard and leaderboard.json(SUMMARY).get("verdict")) or NOT_SCORED)


def model_verdict(report: Report, contract: Contract, home: Path) -> str:
    """Verdict on a model: its report's, which is of the repetition that validation chose; of the others their own."""
    rows = {row["name"]: row["metrics"] for row in report["repetitions"]}
    if contract.experiment in rows and contract.experiment != report.get("chosen", contract.experiment):
        manifest = manifest_of(contract.dataset, report.get("data_digest", ""), home)
        if manifest is not None:
            return escaped(verdict_on(contract.experiment, rows[contract.experiment], manifest))
    return escaped(report["verdict"])


def experiment_note(
    verdict: str, manifest: DatasetManifest, scored: Mapping[str, Report], champion: Identity | None
) -> str:
    """Description of a dataset's MLflow experiment; arguments as those of `model_note`."""
    name = manifest.dataset.name
    return cut(
        [
            verdict,
            f"Land-cover models of the dataset **{escaped(name)}**. Each run trains one experiment (a recipe of "
            "`configs/experiments`); seeds and folds are nested below its run, trials below their search's.",
            data(manifest),
            results(manifest, scored, champion),
            dataset_pages(name),
            "Metrics: `train/` and `validation/` on patches, each epoch; `test/` on every labelled pixel of the test "
            "split, once. Parameters: `recipe.` what was trained, and how; `dataset.` on what.",
        ]
    )


def model_note(
    verdict: str,
    manifest: DatasetManifest,
    contract: Contract,
    scored: Mapping[str, Report],
    champion: Identity | None,
    has_alias: bool,
) -> str:
    """Description of a dataset's registered model.

    Args:
        verdict: `dataset_verdict` of the dataset.
        manifest: the dataset's present one.
        contract: of one of its models: what they take and give.
        scored: `reports` of the dataset.
        champion: `champion_of` the dataset.
        has_alias: whether a version has the alias `champion`.
    """
    name = manifest.dataset.name
    return cut(
        [
            verdict,
            f"Land-cover classifiers of the dataset **{escaped(name)}**: pixels of an orthophoto in, the probability "
            "of each class out. `champion` is the version that maps are made by, `challenger` the one trained last.",
            data(manifest),
            results(manifest, scored, champion),
            dataset_pages(name),
            loading(name, "champion", contract, manifest) if has_alias else NO_CHAMPION,
        ]
    )


def training_note(experiment: str, manifest: DatasetManifest) -> str:
    """Description of a run that has only begun."""
    what = f"{escaped(experiment)}, an experiment on the dataset {escaped(manifest.dataset.name)}"
    return cut([f"{what}, is not scored yet: its training is under way, or was ended.", data(manifest)])


def version_note(
    number: str,
    tags: Mapping[str, str],
    champion: bool,
    product: Product,
    home: Path,
    scored: Mapping[str, Report],
    logged: Report | None = None,
    successor: str | None = None,
) -> str:
    """Description of a registered version, which its run bears too.

    Args:
        number: of the version.
        tags: of version and run: the Dagster run that trained it; when and why it was promoted.
        champion: whether it is the champion now.
        product: its model.
        home: folder everything is written below.
        scored: `reports` of the dataset.
        logged: the report that scored the version last, where none of these does any more.
        successor: number of the version that superseded it.
    """
    contract = load_contract(product.path)
    manifest = manifest_of(contract.dataset, contract.data_digest, home)
    summary, dataset = product.json(SUMMARY), contract.dataset
    report = report_of(product, scored) or logged
    links = {"the data": (DATASET_MANIFEST, MANIFEST_NAME)}
    if report and not successor:  # else the page is, or will be, that of its successor
        links["report"] = (REPORT, report["experiment"])
    superseded = f", superseded by version {successor}" if successor else ""
    unscored = "was not scored on test ground" if successor else "is not scored on test ground yet"
    return cut(
        [
            model_verdict(report, contract, home) if report else f"{escaped(contract.experiment)} {unscored}.",
            f"Land-cover classifier of the experiment **{escaped(contract.experiment)}** ({contract.model.name}, "
            f"{format_number(summary.get('parameters', 0))} parameters), version {number} of {escaped(dataset)}"
            f"{superseded}. {promotion(tags, champion)}".rstrip(),
            data(manifest) if manifest else f"Data: manifest `{contract.data_digest}`.",
            validation_scores(summary),
            test_scores(report, contract, scored) if report else "",
            pages(dataset, links),
            loading(dataset, number, contract, manifest),
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
            escaped(report["verdict"]),
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
    labelled = ", ".join([pluralise(len(tiles), "labelled tile"), *dated])
    heading = f"Data: {labelled} (manifest `{manifest.digest}`)."
    return "\n".join([heading, "", *(f"- {split}: {split_tiles(tiles, split)}" for split in SPLITS)])


def split_tiles(tiles: Sequence[TileEntry], split: str) -> str:
    """Pixels of a split, and the tiles they lie in."""
    counted = [tile for tile in tiles if any(tile.class_pixels.get(split, ()))]
    pixels = sum(sum(tile.class_pixels[split]) for tile in counted)
    return f"{format_number(pixels)} pixels of {listed([tile.name for tile in counted])}" if counted else "none"


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
    """What a model scored on the test split, in a list with all that was scored on the same pixels."""
    metrics = next((r["metrics"] for r in report["repetitions"] if r["name"] == contract.experiment), report["metrics"])
    others = {
        name: other["metrics"]
        for name, other in scored.items()
        if other["test_digest"] == report["test_digest"] and name != report["experiment"]
    }
    heading = f"{report['scored_on'].capitalize()}, {format_number(metrics['pixels'])} pixels, the best first:"
    return ranking(heading, {**others, contract.experiment: metrics}, contract.experiment, contract.dataset)


def results(manifest: DatasetManifest, scored: Mapping[str, Report], champion: Identity | None) -> str:
    """Test scores of all experiments on the present test pixels, the champion's in bold; empty where there are none."""
    present = {name: report for name, report in scored.items() if report["test_digest"] == manifest.test_digest}
    if not present:
        return ""
    bold = next((name for name, report in present.items() if champion in report["models"].items()), None)
    first = next(iter(present.values()))
    mark = ", the champion in bold" if bold else ""
    pixels = format_number(first["metrics"]["pixels"])
    heading = f"{first['scored_on'].capitalize()}, {pixels} pixels, the best first{mark}:"
    return ranking(heading, {name: r["metrics"] for name, r in present.items()}, bold, manifest.dataset.name)


def ranking(heading: str, rows: Mapping[str, Mapping[str, Any]], bold: str | None, dataset: str) -> str:
    """List of experiments with their test metrics, the best first; baselines are marked."""
    known = baselines(dataset)
    names = sorted(rows, key=lambda name: -(rows[name]["mean_iou"] or 0))[:LISTED]
    lines = []
    for name in {**dict.fromkeys(names), **({bold: None} if bold else {})}:
        shown = f"**{escaped(name)}**" if name == bold else escaped(name)
        mark = ", a baseline" if name in known else ""
        values = f"mean IoU {score(rows[name]['mean_iou'])}, accuracy {score(rows[name]['accuracy'])}"
        lines.append(f"- {shown}{mark}: {values}")
    return "\n".join([heading, "", *lines])


def baselines(dataset: str) -> set[str]:
    """Experiments that a dataset has as baselines; none where its configuration is not there."""
    try:
        return {name for file in load_dataset(dataset).baselines for name in experiment_names(file)}
    except ConfigError:
        return set()


def promotion(tags: Mapping[str, str], champion: bool) -> str:
    """When and why a version became champion, and whether it still is; nothing where it never did."""
    if "landcover.champion.at" not in tags:
        return ""
    reason = tags.get("landcover.champion.reason", "chosen by the rule")
    before = tags.get("landcover.champion.previous", "none")
    after = f" after version {before}" if before != "none" else ""
    since = f"{'Champion since' if champion else 'Was made champion on'} {tags['landcover.champion.at'][:10]}"
    return f"{since}{after}: {escaped(reason)}."


def loading(name: str, version: str, contract: Contract, manifest: DatasetManifest | None) -> str:
    """How to load and call a version: a script that runs, with the shapes and types."""
    size = pixel_size(contract, manifest)
    taken = f"{contract.dtype}, not normalised" + (f", {size} a pixel" if size else "")
    uri = f"models:/{name}/{version}" if version.isdigit() else f"models:/{name}@{version}"
    classes = ", ".join(f"{c.id} {escaped(c.name)}" for c in contract.legend.classes[:LISTED])
    return (
        f"It takes the bands {listed(contract.bands)} as {taken}. "
        f"It gives the probability of each class: {classes}. How to load it:\n\n"
        "```python\n"
        "import mlflow\n\n"
        f'mlflow.set_tracking_uri("{interface()}")\n'
        f'model = mlflow.pyfunc.load_model("{uri}")\n'
        f"probabilities = model.predict(pixels)  # (n, {len(contract.bands)}, y, x) {contract.dtype} -> "
        f"(n, {len(contract.legend.classes)}, y, x) float32\n"
        "```"
    )


def pixel_size(contract: Contract, manifest: DatasetManifest | None) -> str:
    """Ground sample distance of a model with its unit, as '0.5 m'; nothing where the unit is not known."""
    unit = unit_of_length(manifest.tiles[0].grid) if manifest and manifest.tiles else None
    return f"{contract.resolution:g} {unit}" if unit else ""


def dataset_pages(dataset: str) -> str:
    """Links to the pages of a dataset as a whole."""
    return pages(dataset, {"the data": (DATASET_MANIFEST, MANIFEST_NAME), "all results": (LEADERBOARD, LEADERBOARD)})


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
    identity = load_contract(product.path).experiment, product.fingerprint
    return next((report for report in scored.values() if identity in report["models"].items()), None)


def champion_of(dataset: str, home: Path) -> Identity | None:
    """The champion's model; None where nobody was elected yet."""
    product = published_products(folder(home, dataset, CHAMPION), [CHAMPION]).get(CHAMPION)
    summary = product.json(SUMMARY) if product else None
    return (str(summary["experiment"]), str(summary["fingerprint"])) if summary else None


def manifest_of(dataset: str, digest: str, home: Path) -> DatasetManifest | None:
    """The manifest of a digest, which a model was trained on; None where it is no longer there."""
    where = folder(home, dataset, DATASET_MANIFEST)
    products = [path for path in where.glob("[!.]*-*") if path.is_dir() and not path.is_symlink()]
    for path in sorted(products, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            manifest = manifests.load(path)
        except (IncompleteError, OSError):
            continue
        if manifest.digest == digest:
            return manifest
    return None
