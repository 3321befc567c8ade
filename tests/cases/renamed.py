"""Keys of configurations that got another name since the cases were written: the one table, old path -> new path.

A line a key, dotted paths from the top of the file. Values stay as written, quoted or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml
from yaml import MappingNode, Node, ScalarNode

RENAMED: dict[str, dict[str, str]] = {
    "datasets": {
        "floors": "baselines",
        "doctor": "label_review",
        "proportions.without": "proportions.exclude_classes",
        "limits.max_suspect": "limits.max_flagged",
        "automation.retrain": "retraining.when.cron",
        "automation.timezone": "retraining.when.timezone",
        "splits.chosen_on": "splits.checkpoint_split",
        **{f"splits.{split}.listed": f"splits.{split}.from_csv" for split in ("validation", "test", "excluded")},
        **{f"splits.{split}.drawn": f"splits.{split}.random_fraction" for split in ("validation", "test", "excluded")},
    },
    "legends": {
        "composites.min_share": "composites.min_fraction",
        "composites.keep_shares": "composites.keep_fractions",
    },
    "searches": {"changes.symmetries": "changes.tta"},
    "experiments": {
        "loss.class_weights.without": "loss.class_weights.exclude_classes",
        "prediction.symmetries": "prediction.tta",
        "prediction.smoothing.coolest": "prediction.smoothing.final_temperature",
    },
}


def rename_keys(text: str, table: Mapping[str, str]) -> str:
    """A YAML text with keys renamed or moved; the text itself where it has none of them."""
    try:
        root = yaml.compose(text)
    except yaml.YAMLError:
        return text  # a case may be about a file that cannot be parsed
    moved = False
    for old, new in table.items():
        value = _taken(root, old.split("."))
        if value is not None:
            _put(root, new.split("."), value)
            moved = True
    return str(yaml.serialize(root, allow_unicode=True)) if moved else text


def set_key(text: str, path: str, value: object) -> str:
    """A YAML text in which the key at a dotted path has this value."""
    root = yaml.compose(text)
    _taken(root, path.split("."))
    _put(root, path.split("."), yaml.compose(yaml.safe_dump(value)))
    return str(yaml.serialize(root, allow_unicode=True))


def renamed_path(kind: str, path: str) -> str:
    """The dotted path of a key today."""
    return RENAMED[kind].get(path, path)


def _taken(node: Node | None, path: Sequence[str]) -> Node | None:
    """The value at a path, cut out of the tree, as are mappings that it leaves empty; None where there is none."""
    if not isinstance(node, MappingNode):
        return None
    for pair in node.value:
        if pair[0].value == path[0]:
            taken = _taken(pair[1], path[1:]) if len(path) > 1 else pair[1]
            if taken is not None and (len(path) == 1 or not pair[1].value):
                node.value.remove(pair)
            return taken
    return None


def _put(node: Node | None, path: Sequence[str], value: Node | None) -> None:
    """Sets the value at a path, with the mappings on the way to it."""
    assert isinstance(node, MappingNode), "a configuration is a mapping"
    for step in path[:-1]:
        inner = next((content for key, content in node.value if key.value == step), None)
        if inner is None:
            inner = MappingNode("tag:yaml.org,2002:map", [], flow_style=False)
            node.value.append((ScalarNode("tag:yaml.org,2002:str", step), inner))
        node = inner
    node.value.append((ScalarNode("tag:yaml.org,2002:str", path[-1]), value))
