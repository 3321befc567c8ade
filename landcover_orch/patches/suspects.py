"""Suspicious pixels: bands of one value alone, and tiles that hold the very pixels of another tile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from landcover_orch.patches import statistics
from landcover_orch.patches.store import STORE
from landcover_orch.store.publish import Product

IMAGES = f"{STORE}/image/c"
"""How the names of a store's shards of images begin."""


Counted = Mapping[str, Sequence[statistics.Counts]]
"""Tile -> the counts of its parts."""


def constant_bands(bands: Sequence[str], dtype: str, counts: Counted) -> Iterator[str]:
    """Warnings of bands that hold one value in all pixels of a tile with data.

    Args:
        bands: names of the bands.
        dtype: of the dataset's pixels.
        counts: of the tiles.
    """
    for tile, parts in counts.items():
        histograms = statistics.histograms(len(bands), dtype, parts, train=False)
        pairs = zip(bands, histograms, strict=True)
        values = {band: histogram.values[0] for band, histogram in pairs if len(histogram.values) == 1}
        if values:
            shown = ", ".join(f"{band} {value:g}" for band, value in values.items())
            yield f"Tile {tile} holds one value alone ({shown}). Fix: replace its orthophoto, or take the tile out."


def same_pixels(patches: Mapping[str, Product]) -> Iterator[str]:
    """Warnings of tiles that hold the same pixels, wherever they lie: the shards of their images are the same bytes.

    Args:
        patches: tile -> its patches.
    """
    by_pixels: dict[tuple[str, ...], list[str]] = {}
    for tile, product in patches.items():
        shards = tuple(entry["sha256"] for name, entry in sorted(product.files.items()) if name.startswith(IMAGES))
        if shards:
            by_pixels.setdefault(shards, []).append(tile)
    for tiles in by_pixels.values():
        if len(tiles) > 1:
            names = f"{', '.join(tiles[:-1])} and {tiles[-1]}"
            yield f"Tiles {names} hold the same pixels. Fix: replace the copies, or take them out."
