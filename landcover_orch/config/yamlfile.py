"""The one way to read a YAML file of configuration: safe, limited, with every problem at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from landcover_orch.errors import ConfigError, Problem, did_you_mean

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
WHOLE = "(whole file)"
RENAMED = {
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
"""Keys of earlier versions and what they are called now; an old one is refused as unknown, with its new name."""

Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path) -> Any:
    """What a YAML file holds: safe-loaded, without aliases, within limits of size and depth.

    Raises:
        ConfigError: too large, too deep, an alias, or not YAML (with line and column).
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ConfigError(Problem(str(path), f"{size} bytes", f"at most {MAX_BYTES}", "split the file"))
    try:
        text = path.read_text(encoding="utf-8")
        _check_events(yaml.parse(text, Loader=yaml.SafeLoader), path)
        return yaml.load(text, Loader=_OnceEach)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            Problem(str(path), " ".join(str(error).split()), "a YAML file in UTF-8", "correct the line it names")
        ) from error


class _OnceEach(yaml.SafeLoader):
    """The safe loader, which takes the last of equal keys; this one refuses them."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node whose keys differ."""
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} twice", key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _check_events(events: Iterator[yaml.Event], path: Path) -> None:
    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent) or depth > MAX_DEPTH:
            found = "an alias (*name)" if isinstance(event, yaml.AliasEvent) else f"more than {MAX_DEPTH} levels"
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise ConfigError(Problem(f"{path}:{line}", found, "plain nested keys", "write the value out"))


def parse(value: object, model: type[Model], where: str) -> Model:
    """A configuration model from plain values.

    Raises:
        ConfigError: every key that is unknown, missing or wrong, with 'did you mean' for unknown ones.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise ConfigError(*(_problem(item, model, where) for item in error.errors())) from error


def _problem(item: Any, model: type[BaseModel], where: str) -> Problem:
    path, here = _location(model, item["loc"])
    if item["type"] == "extra_forbidden":
        known = sorted(here.model_fields)
        key = str(item["loc"][-1])
        fix = _renamed(key, known) or did_you_mean(key, known) or "delete the key"
        return Problem(f"{where}: {path}", "an unknown key", f"one of {known}", fix)
    if item["type"] == "missing":
        return Problem(f"{where}: {path}", "nothing", "a value", f"add the key `{path}`")
    if item["type"] == "union_tag_invalid":
        known = [tag.strip(" '") for tag in item["ctx"]["expected_tags"].split(",")]
        fix = did_you_mean(item["ctx"]["tag"], known) or f"correct `{path}`"
        return Problem(f"{where}: {path}", repr(item["ctx"]["tag"]), f"one of {known}", fix)
    if item["type"] == "union_tag_not_found":
        return Problem(f"{where}: {path}", "no `name`", "the name of one of the kinds", f"add the key `{path}.name`")
    if item["type"] == "value_error":
        location = where if path == WHOLE else f"{where}: {path}"
        return Problem(
            location, item["msg"].removeprefix("Value error, "), "values that go together", "change one of them"
        )
    return Problem(f"{where}: {path}", repr(item["input"])[:80], item["msg"], f"correct `{path}`")


def _renamed(key: str, known: list[str]) -> str | None:
    """The remedy for a key of an earlier version; None where it is none, or its new name does not fit here."""
    return f"it is called `{RENAMED[key]}` now" if RENAMED.get(key) in known else None


def _location(model: type[BaseModel], location: tuple[object, ...]) -> tuple[str, type[BaseModel]]:
    """Where an error lies as a person writes it (pydantic adds the chosen `name`), and the model around its end."""
    written: list[str] = []
    choices: list[type[BaseModel]] = []
    here = model
    for part in location:
        chosen = [choice for choice in choices if _tag(choice) == part]
        if chosen:
            here, choices = chosen[0], []
            continue
        written.append(str(part))
        if str(part) in here.model_fields:
            choices = _models(here.model_fields[str(part)].annotation)
            here = choices[0] if len(choices) == 1 and part is not location[-1] else here
    return ".".join(written) or WHOLE, here


def _tag(model: type[BaseModel]) -> object:
    return model.model_fields["name"].default if "name" in model.model_fields else None


def _models(annotation: object) -> list[type[BaseModel]]:
    """The models that stand anywhere in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]
