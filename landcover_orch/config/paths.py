"""Paths of configurations and outputs, environment variables in them, and protection from path traversal."""

from __future__ import annotations

import os
import re
from pathlib import Path

from landcover_orch.errors import ConfigError, Problem

STUDIES = "studies"
"""Folder of the shipped datasets of published studies: loaded where they are named, and by no server."""

CONFIGS = "LANDCOVER_CONFIGS"
"""Environment variable: folder of a person's own configurations."""

CODE = "LANDCOVER_CODE"
"""Environment variable: folder of the packages that configurations name as custom code."""

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def home() -> Path:
    """Output folder, that everything is written below: LANDCOVER_HOME, or `var` in the working folder."""
    return Path(os.environ.get("LANDCOVER_HOME", "var")).expanduser().resolve()


def dagster_home() -> Path:
    """Folder of Dagster's instance: DAGSTER_HOME, or `dagster` in the output folder."""
    return Path(os.environ.get("DAGSTER_HOME") or home() / "dagster").expanduser().resolve()


def own_configs() -> Path:
    """Folder of a person's own configurations: LANDCOVER_CONFIGS, or `configs` in the working folder."""
    return Path(os.environ.get(CONFIGS, "configs")).expanduser().resolve()


def code_folder() -> Path:
    """Folder of the packages of custom code: LANDCOVER_CODE, or `code` in the folder of one's own configurations."""
    return Path(os.environ.get(CODE) or own_configs() / "code").expanduser().resolve()


def folder_variables() -> dict[str, str]:
    """Environment variables that name the folders by absolute paths, for processes with another working folder."""
    return {"LANDCOVER_HOME": str(home()), CONFIGS: str(own_configs()), CODE: str(code_folder())}


def missing_configs() -> Problem | None:
    """The problem of a configuration folder that is set and not there, as of a disk that is not mounted; else None.

    One without any entry is none either: it is where the disk would be.
    """
    folder = own_configs()
    if CONFIGS not in os.environ or (folder.is_dir() and any(folder.iterdir())):
        return None
    fix = f"mount or make the folder, or correct {CONFIGS}; until then nothing counts as taken out"
    state = "which is not there"
    if folder.is_dir():
        state, fix = "which is empty", f"{fix}. In a new one, `landcover init NAME FOLDER` writes the first"
    return Problem(CONFIGS, f"{folder}, {state}", "the folder of your configurations", fix)


def configs_to_write() -> Path:
    """Folder of a person's own configurations, to write into: it may be made, in a folder that is there.

    Raises:
        ConfigError: the folder that it would be made in is not there either, as of a disk that is not mounted.
    """
    folder, problem = own_configs(), missing_configs()
    if problem is not None and not folder.parent.is_dir():
        raise ConfigError(problem)
    return folder


def shipped_configs() -> Path:
    """Folder of the configurations that come with the project: those of the clone, or of the wheel."""
    library = Path(__file__).resolve().parents[1]
    in_clone = library.parent / "configs"
    return in_clone if in_clone.is_dir() else library / "configs"


def schema_line(kind: str) -> str:
    """First line of a configuration file to write, by which editors know its keys: names the JSON schema of its kind.

    Relative where one's own configurations have the schemas among them, as those of a clone; else absolute.

    Args:
        kind: 'dataset', 'legend', 'experiment', 'search' or 'launcher'.
    """
    name = f"schemas/{kind}.json"
    path = f"../{name}" if (own_configs() / name).is_file() else str(shipped_configs() / name)
    return f"# yaml-language-server: $schema={path}\n"


def config_folders() -> tuple[Path, ...]:
    """Folders that configurations are searched in: a person's own, then those that come with the project."""
    return tuple(dict.fromkeys((own_configs(), shipped_configs())))


def file_label(kind: str, name: str) -> str:
    """Path of a configuration file as messages call it: below the working folder relative to it, else absolute.

    Args:
        kind: 'datasets' (studies among them), 'legends', 'experiments'...
        name: of the configuration; a combination or repetition of an experiment is in the experiment's file.
    """
    base = name.partition(".")[0]
    names = dict.fromkeys((name, base, base.partition("__")[0])) if kind == "experiments" else (name,)
    kinds = (kind, STUDIES) if kind == "datasets" else (kind,)
    paths = [folder / k / f"{n}.yaml" for n in names for k in kinds for folder in config_folders()]
    path = next((path for path in paths if path.is_file()), paths[0])
    working = Path.cwd()
    return str(path.relative_to(working) if path.is_relative_to(working) else path)


def expand(text: str, where: str) -> str:
    """Expands the environment variables ${VARIABLE} and ${VARIABLE:-default}; LANDCOVER_HOME is always known."""
    missing = [
        m[1] for m in _VARIABLE.finditer(text) if m[2] is None and m[1] not in os.environ and m[1] != "LANDCOVER_HOME"
    ]
    if missing:
        raise ConfigError(
            *(
                Problem(
                    where,
                    f"${{{name}}}, which is not set",
                    "an environment variable",
                    f"export {name}=/path/of/the/data",
                )
                for name in missing
            )
        )
    known = {"LANDCOVER_HOME": str(home()), **os.environ}
    return _VARIABLE.sub(lambda m: known.get(m[1], m[2] or ""), text)


def inside(root: Path, relative: str, where: str) -> Path:
    """Resolved path `root/relative`, protected from path traversal.

    Raises:
        ConfigError: the path leaves `root` (by '..', an absolute path, or a link).
    """
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ConfigError(
            Problem(
                where,
                f"path {relative!r} leaves {root}",
                "a path inside that folder",
                "move the file there, or widen the folder",
            )
        )
    return path
