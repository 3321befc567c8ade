"""Self-contained HTML pages: Jinja templates, every value escaped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from landcover_orch.pages.links import Link
from landcover_orch.pages.picture import data_uri


@cache
def environment() -> Environment:
    """Jinja environment of `pages/templates`: autoescaping, strict about undefined names, with the filters below."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    templates.filters["ratio"] = format_ratio
    templates.filters["number"] = format_number
    templates.filters["hectares"] = format_hectares
    templates.filters["data_uri"] = data_uri
    return templates


def render(template: str, *, links: Sequence[Link] = (), **values: Any) -> str:
    """Rendered HTML of a template of `pages/templates` by its file name, as "report.html".

    `links` lead to Dagster and MLflow; they are hidden where the page is opened as a file, which has no such paths.
    """
    return environment().get_template(template).render(links=links, **values)


def format_ratio(value: float | None, digits: int = 3) -> str:
    """Formatted ratio: '0.812'; a dash where it is undefined."""
    return "\u2013" if value is None else f"{value:z.{digits}f}"


def format_number(value: float | None) -> str:
    """Formatted count, thousands in groups: '1 234 567'; a dash where it is unknown."""
    return "\u2013" if value is None else f"{value:,.0f}".replace(",", "\u202f")


def format_hectares(value: float | None) -> str:
    """Formatted area: '6.55 ha', large ones in fewer digits, as '12 345 ha', tiny ones in more; a dash for none."""
    if value is None:
        return "\u2013"
    digits = 0 if value >= 1000 else 1 if value >= 100 else 2 if value >= 0.01 or not value else 4
    return f"{value:,.{digits}f}\u00a0ha".replace(",", "\u202f")
