"""Published studies: datasets of configs/studies, which are copied into one's own configurations to be served."""

from __future__ import annotations

import os
import re
from pathlib import Path

from landcover_orch.config.files import find, load_dataset, missing, names
from landcover_orch.config.paths import STUDIES, configs_to_write, schema_line
from landcover_orch.errors import ConfigError, Problem


def studies() -> dict[str, str]:
    """Name -> description of the published studies and of the demonstration's variants."""
    return {name: load_dataset(name).description for name in names(STUDIES)}


def add_study(name: str) -> Path:
    """Copies a study into one's own configurations, where servers load it; gives the file. Nothing is overwritten.

    Raises:
        ConfigError: there is no such study, one's own datasets have that name already, or their folder is nowhere.
    """
    source = find(STUDIES, name) if name in names(STUDIES) else None
    if source is None:
        raise ConfigError(missing(STUDIES, name))
    target = configs_to_write() / "datasets" / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.new")
    schema, text = schema_line("dataset"), source.read_text(encoding="utf-8")
    partial.write_text(re.sub(r"\A# yaml-language-server: .*\n", lambda _: schema, text), encoding="utf-8")
    try:
        os.link(partial, target)  # unlike a rename, it replaces nothing
    except FileExistsError:
        fix = "use that one, or delete it first"
        raise ConfigError(Problem(str(target), "a file of that name", "none", fix)) from None
    finally:
        partial.unlink()
    return target
