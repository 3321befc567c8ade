"""JSON schema validation by the keywords that the generated schemas use."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

TYPES = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "null": lambda value: value is None,
}


def invalid(value: Any, schema: Schema, definitions: Schema, where: str = "") -> Iterator[str]:
    """What of a value a JSON schema forbids."""
    if "$ref" in schema:
        yield from invalid(value, definitions[schema["$ref"].rpartition("/")[2]], definitions, where)
    yield from unmatched(value, schema, definitions, where)
    yield from (f"{where}: {value!r}, {problem}" for problem in scalar_problems(value, schema))
    if isinstance(value, dict):
        yield from mapping_problems(value, schema, definitions, where)
    if isinstance(value, list):
        parts = schema.get("prefixItems", []) + [schema.get("items", {})] * len(value)
        for inner, part in zip(value, parts, strict=False):
            yield from invalid(inner, part, definitions, f"{where}[]")


def unmatched(value: Any, schema: Schema, definitions: Schema, where: str) -> Iterator[str]:
    """Alternatives of which none holds, or of oneOf several."""
    for keyword in ("anyOf", "oneOf"):
        branches = [not any(invalid(value, branch, definitions)) for branch in schema.get(keyword, [])]
        if branches and (not any(branches) or (keyword == "oneOf" and sum(branches) > 1)):
            yield f"{where}: none of {keyword}"


def scalar_problems(value: Any, schema: Schema) -> Iterator[str]:
    """What is wrong with a value by itself: its type, choice, pattern or bounds."""
    types = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    if types and not any(TYPES[name](value) for name in types):
        yield f"no {types}"
    if value != schema.get("const", value) or value not in schema.get("enum", [value]):
        yield "no choice"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield "no match"
    if isinstance(value, int | float) and not in_bounds(value, schema):
        yield "out of bounds"


def in_bounds(value: float, schema: Schema) -> bool:
    """Whether a number lies within a schema's bounds."""
    return schema.get("minimum", -math.inf) <= value <= schema.get("maximum", math.inf) and schema.get(
        "exclusiveMinimum", -math.inf
    ) < value < schema.get("exclusiveMaximum", math.inf)


def mapping_problems(value: dict[str, Any], schema: Schema, definitions: Schema, where: str) -> Iterator[str]:
    """What is wrong with the keys of a mapping, and with their values."""
    yield from (f"{where}: no {key}" for key in schema.get("required", []) if key not in value)
    for key, inner in value.items():
        part = schema.get("properties", {}).get(key, schema.get("additionalProperties", True))
        if part is False:
            yield f"{where}: unknown {key}"
        elif isinstance(part, dict):
            yield from invalid(inner, part, definitions, f"{where}.{key}")
