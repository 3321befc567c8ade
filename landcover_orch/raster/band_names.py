"""Band names: what a file says of its bands, by descriptions and colour interpretation, against what is expected."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from landcover_orch.errors import Problem
from landcover_orch.raster.reading import Raster, color_interpretation

SPECTRAL: Mapping[str, tuple[str, ...]] = {
    "blue": ("blue", "b", "blau", "azul", "bleu"),
    "green": ("green", "g", "gruen", "grün", "verde", "vert"),
    "red": ("red", "r", "rot", "rojo", "vermelho", "rouge"),
    "nir": ("nir", "ir", "infrared", "near infrared", "nahes infrarot", "infrarrojo"),
}
"""Spectral band -> the names that files and people give it."""

COLOURS = ("red", "green", "blue")


def spectral_band(name: str | None) -> str | None:
    """The spectral band that a name means: 'Red', 'band 1 (red)' and 'rot' are red; None where it means none."""
    words = re.sub(r"[\W_]+", " ", (name or "").casefold()).strip()
    words = re.sub(r"^(?:band|banda|bande|kanal) ?\d* ?", "", words)
    return next((band for band, names in SPECTRAL.items() if words in names), None)


def band_name_problems(raster: Raster, names: Sequence[str]) -> Iterator[Problem]:
    """Problems where a raster's own file names its bands otherwise than they are to be read.

    Descriptions and colours that contradict each other are one. A description that means another spectral band is one.
    Colours are one where red, green and blue are all expected and stand in another order: files of other bands are
    tagged red, green, blue for their display alone.

    Args:
        raster: the bands that are read, in order.
        names: what they are expected to be.
    """
    if len(names) != len(raster.bands):
        return
    expected = [spectral_band(name) for name in names]
    described = [spectral_band(text) for text in raster.descriptions]
    roles = color_interpretation(raster)
    colours = [role if role in COLOURS else None for role in (roles[band - 1] for band in raster.bands)]
    if not {*COLOURS} <= {*filter(None, expected)}:
        colours = [None] * len(colours)
    if any(name and colour and name != colour for name, colour in zip(described, colours, strict=True)):
        both = f"it names its bands {in_words(described)}, and tags their colours {in_words(colours)}"
        fix = "find out which is right, give `bands` in that order, and set the dataset's `band_names: ignore`"
        yield Problem(str(raster.path), both, "names and colours that agree", fix)
        return
    sources = {"names its bands": described, "tags the colours of its bands": colours}
    for verb, stated in sources.items():
        wrong = [i for i, (a, b) in enumerate(zip(stated, expected, strict=True)) if a and b and a != b]
        if wrong:
            fix = "give `bands` in the file's order, or take its bands in yours with `tiles.select`; where the file is "
            fix += "wrong, set the dataset's `band_names: ignore`"
            yield Problem(str(raster.path), f"it {verb} {in_words(stated)}", f"{', '.join(names)} (`bands`)", fix)
            return


def in_words(stated: Sequence[str | None]) -> str:
    """Bands as a list; '?' where a file says nothing of one."""
    return ", ".join(band or "?" for band in stated)
