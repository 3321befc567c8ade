"""Contrast of the pages' colours (WCAG 2.1, level AA), in light and in dark, computed from the style sheet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from landcover_orch.evaluation import dots, figures
from landcover_orch.pages import page

TEMPLATES = Path(page.__file__).parent / "templates"
STYLE = (TEMPLATES / "page.html").read_text(encoding="utf-8")
AA = 4.5
"""Least contrast of text of normal size."""

SURFACES = ("paper", "panel", "warning", "mark", "baseline")
"""What text stands on; a link, a note or a failed value can stand on any."""

TEXTS = ("ink", "muted", "link", "bad")
PAIRS = [(text, surface) for text in TEXTS for surface in SURFACES] + [("on-tag", "tag"), ("on-flag", "flag")]


def palette(block: str) -> dict[str, str]:
    """Custom properties of a block of CSS: name -> '#rrggbb'."""
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


LIGHT, DARK = (palette(block) for block in re.findall(r":root \{([^}]*)\}", STYLE))


def luminance(colour: str) -> float:
    """Relative luminance of '#rrggbb' (WCAG 2.1)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one_colour: str, other: str) -> float:
    """Contrast ratio of two colours, from 1 to 21."""
    light, dark = sorted((luminance(one_colour), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_formula_has_its_known_answers() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "surface"), PAIRS, ids="-on-".join)
def test_text_can_be_read(colours: dict[str, str], text: str, surface: str) -> None:
    assert contrast(colours[text], colours[surface]) >= AA


def test_both_modes_have_every_colour() -> None:
    assert LIGHT.keys() == DARK.keys() >= {name for pair in PAIRS for name in pair}


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.html")), ids=lambda path: path.name)
def test_templates_take_their_colours_from_the_style_sheet(path: Path) -> None:
    """Else one of them would not change in the dark. Swatches and their borders show what a picture shows."""
    text = re.sub(r":root \{[^}]*\}", "", path.read_text(encoding="utf-8"))
    shown = re.sub(r'<span class="swatch" style="background: #[0-9a-f]{6}">|border: 1px solid #\w+|&#\d+;', "", text)
    rest = shown.replace("background: #ffffff }", "}")  # of pictures, which are drawn on white
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[ ;}\"])", rest) == []


@pytest.mark.parametrize("colour", [figures.INK, figures.QUIET, dots.BASELINE])
def test_text_in_figures_can_be_read(colour: str) -> None:
    assert contrast(colour, "#ffffff") >= AA
