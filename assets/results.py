"""Products as Dagster results: data versions, metadata, pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import dagster as dg

from assets import events, partitions
from landcover_orch import config
from landcover_orch.errors import LandcoverError, Problem, pluralise
from landcover_orch.pages import links
from landcover_orch.pages.facts import name_scores, ordered, rounded, with_units
from landcover_orch.planner import Build
from landcover_orch.store.products import ASSETS, PAGE, PREVIEW, SUMMARY
from landcover_orch.store.publish import Product

VERSION_TAG = "dagster/data_version"
IO_RETRIES, IO_RETRY_WAIT_S = 2, 10
TABLE_ROWS = 200

PICTURES = {
    PREVIEW: "preview",
    "radiometry.png": "as delivered, and matched",
    "matrix.png": "confusion matrix",
}
"""Pictures that are shown of a product, in this order."""

Event = dg.MaterializeResult[Any]


def result(built: object, **more: Any) -> dg.MaterializeResult[Any]:
    """The materialisation of an unpartitioned or single-partition asset by the product that was built."""
    product = cast("Product", built)
    return dg.MaterializeResult(
        metadata={**metadata(product), **more}, data_version=dg.DataVersion(product.fingerprint)
    )


def tile_results(
    context: dg.AssetExecutionContext,
    builder: Callable[[], Build],
    asset: dg.AssetKey,
    more: Callable[[str], Mapping[str, Any]] = lambda tile: {},
) -> Iterator[Event]:
    """Materialisations of the run's tiles, each with its own data version and metadata; a bad tile stops itself alone.

    Dagster gives all partitions of a range run one data version; staleness would then be wrong by tile. So a range run
    records a second event for each tile behind the common one, with the tile's own version. Where tiles failed, or the
    run is about some tiles of its range alone, there is no common event, since it would name tiles that were not
    built: what follows in the run is then left to the next one.

    Args:
        context: of the asset; its log takes a line a tile.
        builder: prepares what builds a tile.
        asset: key of the asset.
        more: metadata of a tile that is no part of its product.

    Raises:
        dg.Failure: some tiles failed; all of them are named, in a table too, after the events of the others.
    """
    tiles = partitions.run_tiles(context)
    with sentences():
        build = builder()
    products: dict[str, Product] = {}
    failed: dict[str, LandcoverError] = {}
    for i, tile in enumerate(tiles):
        try:
            with io_retried():
                products[tile] = cast("Product", build(tile))
            context.log.info("%s: tile %s done (%d of %d)", asset.to_user_string(), tile, i + 1, len(tiles))
        except LandcoverError as error:
            failed[tile] = error
            context.log.error("%s: tile %s failed: %s", asset.to_user_string(), tile, error)
    yield from tile_events(context, asset, products, more)
    if failed:
        raise failure(
            [problem for error in failed.values() for problem in error.problems],
            f"{len(failed)} of {pluralise(len(tiles), 'tile')} failed",
        ) from None


def tile_events(
    context: dg.AssetExecutionContext,
    asset: dg.AssetKey,
    products: Mapping[str, Product],
    more: Callable[[str], Mapping[str, Any]],
) -> Iterator[Event]:
    """Events of the tiles that were built, and the common one where they are all of the run's partitions."""
    names = context.partition_keys
    complete = products.keys() == {*names}
    if complete and len(names) == 1:
        yield result(products[names[0]], **more(names[0]))
        return
    tags: dict[str, str] = {}
    if complete:
        yield dg.MaterializeResult(metadata={"tiles in this run": len(names)})
        tags = provenance_tags(context, asset, names[-1])
    own = [
        dg.AssetMaterialization(
            asset,
            partition=tile,
            metadata={**metadata(product), **more(tile)},
            tags={**tags, VERSION_TAG: product.fingerprint},
        )
        for tile, product in products.items()
    ]
    events.log(context, own)


def failure(problems: Sequence[Problem], title: str = "") -> dg.Failure:
    """The failure of a step as sentences and a table; it is not tried again by itself."""
    lines = list(dict.fromkeys(map(str, problems)))
    text = "\n".join([*([title] if title and len(lines) > 1 else []), *lines[:TABLE_ROWS]])
    rows = [vars(problem) for problem in dict.fromkeys(problems)]
    return dg.Failure(text, metadata={"problems": table(rows)} if rows else None, allow_retries=False)


