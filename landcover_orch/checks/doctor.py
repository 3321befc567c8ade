"""Machine check: what this machine has, in a screenful, with the fix for what is wrong."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from landcover_orch import config, notifications
from landcover_orch.compute import workers
from landcover_orch.config.instance_settings import FILE, missing_blocks
from landcover_orch.errors import ConfigError, LandcoverError, Problem, pluralise
from landcover_orch.store import databases
from landcover_orch.store.costs import format_size
from landcover_orch.store.fingerprint import MEMORY
from landcover_orch.tracking import file_locations_problem

GIB = 2**30
FREE_DISK_GIB, FREE_MEMORY_GIB = 5, 4
CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
SERVED = ".ui.lock"
"""File below LANDCOVER_HOME that holds the address of a running `landcover ui`."""

PORTS = {"LANDCOVER_DAGSTER_PORT": 3000, "LANDCOVER_MLFLOW_PORT": 5000}


@dataclass(frozen=True)
class Finding:
    """One line: what was checked, what it is, and the fix where it is wrong."""

    what: str
    found: str
    fix: str | None = None


def findings() -> Iterator[Finding]:
    """Everything that the machine check checks."""
    from landcover_orch import raster

    supported = sys.version_info[:2] in ((3, 11), (3, 12))
    python = f"{platform.python_version()} at {sys.executable}"
    yield Finding("Python", python, None if supported else "use Python 3.11 or 3.12")
    yield from check_torch()
    gdal, proj = raster.versions()
    yield Finding("GDAL", f"{gdal}, PROJ {proj}")
    yield check_versions()
    yield check_configurations()
    yield check_disk()
    memory = psutil.virtual_memory()
    fix = "end other programs, or lower batch_size" if memory.available < FREE_MEMORY_GIB * GIB else None
    yield Finding("Memory", f"{memory.available / GIB:.0f} of {memory.total / GIB:.0f} GiB available", fix)
    yield from map(check_port, PORTS)
    yield check_artifacts()
    yield from check_databases()
    yield check_instance_settings()
    yield check_notifications()
    yield from check_datasets()


def check_torch() -> Iterator[Finding]:
    """PyTorch's version, and whether it sees a GPU."""
    import torch

    yield Finding(
        "torch", f"{torch.__version__}, {pluralise(torch.get_num_threads(), 'thread')}, {pluralise(workers(), 'CPU')}"
    )
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield Finding("GPU", f"{names}: used by training and prediction (device: auto)")
    elif Path("/proc/driver/nvidia").exists():
        yield Finding("GPU", "a driver, but torch does not see it", "install the CUDA build of the pinned torch")
    else:
        yield Finding("GPU", "none: training and prediction use the CPU")


def check_versions() -> Finding:
    """Installed packages against constraints.txt."""
    if not CONSTRAINTS.exists():
        return Finding("Versions", "no constraints.txt beside the library (installed as a wheel)")
    pinned = dict(line.split("==") for line in CONSTRAINTS.read_text().split() if "==" in line)
    other = []
    for name, version in pinned.items():
        with suppress(importlib.metadata.PackageNotFoundError):
            installed = importlib.metadata.version(name)
            if installed.split("+")[0] != version.split("+")[0]:
                other.append(f"{name} {installed} for {version}")
    if not other:
        return Finding("Versions", f"{pluralise(len(pinned), 'package')} as in constraints.txt")
    return Finding("Versions", "; ".join(other[:5]), "rm -rf .venv && make install")


def check_configurations() -> Finding:
    """Whether the configuration folder is there and holds datasets."""
    if (problem := config.missing_configs()) is not None:
        return Finding("Configurations", f"{problem.where}: {problem.found}", problem.fix)
    count, folders = len(config.dataset_names()), " and ".join(map(str, config.config_folders()))
    fix = None if count else "set LANDCOVER_CONFIGS to the folder that holds `datasets`, or write a dataset there"
    return Finding("Configurations", f"{pluralise(count, 'dataset')} in {folders}", fix)


def check_artifacts() -> Finding:
    """Whether clients of MLflow's server can load its models: no location of the home's database names a folder."""
    problem = file_locations_problem(config.home())
    if problem is None:
        return Finding("MLflow artifacts", "served to clients")
    return Finding("MLflow artifacts", problem.found, problem.fix)


RESTORE = "restore a backup into a new home: LANDCOVER_HOME=/new/home landcover restore FILE"
"""Fix of a damaged database, but for the memory of fingerprints."""


