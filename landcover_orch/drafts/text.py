"""Draft text: the YAML of a dataset and its legend, each guess with its reason as a comment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from landcover_orch.config.yamlfile import flow_text

WIDTH = 110


def entry(key: str, value: Any, reason: str = "", questions: Iterable[str] = ()) -> Iterator[str]:
    """Lines of a key: its reason and its questions above it."""
    yield from comment(reason)
    for question in questions:
        yield from comment(f"QUESTION: {question}")
    yield f"{key}: {flow_text(value)}"


def block(key: str, values: Mapping[str, Any], reason: str = "", questions: Iterable[str] = ()) -> Iterator[str]:
    """Lines of a mapping: a line each of its keys."""
    yield from comment(reason)
    for question in questions:
        yield from comment(f"QUESTION: {question}")
    yield f"{key}:"
    for inner, value in values.items():
        if isinstance(value, dict) and value and all(isinstance(part, dict) for part in value.values()):
            yield f"  {flow_text(inner)}:"
            yield from (f"    {flow_text(name)}: {flow_text(part)}" for name, part in value.items())
        else:
            yield f"  {flow_text(inner)}: {flow_text(value)}"


def comment(text: str) -> Iterator[str]:
    """Lines of a comment, broken between words; line breaks of names are blanks."""
    line = "#"
    for word in text.split():
        if len(line) + len(word) > WIDTH and line != "#":
            yield line
            line = "#  "
        line += f" {word}"
    if line != "#":
        yield line
