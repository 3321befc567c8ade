"""Matplotlib figures without a display: Agg canvas, no date in the file, one resolution."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110


def canvas(width: float, height: float) -> Figure:
    """Figure: empty, of this size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def as_png(figure: Figure) -> bytes:
    """PNG of a figure; the same figure has the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def literal(name: str) -> str:
    """Escaped text: a name as matplotlib writes it letter by letter."""
    # matplotlib reads text between dollar signs as mathematics
    return name.replace("$", r"\$")
