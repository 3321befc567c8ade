"""Label fingerprints: the content hash of a tile's labels, with its shift and its corrections."""

from __future__ import annotations

import hashlib
from pathlib import Path

from landcover_orch.store.fingerprint import combined_fingerprint
from landcover_orch.tiles.catalogue import image_fingerprint
from landcover_orch.tiles.tile import Tile


def tile_fingerprints(tile: Tile, memory: Path) -> tuple[str, str | None]:
    """Fingerprints of all files of a tile's image and of its labels (None without any), remembered in `memory`.

    Labels that are shifted are other labels: their fingerprint says by how much. So are those with corrections on the
    tile; corrections elsewhere leave it as it is.
    """
    image = image_fingerprint(tile, memory)
    if tile.label is None:
        return image, None
    further = [path for part in tile.components for path in part if path is not None]
    label = combined_fingerprint((tile.label, *further), memory)
    if any(tile.shift):
        label = f"sha256:{hashlib.sha256(f'{label} moved by {tile.shift}'.encode()).hexdigest()}"
    if not tile.corrections:
        return image, label
    from landcover_orch.labels import corrections  # reads vector files, which a catalogue without them need not

    return image, corrections.with_corrections(label, tile, memory)
