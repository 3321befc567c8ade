"""Machine check: what this machine has, in a screenful, with the fix for what is wrong."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from landcover_orch import config
from landcover_orch.compute import workers
from landcover_orch.errors import ConfigError

GIB = 2**30
FREE_DISK_GIB, FREE_MEMORY_GIB = 5, 4
CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
PORTS = {"LANDCOVER_DAGSTER_PORT": 3000, "LANDCOVER_MLFLOW_PORT": 5000}


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and the fix where it is wrong."""

    what: str
    found: str
    fix: str | None = None


def findings() -> Iterator[Finding]:
    """Everything the doctor looks at."""
    yield _python()
    yield from _torch()
    yield _gdal()
    yield _versions()
    yield _disk()
    yield _memory()
    yield from (_port(variable, default) for variable, default in PORTS.items())
    yield from _datasets()


def _python() -> Finding:
    version = f"{platform.python_version()} at {sys.executable}"
    return Finding("Python", version, None if sys.version_info[:2] in ((3, 11), (3, 12)) else "use Python 3.11 or 3.12")


def _torch() -> Iterator[Finding]:
    import torch

    yield Finding("torch", f"{torch.__version__}, {torch.get_num_threads()} threads, {workers()} CPUs")
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield Finding("GPU", f"{names}: used by training and prediction (device: auto)")
    elif Path("/proc/driver/nvidia").exists():
        yield Finding("GPU", "a driver, but torch does not see it", "install the CUDA build of the pinned torch")
    else:
        yield Finding("GPU", "none: training and prediction use the CPU")


def _gdal() -> Finding:
    from landcover_orch import raster

    gdal, proj = raster.versions()
    return Finding("GDAL", f"{gdal}, PROJ {proj}")


def _versions() -> Finding:
    if not CONSTRAINTS.exists():
        return Finding("Versions", "no constraints.txt beside the library (installed as a wheel)")
    pinned = dict(line.split("==") for line in CONSTRAINTS.read_text().split() if "==" in line)
    other = [
        f"{name} {installed} for {version}"
        for name, version in pinned.items()
        if (installed := _installed(name)) is not None and installed.split("+")[0] != version.split("+")[0]
    ]
    if not other:
        return Finding("Versions", f"{len(pinned)} packages as in constraints.txt")
    return Finding("Versions", "; ".join(other[:5]), "rm -rf .venv && make install")


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _disk() -> Finding:
    home = config.home()
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(there).free / GIB
    fix = "free some, or point LANDCOVER_HOME at a larger disk" if free < FREE_DISK_GIB else None
    return Finding("Disk", f"{free:.0f} GiB free for {home}", fix)


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    fix = "end other programs, or lower batch_size" if memory.available < FREE_MEMORY_GIB * GIB else None
    return Finding("Memory", f"{memory.available / GIB:.0f} of {memory.total / GIB:.0f} GiB available", fix)


def _port(variable: str, default: int) -> Finding:
    port = int(os.environ.get(variable, default))
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", port)) == 0
    name = variable.split("_")[1].capitalize()
    if taken:
        return Finding(
            f"{name} port", f"{port} is taken", f"end what holds it (a running `make ui`?), or set {variable}"
        )
    return Finding(f"{name} port", f"{port} is free")


def _datasets() -> Iterator[Finding]:
    for name in config.dataset_names():
        try:
            folder = config.load_dataset(name).folder
        except ConfigError as error:
            problem = error.problems[0]
            yield Finding(f"Dataset {name}", f"{problem.found}; to use it: {problem.fix}")
        else:
            yield Finding(f"Dataset {name}", str(folder) if folder.is_dir() else f"{folder} is not there yet")


def main() -> int:
    """Prints the findings; 1 where something needs a fix."""
    found = list(findings())
    for finding in found:
        print(f"{'!' if finding.fix else ' '} {finding.what:<24} {finding.found}")
        if finding.fix:
            print(f"  {'':<24} Fix: {finding.fix}")
    to_fix = sum(finding.fix is not None for finding in found)
    print(f"{to_fix} to fix." if to_fix else "All well.")
    return int(to_fix > 0)
