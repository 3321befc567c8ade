"""`python -m tests.benchmarks [WIDTHxHEIGHT]`: every figure beside the machine's own limit, measured in the same run.

With a tile's size, extraction and the label doctor each work on a generated tile of that size (6 and 11 GB of disk at
54000x38000), and prediction on a strip of that width: its memory depends on the width alone.
"""

from __future__ import annotations

import re
import sys

from tests.benchmarks import (
    bench_confusion,
    bench_extraction,
    bench_label_quality,
    bench_label_review,
    bench_lineage,
    bench_loading,
    bench_prediction,
    bench_province,
    bench_relabel,
    bench_siose,
    bench_sliding_window,
    bench_smoothing,
    bench_training,
)

STRIP_ROWS = 2048


def main(tile: str | None) -> None:
    """Prints all benchmarks."""
    bench_relabel.main()
    bench_siose.main()
    bench_province.main()
    bench_confusion.main()
    bench_loading.main()
    bench_training.main()
    bench_sliding_window.main()
    bench_smoothing.main()
    bench_label_review.main()
    bench_lineage.main()
    if tile is None:
        bench_extraction.main()
        bench_label_quality.main()
        bench_prediction.main()
        return
    width, height = _size(tile)
    bench_extraction.main((height, width))
    bench_label_quality.main((height, width))
    bench_prediction.main((min(height, STRIP_ROWS), width))


def _size(tile: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", tile)
    if found is None:
        raise SystemExit(f"TILE is {tile!r}; expected WIDTHxHEIGHT, as 54000x38000")
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
