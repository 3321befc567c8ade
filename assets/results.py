"""Products as Dagster results: data versions, metadata, pictures."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg

from landcover_orch.errors import LandcoverError
from landcover_orch.store.products import PAGE, PREVIEW, SUMMARY
from landcover_orch.store.publish import Product

VERSION_TAG = "dagster/data_version"
IO_RETRIES, IO_RETRY_WAIT_S = 2, 10
TABLE_ROWS = 200

Event = dg.MaterializeResult[Any] | dg.AssetMaterialization


def result(product: Product, **more: Any) -> dg.MaterializeResult[Any]:
    """The materialisation of an unpartitioned or single-partition asset."""
    return dg.MaterializeResult(
        metadata={**metadata(product), **more}, data_version=dg.DataVersion(product.fingerprint)
    )


def tile_results(
    context: dg.AssetExecutionContext,
    build: Callable[[str], Product],
    asset: dg.AssetKey,
    more: Callable[[str], Mapping[str, Any]] = lambda tile: {},
) -> Iterator[Event]:
    """Materialisations of the run's tiles, each with its own data version and metadata.

    Dagster gives all partitions of a range run one data version; staleness would then be wrong by tile. So a range run
    records a second event for each tile behind the common one, with the tile's own version. `more` is metadata that is
    no part of a tile's product.
    """
    tiles = context.partition_keys
    products = {}
    for i, tile in enumerate(tiles):
        with io_retried():
            products[tile] = build(tile)
        context.log.info("%s: tile %s done (%d of %d)", asset.to_user_string(), tile, i + 1, len(tiles))
    if len(tiles) == 1:
        yield result(products[tiles[0]], **more(tiles[0]))
        return
    yield dg.MaterializeResult(metadata={"tiles in this run": len(tiles)})
    tags = provenance_tags(context, asset, tiles[-1])
    for tile, product in products.items():
        shown = {**metadata(product), **more(tile)}
        yield dg.AssetMaterialization(
            asset, partition=tile, metadata=shown, tags={**tags, VERSION_TAG: product.fingerprint}
        )


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
    """What the UI shows of a product: its summary, picture, page, size and cost."""
    shown: dict[str, Any] = {"path": dg.MetadataValue.path(str(product.path)), "bytes": product.bytes}
    if product.cost.wall_s is not None:
        shown["seconds"] = float(product.cost.wall_s)
    if product.file(PREVIEW).is_file():
        shown["preview"] = picture(product.file(PREVIEW).read_bytes())
    if product.file("radiometry.png").is_file():
        shown["as delivered, and matched"] = picture(product.file("radiometry.png").read_bytes())
    if product.file(PAGE).is_file():
        shown["page"] = dg.MetadataValue.url(product.file(PAGE).as_uri())
    return {**shown, **facts(product.json(SUMMARY))}


def facts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values as metadata: numbers as floats (Dagster plots them over time), lists of rows as tables."""
    return {name: shown for name, value in values.items() if (shown := metadata_value(value)) is not None}


def metadata_value(value: Any) -> Any:
    """A value as Dagster's metadata: numbers as floats, rows as a table, else JSON or text."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return table(value)
    if isinstance(value, dict | list):
        return dg.MetadataValue.json(value)
    return str(value)


def table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Rows of one shape as a table; long tables are cut."""
    plain = [{name: _cell(value) for name, value in row.items()} for row in rows[:TABLE_ROWS]]
    columns = [dg.TableColumn(name, "any") for name in plain[0]]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in plain], dg.TableSchema(columns=columns))


def _cell(value: Any) -> str | int | float | bool | None:
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def picture(png: bytes) -> dg.MarkdownMetadataValue:
    """A small PNG as Dagster can show it: markdown with the picture inside."""
    return dg.MetadataValue.md(f"![picture](data:image/png;base64,{base64.b64encode(png).decode()})")
