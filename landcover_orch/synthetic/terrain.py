"""Procedural terrain as polygons: fields, forest, water, roads and buildings that cover the area once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely import affinity
from shapely.geometry import LineString, Point, Polygon, box
from shapely.geometry.base import BaseGeometry
from shapely.ops import split

CROPS = {"meadow": "110", "wheat": "110", "maize": "110", "bare": "120", "ploughed": "120"}
FORESTS = {"broadleaved": "210", "conifer": "220"}
ROOFS = ("tiles", "grey roof", "light roof", "brown roof", "slate")
FIELD_AREA = (4_000.0, 14_000.0)
"""Square metres between which fields are no longer divided."""


@dataclass(frozen=True)
class Parcel:
    """One polygon of the terrain: its source code, its appearance, and the direction of its rows or ridge."""

    code: str
    shape: Polygon
    appearance: str
    angle: float
    height: float = 0.0


@dataclass(frozen=True)
class Terrain:
    """The parcels, which cover the area once, and things on them that no label names: cars and single trees."""

    parcels: tuple[Parcel, ...]
    things: tuple[Parcel, ...]


def terrain(domain: Polygon, rng: np.random.Generator) -> Terrain:
    """A terrain that fills a rectangle (coordinates in metres); what stands on top cuts what lies below."""
    water = water_bodies(domain, rng)
    lines = road_lines(domain, rng)
    roads = road_parcels(lines, rng)
    hard = shapely.union_all([p.shape for p in (*water, *roads)])
    buildings = place_buildings(lines, hard, rng)
    layers = [buildings, roads, water, forests(domain, buildings, rng), fields(domain, rng)]
    parcels = tuple(stack_layers(layers))
    return Terrain(parcels, (*draw_cars(lines, rng), *draw_trees(parcels, rng)))


def stack_layers(layers: Iterable[Sequence[Parcel]]) -> Iterable[Parcel]:
    """Parcels cut by all that came before them, in simple polygons."""
    taken: Any = Polygon()
    for layer in layers:
        for parcel in layer:
            for piece in polygons(parcel.shape.difference(taken)):
                yield Parcel(parcel.code, piece, parcel.appearance, parcel.angle, parcel.height)
            taken = taken.union(parcel.shape)


def polygons(shape: Any) -> list[Polygon]:
    """The polygons of a geometry, without lines, points and specks."""
    return [part for part in shapely.get_parts([shape]) if part.geom_type == "Polygon" and part.area > 1e-6]


def fields(domain: Polygon, rng: np.random.Generator) -> list[Parcel]:
    """Fields of all crops, over the domain."""
    appearances = list(CROPS)
    parcels = []
    for shape in subdivide(domain, rng):
        appearance = appearances[rng.integers(len(appearances))]
        parcels.append(Parcel(CROPS[appearance], shape, appearance, _long_axis(shape)))
    return parcels


def subdivide(shape: Polygon, rng: np.random.Generator) -> list[Polygon]:
    """Convex pieces of a polygon, cut again and again across its longer side at a slight slant."""
    pieces, done = [shape], []
    while pieces:
        piece = pieces.pop()
        if piece.area < rng.uniform(*FIELD_AREA):
            done.append(piece)
            continue
        angle = _long_axis(piece) + np.pi / 2 + rng.normal(0, 0.1)
        middle = np.array(piece.centroid.coords[0]) + rng.normal(0, 0.12, 2) * np.sqrt(piece.area)
        reach = 2 * piece.length * np.array([np.cos(angle), np.sin(angle)])
        parts = polygons(split(piece, LineString([middle - reach, middle + reach])))
        (pieces if len(parts) > 1 else done).extend(parts)
    return done


def _long_axis(shape: Polygon) -> float:
    """Direction of a polygon's longer side in radians."""
    corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(shape))
    side = max(np.diff(corners[:3], axis=0), key=lambda edge: float(np.hypot(*edge)))
    return float(np.arctan2(side[1], side[0]))


def forests(domain: Polygon, buildings: Sequence[Parcel], rng: np.random.Generator) -> list[Parcel]:
    """Forests of broadleaved trees and of conifers, at a distance from buildings."""
    gardens = shapely.union_all([building.shape for building in buildings]).buffer(6)
    parcels = []
    for appearance, code in FORESTS.items():
        count = max(1, round(domain.area / 60_000))
        blobs = [_blob(_somewhere(domain, rng), rng.uniform(25, 65), rng) for _ in range(count)]
        parcels += [Parcel(code, p, appearance, 0.0) for p in polygons(shapely.union_all(blobs).difference(gardens))]
    return parcels


