"""Picture of the lineage: the asset graph as SVG, in rows from what is observed down to what is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from xml.sax.saxutils import escape

WIDTH, HEIGHT, GAP, STEP, MARGIN, HEAD = 150, 44, 30, 72, 20, 30
"""Boxes, the gap beside them, the step from row to row, the margin and the legend's height, in pixels."""

COLOURS = {"observed": ("#eceff4", "#5c6b7f"), "made": ("#e3f4ea", "#2b7a4b"), "asked": ("#fff4dc", "#9a6a00")}
"""Kind of an asset -> fill and outline."""

LEGEND = (("observed", "observed: yours"), ("made", "made by each run"), ("asked", "made when asked to"))
SWEEPS = 8

Graph = Mapping[str, Sequence[str]]
"""Asset -> those that it is made of."""


def layers(graph: Graph) -> list[list[str]]:
    """Layered drawing (Sugiyama): assets by the longest way from a source, each row ordered to cross few lines."""

    @cache
    def depth(name: str) -> int:
        return max((depth(other) + 1 for other in graph[name]), default=0)

    rows: list[list[str]] = [[] for _ in range(max(map(depth, graph)) + 1)]
    for name in graph:
        earliest = min((depth(user) for user, parts in graph.items() if name in parts), default=1)
        rows[depth(name) if graph[name] else earliest - 1].append(name)  # a source stands before its first user
    neighbours = {n: [*graph[n], *(user for user, parts in graph.items() if n in parts)] for n in graph}
    for _ in range(SWEEPS):
        offset = {name: i - len(row) / 2 for row in rows for i, name in enumerate(row)}
        for row in rows:
            row.sort(key=lambda name: sum(offset[n] for n in neighbours[name]) / max(len(neighbours[name]), 1))
            offset |= {name: i - len(row) / 2 for i, name in enumerate(row)}
    return rows


def transitive_reduction(graph: Graph) -> dict[str, list[str]]:
    """Transitive reduction: without what an asset is made of by way of another of its parts."""

    @cache
    def upstream(name: str) -> frozenset[str]:
        return frozenset(graph[name]).union(*(upstream(part) for part in graph[name]))

    return {
        name: [part for part in parts if not any(part in upstream(other) for other in parts)]
        for name, parts in graph.items()
    }


def positions(graph: Graph) -> dict[str, tuple[float, float]]:
    """Upper left corner (x, y) of each asset's box in pixels."""
    rows = layers(graph)
    most = max(map(len, rows))
    return {
        name: (MARGIN + (i + (most - len(row)) / 2) * (WIDTH + GAP), HEAD + MARGIN + number * STEP)
        for number, row in enumerate(rows)
        for i, name in enumerate(row)
    }


def line(start: tuple[float, float], end: tuple[float, float]) -> str:
    """A curve from the bottom of a box to the top of another."""
    x, y, right, down = start[0] + WIDTH / 2, start[1] + HEIGHT, end[0] + WIDTH / 2, end[1]
    bend = (down - y) / 2
    path = f"M{x:g} {y:g}C{x:g} {y + bend:g} {right:g} {down - bend:g} {right:g} {down:g}"
    return f'<path d="{path}" fill="none" stroke="#8793a3" stroke-width="1.4" marker-end="url(#arrow)"/>'


def box(name: str, note: str, kind: str, corner: tuple[float, float]) -> str:
    """An asset: its name, and how many of it there are."""
    fill, stroke = COLOURS[kind]
    x, y = corner
    shape = f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="7" fill="{fill}" stroke="{stroke}"/>'
    middle = x + WIDTH / 2
    title = f'<text x="{middle:g}" y="{y + 19:g}" font-size="14" font-weight="600">{escape(name)}</text>'
    return f'{shape}{title}<text x="{middle:g}" y="{y + 35:g}" font-size="11" fill="#4a5563">{escape(note)}</text>'


def legend_box(i: int, kind: str, text: str) -> str:
    """A colour and what it says."""
    fill, stroke = COLOURS[kind]
    x = MARGIN + i * (WIDTH + GAP)
    square = f'<rect x="{x}" y="{MARGIN - 6}" width="16" height="16" rx="4" fill="{fill}" stroke="{stroke}"/>'
    return f'{square}<text x="{x + 24}" y="{MARGIN + 7}" font-size="12" text-anchor="start">{escape(text)}</text>'


def svg(graph: Graph, notes: Mapping[str, str], kinds: Mapping[str, str]) -> str:
    """The picture of an asset graph; what an asset is made of by way of another is left out.

    Args:
        graph: asset -> those that it is made of.
        notes: asset -> what stands below its name.
        kinds: asset -> `observed`, `made` or `asked`.
    """
    shown = transitive_reduction(graph)
    corners = positions(shown)
    width = max(x for x, _ in corners.values()) + WIDTH + MARGIN
    height = max(y for _, y in corners.values()) + HEIGHT + MARGIN
    arrow = '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}"'
        f' viewBox="0 0 {width:g} {height:g}" role="img"'
        ' font-family="system-ui, sans-serif" text-anchor="middle" fill="#1d2733">',
        "<title>The lineage: assets and what they are made of</title>",
        f'<defs>{arrow}<path d="M0 0L8 4L0 8z" fill="#8793a3"/></marker></defs>',
        f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
        *(legend_box(i, kind, text) for i, (kind, text) in enumerate(LEGEND)),
        *(line(corners[part], corners[name]) for name, upstream in shown.items() for part in upstream),
        *(box(name, notes[name], kinds[name], corner) for name, corner in corners.items()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
