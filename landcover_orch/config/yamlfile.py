"""Safe YAML loading of configuration: limited in size and depth, with every problem at once."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from landcover_orch.errors import ConfigError, Problem, did_you_mean

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
CLOCK_GRAIN_NS = 2_000_000_000
FILE = "(whole file)"
WORD = "word"
"""Tag of a bare word where a mapping may stand as well; that of the mapping is the name of its class."""

RENAMED = {
    "automation": "retraining",
    "chosen_on": "checkpoint_split",
    "coolest": "final_temperature",
    "doctor": "label_review",
    "drawn": "random_fraction",
    "floors": "baselines",
    "keep_shares": "keep_fractions",
    "listed": "from_csv",
    "max_suspect": "max_flagged",
    "min_share": "min_fraction",
    "symmetries": "tta",
    "without": "exclude_classes",
}
"""Renamed keys of earlier versions; an old one is refused as unknown, with its new name."""

KEY_OF = "[key]"
"""Ends the location of an error that is about a key of a mapping, not about its value."""

EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "string_type": "text",
    "string_too_short": "a text that is not empty",
    "too_short": "a list that is not empty",
}
"""Kinds of pydantic's errors -> what a value must be, in words that need no Python."""

PATTERNS = {
    r"^(file|none|EPSG:\d+)$": "file, none or EPSG:n",
    r"^[A-Za-z0-9_-]+$": "letters a to z, digits, '_' and '-'",
    r"^#[0-9a-fA-F]{6}$": "a colour as '#1b7837', in quotes",
    r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$": "package.module:name",
}
"""Regular expressions of fields in words."""

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path) -> Any:
    """Reads a YAML file: safe-loaded, without aliases, within limits of size and depth.

    Raises:
        ConfigError: too large, too deep, an alias, or not YAML (with line and column).
    """
    status = path.stat()
    if status.st_size > MAX_BYTES:
        raise ConfigError(Problem(str(path), f"{status.st_size} bytes", f"at most {MAX_BYTES}", "split the file"))
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < CLOCK_GRAIN_NS:
        return _read.__wrapped__(path)  # it could change again under the same time stamp
    return copy.deepcopy(_read(path, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size))