def _somewhere(domain: Polygon, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    left, bottom, right, top = domain.bounds
    return rng.uniform((left, bottom), (right, top))


def _blob(centre: np.ndarray[Any, Any], radius: float, rng: np.random.Generator) -> Polygon:
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    waves = sum(rng.normal(0, 0.28 / k) * np.cos(k * turn + rng.uniform(0, 2 * np.pi)) for k in range(1, 7))
    reach = radius * np.clip(1 + waves, 0.35, 2)
    return Polygon(centre + reach[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)).buffer(0)


def water_bodies(domain: Polygon, rng: np.random.Generator) -> list[Parcel]:
    """A river and ponds."""
    count = max(1, round(domain.area / 90_000))
    ponds = [_blob(_somewhere(domain, rng), rng.uniform(9, 24), rng) for _ in range(count)]
    river = _winding(domain, rng, vertical=False, sway=0.12).buffer(rng.uniform(6, 9))
    return [Parcel("310", river, "river", 0.0), *(Parcel("310", pond, "pond", 0.0) for pond in ponds)]


def _winding(domain: Polygon, rng: np.random.Generator, *, vertical: bool, sway: float, at: float = 0.5) -> LineString:
    """A winding line through the domain, from left to right or (vertical) from bottom to top."""
    left, bottom, right, top = domain.bounds
    start, end, low, high = (bottom, top, left, right) if vertical else (left, right, bottom, top)
    along = np.linspace(start - 20, end + 20, 80)
    waves = sum(
        rng.normal(0, sway / k) * np.sin(2 * np.pi * k * along / 450 + rng.uniform(0, 2 * np.pi)) for k in (1, 2, 3)
    )
    side = low + (high - low) * at + waves * 300
    return LineString(np.stack([side, along] if vertical else [along, side], axis=1))


def road_lines(domain: Polygon, rng: np.random.Generator) -> list[tuple[LineString, str]]:
    """Centre lines of roads and tracks, and the appearance of each."""
    left, bottom, right, top = domain.bounds
    lines = []
    for vertical, length in ((False, top - bottom), (True, right - left)):
        count = max(1, round(length / 280))
        for i in range(count):
            appearance = "track" if rng.random() < 0.35 and i else "asphalt"
            at = (i + rng.uniform(0.3, 0.7)) / count
            lines.append((_winding(domain, rng, vertical=vertical, sway=0.04, at=at), appearance))
    return lines


def road_parcels(lines: Iterable[tuple[LineString, str]], rng: np.random.Generator) -> list[Parcel]:
    """Roads and tracks with their widths."""
    widths = {"asphalt": (2.8, 4.2), "track": (1.6, 2.2)}
    return [Parcel("410", line.buffer(rng.uniform(*widths[appearance])), appearance, 0.0) for line, appearance in lines]


def place_buildings(lines: Iterable[tuple[LineString, str]], hard: Any, rng: np.random.Generator) -> list[Parcel]:
    """Houses and barns on both sides of asphalt roads, in villages rather than everywhere."""
    taken, buildings = hard.buffer(3), []
    for line, appearance in lines:
        phase = rng.uniform(0, 2 * np.pi)
        for at in np.arange(5, line.length, 11) if appearance == "asphalt" else ():
            if rng.random() > 0.55 + 0.45 * np.sin(at / 70 + phase):
                continue
            building = draw_building(line, float(at), rng)
            if not building.shape.intersects(taken):
                buildings.append(building)
                taken = taken.union(building.shape.buffer(2.5))
    return buildings


def draw_building(line: LineString, at: float, rng: np.random.Generator) -> Parcel:
    """A building or barn beside a road, some metres along its line."""
    point, following = np.array(line.interpolate(at).coords[0]), np.array(line.interpolate(at + 1).coords[0])
    angle = float(np.arctan2(*(following - point)[::-1]))
    barn = rng.random() < 0.2
    length, depth = rng.uniform(18, 34) if barn else rng.uniform(9, 15), rng.uniform(7, 13)
    away = rng.choice([-1, 1]) * rng.uniform(11, 26)
    outline: BaseGeometry = box(-length / 2, -depth / 2, length / 2, depth / 2)
    if rng.random() < 0.4:
        outline = outline.union(box(-length / 2, 0, -length / 6, depth * rng.uniform(0.8, 1.2)))
    turned = affinity.rotate(outline, angle + rng.normal(0, 0.12), origin=(0, 0), use_radians=True)
    x, y = point + away * np.array([-np.sin(angle), np.cos(angle)])
    appearance = ROOFS[rng.choice(len(ROOFS), p=(0.34, 0.22, 0.14, 0.18, 0.12))]
    (shape,) = polygons(affinity.translate(turned, x, y))
    return Parcel("510", shape, appearance, angle, rng.uniform(4, 9))


def draw_cars(lines: Iterable[tuple[LineString, str]], rng: np.random.Generator) -> list[Parcel]:
    """Cars on asphalt roads, in both directions."""
    cars = []
    for line, appearance in lines:
        for at in rng.uniform(0, line.length, int(line.length / 70) if appearance == "asphalt" else 0):
            point, following = np.array(line.interpolate(at).coords[0]), np.array(line.interpolate(at + 1).coords[0])
            angle = float(np.arctan2(*(following - point)[::-1]))
            side = rng.choice([-1.4, 1.4]) * np.array([-np.sin(angle), np.cos(angle)])
            body = affinity.rotate(box(-2.1, -0.9, 2.1, 0.9), angle, origin=(0, 0), use_radians=True)
            appearance = ("light car", "dark car", "red car")[rng.integers(3)]
            cars.append(Parcel("", affinity.translate(body, *(point + side)), appearance, angle, 1.5))
    return cars


def draw_trees(parcels: Iterable[Parcel], rng: np.random.Generator) -> list[Parcel]:
    """Single trees on meadows and along the borders of some fields; they belong to their field."""
    trees = []
    for parcel in parcels:
        if parcel.code not in ("110", "120") or rng.random() < 0.45:
            continue
        edge = parcel.shape.exterior
        stems = [edge.interpolate(at) for at in rng.uniform(0, edge.length, int(edge.length / rng.uniform(10, 60)))]
        stems += [Point(_somewhere(parcel.shape, rng)) for _ in range(3 if parcel.appearance == "meadow" else 0)]
        for stem in stems:
            crown = stem.buffer(rng.uniform(1.6, 4.0))
            if parcel.shape.contains(crown.centroid.buffer(0.1)) or stem.distance(edge) < 0.1:
                trees.append(Parcel("", crown, "tree", 0.0, rng.uniform(3, 7)))
    return trees
