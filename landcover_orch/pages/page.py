"""Self-contained HTML pages: Jinja templates, every value escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from landcover_orch.pages.picture import data_uri


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["share"] = share
    environment.filters["number"] = number
    environment.filters["data_uri"] = data_uri
    return environment


def render(template: str, **values: Any) -> str:
    """A page from a template of `pages/templates` by its file name, as "report.html"."""
    return _environment().get_template(template).render(**values)


def share(value: float | None, digits: int = 3) -> str:
    """A ratio for people: '0.812'; a dash where it is undefined."""
    return "\u2013" if value is None else f"{value:z.{digits}f}"


def number(value: float | None) -> str:
    """A count for people, in groups of three: '1 234 567'; a dash where it is unknown."""
    return "\u2013" if value is None else f"{value:,.0f}".replace(",", "\u202f")