@lru_cache(maxsize=1024)
def _read(path: Path, *_: int) -> Any:
    """Content of a file, remembered while its times, inode and size stay the same: a plan reads each many times."""
    try:
        text = path.read_text(encoding="utf-8")
        check_events(yaml.parse(text, Loader=yaml.CSafeLoader), path)
        return yaml.load(text, Loader=CoreLoader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        text, expected = " ".join(str(error).split()), "a YAML file in UTF-8"
        expected = "each key once" if re.search(r"key '.*' twice", text) else expected
        raise ConfigError(Problem(str(path), text, expected, "correct the line it names")) from error


def flow_text(value: object) -> str:
    """Text of a plain value in one line of YAML; a text that YAML would read as a number or date stands in quotes."""
    text = yaml.safe_dump(value, default_flow_style=True, width=1_000_000, allow_unicode=True, sort_keys=False)
    return text.strip().removesuffix("...").strip()


class CoreLoader(yaml.CSafeLoader):
    """Safe loader by the core schema of YAML 1.2, as editors read it; keys are texts, and none is written twice.

    YAML 1.1 reads no and off as false, 0377 as 255, 1:30 as 90, 22978945_15 as a number, 2020-05-01 as a date. Here all
    of them are texts as written; so is a number with leading zeros, which 1.2 reads without them.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Mapping of a node whose keys differ; a bare key is its text, whatever number or truth YAML 1.1 reads."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} twice", key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


CoreLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), [*_first])


def check_events(events: Iterator[yaml.Event], path: Path) -> None:
    """Raises ConfigError where a file has an alias, or more than `MAX_DEPTH` levels (a billion laughs attack)."""
    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > MAX_DEPTH:
            content = "an alias (*name)" if isinstance(event, yaml.AliasEvent) else f"more than {MAX_DEPTH} levels"
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise ConfigError(Problem(f"{path}:{line}", content, "plain nested keys", "write the value out"))


def parse(value: object, model: type[Model], where: str, *, path: Path | None = None) -> Model:
    """Validates plain values against a configuration model.

    Args:
        value: the plain values.
        model: what they must be.
        where: the file as messages call it.
        path: the file itself, for messages that quote a value as it is written there.

    Raises:
        ConfigError: every key that is unknown, missing or invalid, with 'did you mean' for unknown ones.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ConfigError(*(as_problem(item, model, where, path) for item in error.errors())) from error


def as_problem(item: Any, model: type[BaseModel], where: str, file: Path | None = None) -> Problem:
    """Problem of a pydantic validation error, with a suggestion where a key or name is misspelt."""
    location = item["loc"][:-1] if item["loc"][-1:] == (WORD,) else item["loc"]
    path, here = error_location(model, location)
    if item["type"] == "extra_forbidden":
        known = sorted(here.model_fields)
        key = str(item["loc"][-1])
        renamed = f"it is called `{RENAMED[key]}` now" if RENAMED.get(key) in known else None
        parts = {name: _models(here.model_fields[name].annotation) for name in known}
        below = [name for name, models in parts.items() if any(key in model.model_fields for model in models)]
        nested = f"write it below `{below[0]}`" if below else None
        fix = renamed or nested or did_you_mean(key, known) or "delete the key"
        return Problem(f"{where}: {path}", "an unknown key", f"one of {known}", fix)
    if path == FILE and item["type"] in ("model_type", "dict_type"):
        content = "an empty file" if item["input"] is None else f"a {type(item['input']).__name__}"
        return Problem(where, content, "keys and values", "write its keys, as the other files of its folder have them")
    if item["type"] == "missing":
        return Problem(f"{where}: {path}", "nothing", "a value", f"add the key `{path}`")
    if item["type"] == "union_tag_invalid":
        known = [tag.strip(" '") for tag in item["ctx"]["expected_tags"].split(",")]
        fix = did_you_mean(item["ctx"]["tag"], known) or f"correct `{path}`"
        return Problem(f"{where}: {path}", repr(item["ctx"]["tag"]), f"one of {known}", fix)
    if item["type"] == "union_tag_not_found":
        return Problem(f"{where}: {path}", "no `name`", "the name of one of the kinds", f"add the key `{path}.name`")
    if item["type"] == "value_error":
        location, text = where if path == FILE else f"{where}: {path}", item["msg"].removeprefix("Value error, ")
        field = here.model_fields.get(str(item["loc"][-1])) if item["loc"] else None
        if field is not None and not _models(field.annotation):
            return Problem(location, text, "another value", f"correct `{path}`")
        return Problem(location, text, "values that go together", "change one of them")
    field = here.model_fields.get(str(location[-1])) if location else None
    return value_problem(item, f"{where}: {path}", path, field, written_text(file, location))


def value_problem(item: Any, where: str, path: str, field: FieldInfo | None, text: str | None) -> Problem:
    """Problem of a value of another kind than its key takes: a number for text, a word for a mapping or a list.

    Args:
        item: a pydantic validation error.
        where: the file and the key.
        path: the key.
        field: of the model that the key belongs to.
        text: the value as the file has it; None where that is not known.
    """
    value, kind, key = item["input"], item["type"], path.rsplit(".", 1)[-1]
    text, meaning = text or str(value), yaml_meaning(value)
    found = repr(value)[:80] if meaning is None else f"{text}, which YAML reads as {meaning}"
    found = text if meaning and text == str(value) and "string" not in kind else found
    annotation = None if field is None else field.annotation
    models, pattern = _models(annotation), pattern_of(field)
    if kind == "string_type" and meaning and (pattern is None or re.search(pattern, text)):
        return Problem(where, found, "text", f"put {text} in quotes: '{text}'")
    if kind in ("string_type", "string_pattern_mismatch") and pattern:
        epsg = "EPSG" in pattern and text.isdecimal()
        return Problem(where, found, PATTERNS.get(pattern, pattern), f"write EPSG:{text}" if epsg else "correct it")
    if kind in ("model_type", "dict_type"):
        keys = f": {', '.join(models[0].model_fields)}" if models else ""
        return Problem(where, found, f"keys and values{keys}", f"write `{key}: {{{_example(models, value)}}}`")
    if kind in ("tuple_type", "list_type"):
        return Problem(where, found, "a list", f"write `{key}: [{value if isinstance(value, str) else '...'}]`")
    if kind == "literal_error":
        known = _words(annotation) or re.findall("'([^']*)'", item["ctx"]["expected"])
        others = f", or keys and values: {', '.join(models[0].model_fields)}" if models else ""
        closest = f"put {text} in quotes" if meaning and text in known else did_you_mean(text, known)
        return Problem(where, found, f"one of {known}{others}", closest or "write one of them")
    expected = EXPECTED.get(kind) or str(item["msg"]).replace("Input should be", "a value")
    return Problem(where, found, expected, f"correct `{path}`")


def yaml_meaning(value: object) -> str | None:
    """What YAML reads a bare word as that is no text: a number, true, nothing; None for text, lists and mappings."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case None:
            return "nothing"
        case _:
            return None


def pattern_of(field: FieldInfo | None) -> str | None:
    """The regular expression that a field's text must match."""
    patterns = (getattr(part, "pattern", None) for part in (field.metadata if field else ()))
    return next((pattern for pattern in patterns if pattern), None)


def _example(models: list[type[BaseModel]], value: object) -> str:
    """The keys that a word was meant for, or those that a mapping must have."""
    fields = models[0].model_fields if models else {}
    meant = [key for key, field in fields.items() if isinstance(value, str) and value in _words(field.annotation)]
    required = [key for key, field in fields.items() if field.is_required()] or [*fields][:1]
    return f"{meant[0]}: {value}" if meant else ", ".join(f"{key}: ..." for key in required) or "key: value"


def _words(annotation: object) -> list[str]:
    """The words that an annotation lists as literals."""
    if get_origin(annotation) is Literal:
        return [word for word in get_args(annotation) if isinstance(word, str)]
    return [word for inner in get_args(annotation) for word in _words(inner)]


def written_text(path: Path | None, location: Sequence[object]) -> str | None:
    """Text of a scalar, or of a key, as it stands in a YAML file; None where there is none.

    Args:
        path: the file.
        location: keys and indices of a validation error; tags that pydantic adds are no keys, and skipped.
    """
    if path is None:
        return None
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    key: str | None = None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pairs = ((name.value, value) for name, value in node.value if isinstance(name, yaml.ScalarNode))
            key, node = next(((k, value) for k, value in pairs if part in (k, yaml.safe_load(k))), (key, node))
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
    if location and location[-1] == KEY_OF:
        return key
    return str(node.value) if isinstance(node, yaml.ScalarNode) else None


def error_location(model: type[BaseModel], location: tuple[object, ...]) -> tuple[str, type[BaseModel]]:
    """Location of an error as in the file (pydantic adds the chosen `name`), and the model around its end."""
    written: list[str] = []
    choices: list[type[BaseModel]] = []
    here = model
    for part in location:
        chosen = [c for c in choices if "name" in c.model_fields and c.model_fields["name"].default == part]
        tagged = [c for c in choices if c.__name__ == part]
        if chosen or tagged:
            here, choices = (chosen or tagged)[0], []
            continue
        if (choices and part == WORD) or part == KEY_OF:
            continue
        written.append(str(part))
        if str(part) in here.model_fields:
            choices = _models(here.model_fields[str(part)].annotation)
            here = choices[0] if len(choices) == 1 and part is not location[-1] else here
    return ".".join(written) or FILE, here


def _models(annotation: object) -> list[type[BaseModel]]:
    """Models anywhere in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]
