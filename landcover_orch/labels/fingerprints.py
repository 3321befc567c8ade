"""Fingerprints of tiles: what their images and labels hold, corrections on their ground included."""

from __future__ import annotations

import hashlib
from pathlib import Path

from landcover_orch.store.fingerprint import combined_fingerprint
from landcover_orch.tiles.catalogue import image_fingerprint
from landcover_orch.tiles.tile import Tile


def tile_fingerprints(tile: Tile, memory: Path) -> tuple[str, str | None]:
    """Fingerprints of all files of a tile's image and of its labels (None without any), remembered in `memory`.

    Labels that are moved are other labels: their fingerprint says by how much. So are those with corrections on the
    tile's ground; corrections elsewhere leave it as it is.
    """
    return image_fingerprint(tile, memory), None if tile.label is None else _label_fingerprint(tile, tile.label, memory)


def _label_fingerprint(tile: Tile, label: Path, memory: Path) -> str:
    further = [path for part in tile.components for path in part if path is not None]
    found = combined_fingerprint((label, *further), memory)
    if any(tile.shift):
        found = f"sha256:{hashlib.sha256(f'{found} moved by {tile.shift}'.encode()).hexdigest()}"
    if not tile.corrections:
        return found
    from landcover_orch.labels import corrections  # reads vector files, which a catalogue without them need not

    return corrections.added(found, tile, memory)
