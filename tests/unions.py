"""Members of the unions of settings, so that a test's cases are those that there are."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel


def members(annotation: Any) -> list[type[BaseModel]]:
    """The models of a union, in its order."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in members(inner)]


def names(annotation: Any) -> list[str]:
    """The names by which a union's models are chosen, or the words of a literal."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [model.model_fields["name"].default for model in members(annotation)]
