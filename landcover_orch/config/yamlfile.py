"""Safe YAML loading of configuration: limited in size and depth, with every problem at once."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

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
        check_events(yaml.parse(text, Loader=yaml.SafeLoader), path)
        return yaml.load(text, Loader=UniqueKeyLoader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            Problem(str(path), " ".join(str(error).split()), "a YAML file in UTF-8", "correct the line it names")
        ) from error


class UniqueKeyLoader(yaml.SafeLoader):
    """Safe loader that refuses duplicate keys, of which yaml takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Mapping of a node whose keys differ."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} twice", key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def check_events(events: Iterator[yaml.Event], path: Path) -> None:
    """Raises ConfigError where a file has an alias, or more than `MAX_DEPTH` levels (a billion laughs attack)."""
    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > MAX_DEPTH:
            content = "an alias (*name)" if isinstance(event, yaml.AliasEvent) else f"more than {MAX_DEPTH} levels"
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise ConfigError(Problem(f"{path}:{line}", content, "plain nested keys", "write the value out"))


def parse(value: object, model: type[Model], where: str) -> Model:
    """Validates plain values against a configuration model.

    Raises:
        ConfigError: every key that is unknown, missing or invalid, with 'did you mean' for unknown ones.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ConfigError(*(as_problem(item, model, where) for item in error.errors())) from error


def as_problem(item: Any, model: type[BaseModel], where: str) -> Problem:
    """Problem of a pydantic validation error, with a suggestion where a key or name is misspelt."""
    path, here = error_location(model, item["loc"])
    if item["type"] == "extra_forbidden":
        known = sorted(here.model_fields)
        key = str(item["loc"][-1])
        renamed = f"it is called `{RENAMED[key]}` now" if RENAMED.get(key) in known else None
        fix = renamed or did_you_mean(key, known) or "delete the key"
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
    return Problem(f"{where}: {path}", repr(item["input"])[:80], item["msg"], f"correct `{path}`")


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
        if choices and part == WORD:
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