def check_databases() -> Iterator[Finding]:
    """Whether Dagster's and MLflow's databases are sound, not locked, and of the installed schema; their size.

    The databases of single runs of Dagster are counted, and not read.
    """
    for database in databases.databases(config.home(), config.dagster_home()):
        if database.path.parent.name == "runs" and database.path.name != "index.db":
            continue
        what, size = f"Database {database.name}", format_size(database.path.stat().st_size)
        if problem := databases.fault(database.path):
            replaced = "delete it: it is made anew" if database.path.name == MEMORY else RESTORE
            fix = "end what holds it" if "locked" in problem else replaced
            yield Finding(what, f"{size}, {problem}", fix)
        elif database.is_outdated:
            found = f"{size}, schema {database.revision} of an earlier {database.owner}"
            yield Finding(what, found, "end what trains and serves, and run `landcover migrate`")
        elif database.owner and database.revision not in databases.revisions(database.owner):
            found = f"{size}, schema {database.revision}, which the installed {database.owner} does not know"
            yield Finding(what, found, f"install the version of {database.owner} that wrote it")
        else:
            yield Finding(what, f"{size}, sound" + (", schema as installed" if database.owner else ""))


def check_instance_settings() -> Finding:
    """Whether Dagster's settings have the blocks of the shipped file; without them it works, more slowly."""
    folder = config.dagster_home()
    try:
        missing = missing_blocks(folder)
    except ConfigError as error:
        return Finding("Dagster settings", error.problems[0].found, error.problems[0].fix)
    lacking = f", without {' and '.join(f'`{block}:`' for block in missing)}: `landcover migrate` adds it"
    return Finding("Dagster settings", f"{folder / FILE}{lacking if missing else ''}")


def check_notifications() -> Finding:
    """To how many addresses people are told of what needs a hand; none by default."""
    try:
        addresses = notifications.parse_addresses(os.environ.get(notifications.SETTING, ""))
    except ConfigError as error:
        return Finding("Notifications", error.problems[0].found, error.problems[0].fix)
    return Finding(
        "Notifications", pluralise(len(addresses), "address") if addresses else f"off ({notifications.SETTING})"
    )


def check_disk() -> Finding:
    """Free disk space for LANDCOVER_HOME."""
    home = config.home()
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free / GIB
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        found = f"{existing} is no folder that can be written" + (f", for {home}" if existing != home else "")
        return Finding("Home", found, "point LANDCOVER_HOME at one, or correct its rights")
    fix = "free some, or point LANDCOVER_HOME at a larger disk" if free < FREE_DISK_GIB else None
    return Finding("Disk", f"{free:.0f} GiB free for {home}", fix)


def is_taken(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def port_of(variable: str) -> int:
    """The port that an environment variable sets for a server, or its default.

    Raises:
        ConfigError: it is no port.
    """
    text = os.environ.get(variable, str(PORTS[variable]))
    port = int(text) if text.isdecimal() else 0
    if not 0 < port < 2**16:
        fix = f"export {variable}={PORTS[variable]}"
        raise ConfigError(Problem(variable, repr(text), "a port from 1 to 65535", fix))
    return port


def check_port(variable: str) -> Finding:
    """Whether the port of a server is one, and free."""
    name = {"MLFLOW": "MLflow"}.get(variable.split("_")[1], variable.split("_")[1].capitalize())
    try:
        port = port_of(variable)
    except ConfigError as error:
        (problem,) = error.problems
        text = f"{problem.where}: {problem.found}; expected {problem.expected}"
        return Finding(f"{name} port", text, problem.fix)
    taken = is_taken(port)
    served = config.home() / SERVED
    if taken and served.is_file() and served.read_text(encoding="utf-8").strip():
        return Finding(f"{name} port", f"{port} is taken: `landcover ui` serves {config.home()}")
    if taken:
        return Finding(
            f"{name} port", f"{port} is taken", f"end what holds it (a running `make ui`?), or set {variable}"
        )
    return Finding(f"{name} port", f"{port} is free")


def check_datasets() -> Iterator[Finding]:
    """Whether each dataset can be loaded and its files are there; where its `root` is not set, that is a note."""
    for name in config.dataset_names():
        try:
            dataset = config.load_served(name)
        except LandcoverError as error:
            problem, *others = error.problems
            more = f", and {pluralise(len(others), 'further problem')}" if others else ""
            text = f"{problem.where}: {problem.found}; expected {problem.expected}{more}"
            fix = f"{problem.fix}; `landcover check {name}` names all" if others else problem.fix
            yield Finding(f"Dataset {name}", text, fix)
            continue
        try:
            folder = dataset.folder
        except ConfigError as error:
            problem = error.problems[0]
            yield Finding(f"Dataset {name}", f"{problem.found}; to use it: {problem.fix}")
        else:
            yield Finding(f"Dataset {name}", str(folder) if folder.is_dir() else f"{folder} is not there yet")


def main(further: Iterable[Finding] = ()) -> int:
    """Prints the findings, and further ones; 1 where something needs a fix."""
    results = [*findings(), *further]
    for finding in results:
        print(f"{'!' if finding.fix else ' '} {finding.what:<24} {finding.found}")
        if finding.fix:
            print(f"  {'':<24} Fix: {finding.fix}")
    to_fix = sum(finding.fix is not None for finding in results)
    print(f"{to_fix} to fix." if to_fix else "All well.")
    return int(to_fix > 0)
