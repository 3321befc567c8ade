"""Consistency of tiles: what one file alone cannot tell, as scale and offset tags or resolutions that differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from landcover_orch.checks.vectors import check_shared_labels
from landcover_orch.config import Dataset, file_label
from landcover_orch.errors import RasterError
from landcover_orch.grid import RESOLUTION_TOLERANCE, resolution, unit_of_length
from landcover_orch.patches.splits import TRAIN, split_of
from landcover_orch.raster import Raster
from landcover_orch.tiles import imagery
from landcover_orch.tiles.issues import IssueLog, some
from landcover_orch.tiles.tile import Tile


def check_consistency(log: IssueLog, dataset: Dataset, tiles: Sequence[Tile]) -> None:
    """Writes down what contradicts between tiles; files that cannot be read are the concern of their own checks."""
    rasters: dict[str, Raster] = {}
    for tile in tiles:
        try:
            rasters[tile.name] = imagery.orthophoto(dataset, tile.image)
        except RasterError:
            continue
    check_scales(log, rasters)
    check_resolutions(log, dataset, tiles, rasters)
    check_shared_labels(log, dataset, tiles, {name: raster.grid for name, raster in rasters.items()})


def check_scales(log: IssueLog, rasters: Mapping[str, Raster]) -> None:
    """Writes down tiles whose scale and offset tags are not those of most: equal numbers mean other measurements."""
    by_tile = {name: tuple(sorted({*raster.scale_offset})) for name, raster in rasters.items()}
    tags = Counter(by_tile.values())
    if len(tags) < 2:
        return
    usual = tags.most_common(1)[0][0]
    example = next(rasters[name].path.name for name, tag in by_tile.items() if tag == usual)
    fix = (
        "apply them once to all files (gdal_translate -unscale -ot Float32, with `dtype: float32`); where the tag is "
        "wrong: gdal_edit.py -scale S -offset O"
    )
    for name, tag in by_tile.items():
        if tag != usual:
            log.problem(rasters[name].path, scale_text(tag), f"{scale_text(usual)} as in {example} and most", fix)


def scale_text(tags: Sequence[tuple[float, float]]) -> str:
    """Scale and offset tags in words."""
    return " / ".join(f"a scale of {scale:g} and an offset of {offset:g}" for scale, offset in tags)


def check_resolutions(log: IssueLog, dataset: Dataset, tiles: Sequence[Tile], rasters: Mapping[str, Raster]) -> None:
    """Writes down resolutions that differ more than a model takes: a problem where both would be trained on."""
    by_size: dict[tuple[str | None, float], list[str]] = {}
    for name, raster in rasters.items():
        unit, size = unit_of_length(raster.grid), resolution(raster.grid)
        matches = (key for key in by_size if key[0] == unit and abs(key[1] - size) <= RESOLUTION_TOLERANCE * key[1])
        by_size.setdefault(next(matches, (unit, size)), []).append(name)
    if len(by_size) < 2:
        return
    shown = [f"{size:g} {unit or 'px'}: {some(names)}" for (unit, size), names in by_size.items()]
    labelled = {tile.name for tile in tiles if tile.label}
    trained = [
        names
        for names in by_size.values()
        if any(name in labelled and split_of(dataset.splits, name) in (None, TRAIN) for name in names)
    ]
    fix = "resample the tiles to one resolution (gdalwarp -tr X Y -r average), or put them in a dataset each"
    if len(trained) > 1:
        where = f"{file_label('datasets', dataset.name)}: tiles"
        log.problem(where, f"pixels of several sizes, {'; '.join(shown)}", "one resolution to train on", fix)
    else:
        log.note(
            f"pixels of several sizes, {'; '.join(shown)}: a model maps its own resolution alone. To map all: {fix}"
        )