def check_result(
    passed: bool,
    problem: Problem,
    metadata: Mapping[str, Any],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
) -> dg.AssetCheckResult:
    """Result of an asset check; where it fails, its description is the problem's sentence, with the fix."""
    description = None if passed else str(problem)
    return dg.AssetCheckResult(passed=passed, severity=severity, metadata=dict(metadata), description=description)


@contextmanager
def sentences() -> Iterator[None]:
    """Errors of the library as the sentences of a failed step, without a traceback of them."""
    try:
        yield
    except LandcoverError as error:
        raise failure(error.problems) from None


def provenance_tags(context: dg.AssetExecutionContext, asset: dg.AssetKey, tile: str) -> dict[str, str]:
    """Provenance tags (code version, inputs) that Dagster gave the run's common event."""
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=asset, asset_partitions=[tile]), limit=1
    ).records
    event = records[0].asset_materialization
    return dict(event.tags or {}) if event else {}


@contextmanager
def io_retried() -> Iterator[None]:
    """Asks Dagster to try again after trouble with disks or servers, but not after errors that name a cause."""
    try:
        yield
    except LandcoverError:
        raise
    except OSError as error:
        raise dg.RetryRequested(max_retries=IO_RETRIES, seconds_to_wait=IO_RETRY_WAIT_S) from error


def metadata(product: Product) -> dict[str, Any]:
    """What the UI shows of a product: its pictures and page by link, its summary, size, cost and place."""
    shown: dict[str, Any] = {
        title: picture(product, file) for file, title in PICTURES.items() if product.file(file).is_file()
    }
    if product.file(PAGE).is_file():
        shown["page"] = page(product)
    summary, asset = product.json(SUMMARY), ASSETS.get(product.recipe.asset)
    named = ordered(name_scores(summary, asset.scored_on) if asset and asset.scored_on else summary)
    shown |= facts(with_units(named, named.pop("unit_of_area", "")))
    shown["size (MB)"] = rounded(product.bytes / 1e6)
    if product.cost.wall_s is not None:
        shown["duration (s)"] = rounded(product.cost.wall_s)
    return {**shown, "path": dg.MetadataValue.path(str(product.path))}


def page(product: Product, file: str = PAGE) -> dg.UrlMetadataValue:
    """Link to a product's page on Dagster's webserver."""
    return dg.MetadataValue.url(links.page_path(config.home(), product.file(file)))


def picture(product: Product, file: str) -> dg.MarkdownMetadataValue:
    """A product's picture by link."""
    return dg.MetadataValue.md(links.markdown_picture(config.home(), product.file(file)))


def embedded_picture(png: bytes) -> dg.MarkdownMetadataValue:
    """A small picture that is no file of a product, inside the metadata."""
    from landcover_orch.pages.picture import data_uri  # loads numpy

    return dg.MetadataValue.md(f"![picture]({data_uri(png)})")


def mlflow_page(url: str) -> dg.UrlMetadataValue:
    """Link to a page of MLflow by way of Dagster's webserver, which knows MLflow's present address."""
    return dg.MetadataValue.url(links.mlflow_path(url))


def facts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values as metadata: numbers as floats (Dagster plots them over time), lists of rows as tables."""
    return {name: shown for name, value in values.items() if (shown := metadata_value(value)) is not None}


def metadata_value(value: Any) -> Any:
    """A value as Dagster's metadata: numbers as floats, rows as a table, else JSON or text."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return rounded(value)
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return table(value)
    if isinstance(value, dict | list):
        return dg.MetadataValue.json(value)
    return str(value)


def table(rows: Sequence[Mapping[str, Any]], failed: Callable[[Mapping[str, Any]], bool] | None = None) -> Any:
    """Rows of one shape as a table, those that failed first; a long one is cut, and says so.

    Args:
        rows: of the table.
        failed: whether a row of a check says that something does not hold; None: where a value is False.
    """
    is_failed = failed or (lambda row: any(value is False for value in row.values()))
    ordered = sorted(rows, key=lambda row: not is_failed(row))
    plain = [{name: _cell(value) for name, value in row.items()} for row in ordered[:TABLE_ROWS]]
    if len(rows) > TABLE_ROWS:
        first = next(iter(plain[0]))
        plain.append({**dict.fromkeys(plain[0], ""), first: f"{TABLE_ROWS} of {len(rows)} shown"})
    columns = [dg.TableColumn(name, "any") for name in plain[0]]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in plain], dg.TableSchema(columns=columns))


def _cell(value: Any) -> str | int | float | bool | None:
    if isinstance(value, float):
        return rounded(value)
    return value if isinstance(value, str | int | bool) or value is None else str(value)
