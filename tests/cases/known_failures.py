"""Cases that come out wrong today, by the title of the issue that mends them. One that comes right must leave."""

from __future__ import annotations

PLANNER = "Scheduled retraining"
SIGHT = "First sight"
TRUTH = "One truth"

KNOWN_FAILURES: dict[str, str] = {
    "control_points": TRUTH,
    "nodata_one_band_bytes": TRUTH,
    "nodata_one_band_float": TRUTH,
    "untagged_minimum": TRUTH,
    "float64": TRUTH,
    "int32_nodata": TRUTH,
    "offsets_differ": TRUTH,
    "bands_reversed": TRUTH,
    "two_resolutions": TRUTH,
    "palette": TRUTH,
    "half_written": TRUTH,
    "fid_as_id": TRUTH,
    "octal_codes": TRUTH,
    "byte_order_mark": TRUTH,
    "old_datum": TRUTH,
    "antimeridian": TRUTH,
    "antimeridian_sides": TRUTH,
    "view": TRUTH,
    "long_code": TRUTH,
    "list_without_header": TRUTH,
    "list_in_latin1": TRUTH,
    "relative_root": TRUTH,
    "blocks_in_degrees": TRUTH,
    "other_endings": TRUTH,
    "labels_alone": TRUTH,
    "labels_looked_at": TRUTH,
    "image_looked_at": TRUTH,
    "same_size_and_time": TRUTH,
    "replaced_while_read": TRUTH,
}

LONG = frozenset({"diverging_recipe", "long_code"})
"""Inputs that train, or that are measured in a process of their own: `make test-long` runs them."""

NOT_RUN: dict[str, tuple[str, ...]] = {
    TRUTH: (
        *("remedy followed", "product damaged", "manifest damaged", "home moved", "version deleted"),
        *("recipe deleted", "disk full", "silent server"),
    ),
}
"""Workflows of the cases' README that nothing writes yet, by the issue that owns them."""
