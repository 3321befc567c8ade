"""Missing torchvision operators: torchvision with a build of torch that it was not compiled for, such as a CPU build.

Its compiled half then does not load, and importing it fails, as two of that half's operators are missing; with it fail
lightning and transformers, which import it where it is installed. Nothing here calls these operators: it is enough
that they are declared. Without torchvision, as in the base installation, there is nothing to do.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import torch

MISSING = ("nms", "qnms")
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def declare_operators() -> None:
    """Makes torchvision importable; call it before anything that may import torchvision."""
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None or "torchvision" in sys.modules:
        return
    if not compiled_part_loads(Path(spec.origin).parent):
        for name in MISSING:
            torch.library.define(f"torchvision::{name}", SIGNATURE)


def compiled_part_loads(folder: Path) -> bool:
    """Whether torchvision's compiled library loads and has its operators."""
    try:
        for library in folder.glob("_C.*"):
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    except OSError:
        return False
    return hasattr(torch.ops.torchvision, MISSING[0])
