"""Units of systemd: `landcover ui` as a service that starts after a reboot, a weekly backup and clean by a timer."""

from __future__ import annotations

import getpass
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from landcover_orch import config
from landcover_orch.checks.doctor import PORTS, port_of
from landcover_orch.config import CODE
from landcover_orch.config.serving import DATASETS
from landcover_orch.custom import SWITCH
from landcover_orch.errors import ConfigError, LandcoverError, Problem

SERVICE, WEEKLY, TIMER = "landcover.service", "landcover-weekly.service", "landcover-weekly.timer"
SETTINGS = (
    DATASETS,
    "LANDCOVER_URL",
    "LANDCOVER_LAUNCHER",
    CODE,
    SWITCH,
    *PORTS,
    "LANDCOVER_DAGSTER_UI",
    "LANDCOVER_MLFLOW_UI",
    "LANDCOVER_DATA",
    "DAGSTER_HOME",
    "MLFLOW_TRACKING_URI",
    "PYTHONPATH",
)
"""Environment variables that a service takes over where they are set, beside those of datasets' roots."""

SECRETS = "landcover.env"
"""File of the home for variables that nobody else may read, such as LANDCOVER_NOTIFY with its password."""

FORMER_PRODUCTS, HISTORY_DAYS, BACKUPS_KEPT = 2, 365, 8

HARDENING = ("NoNewPrivileges=yes", "RestrictSUIDSGID=yes", "LockPersonality=yes")
SYSTEM_HARDENING = ("ProtectSystem=full", "ProtectKernelTunables=yes", "ProtectControlGroups=yes")
"""What a service of a user may not ask for."""


def units(backups: Path, *, system: bool = False) -> dict[str, str]:
    """Unit files by name: the servers, and the weekly backup and clean with its timer.

    The servers stay on loopback. What they print goes to journald, which rotates it. The clean runs where the backup
    went well.

    Args:
        backups: folder of the weekly backups.
        system: units of the system, run as the present user; else of the user.

    Raises:
        ConfigError: a port is none, or a folder's name has a line break.
    """
    for variable in PORTS:
        port_of(variable)
    target = "multi-user.target" if system else "default.target"
    clean = f"clean --every --keep {FORMER_PRODUCTS} --history {HISTORY_DAYS} --yes"
    return {
        SERVICE: unit(
            [
                "Description=Land-cover maps: Dagster and MLflow on loopback",
                *mounts(config.home(), config.own_configs()),
            ],
            [
                "Type=exec",
                f"ExecStart={program('ui')}",
                *("Restart=on-failure", "RestartSec=10", "KillMode=mixed", "TimeoutStopSec=60"),
                *surroundings(system),
            ],
            [f"WantedBy={target}"],
        ),
        WEEKLY: unit(
            ["Description=Land-cover maps: backup, then clean", *mounts(config.home(), backups)],
            [
                "Type=oneshot",
                f"ExecStart={program(f'backup --keep {BACKUPS_KEPT}')} {argument(backups)}",
                f"ExecStart={program(clean)}",
                *surroundings(system),
            ],
        ),
        TIMER: unit(
            ["Description=Land-cover maps: every week"],
            ["OnCalendar=Sun 03:00", "RandomizedDelaySec=30min", "Persistent=true"],
            ["WantedBy=timers.target"],
            kind="Timer",
        ),
    }


def unit(about: list[str], body: list[str], install: list[str] | None = None, kind: str = "Service") -> str:
    """Text of a unit file."""
    sections = {"Unit": about, kind: body, "Install": install or []}
    parts = ["\n".join([f"[{name}]", *lines]) for name, lines in sections.items() if lines]
    return "\n\n".join(parts) + "\n"


def surroundings(system: bool) -> list[str]:
    """Working folder, environment, user and hardening of a service."""
    return [
        *([f"User={getpass.getuser()}"] if system else []),
        f"WorkingDirectory={escaped(working_folder())}",
        *(f"Environment={quoted(f'{name}={value}')}" for name, value in environment(os.environ).items()),
        f"EnvironmentFile=-{escaped(config.home() / SECRETS)}",
        *HARDENING,
        *(SYSTEM_HARDENING if system else ()),
    ]


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment of the services: the folders as absolute paths, and what is set of the other settings."""
    names = [*SETTINGS, *sorted(root_variables() - {"LANDCOVER_HOME", *SETTINGS})]
    configs = config.own_configs()
    present = variables.get("LANDCOVER_CONFIGS") or configs.is_dir()  # else one that is not there would be a problem
    return {
        "LANDCOVER_HOME": str(config.home()),
        **({"LANDCOVER_CONFIGS": str(configs)} if present else {}),
        "PYTHONUNBUFFERED": "1",
        **{name: variables[name] for name in names if variables.get(name)},
    }


def root_variables() -> set[str]:
    """Environment variables that the roots of datasets name."""
    names: set[str] = set()
    for name in config.dataset_names():
        try:
            root = config.load_dataset(name).root
        except LandcoverError:
            continue
        names |= set(re.findall(r"\$\{(\w+)", root))
    return names


def program(arguments: str) -> str:
    """Command line of this program, by the interpreter of this environment."""
    return f"{quoted(sys.executable)} -m assets.cli {arguments}"


def working_folder() -> Path:
    """The clone of the project; the home where it is installed as a wheel."""
    clone = Path(__file__).resolve().parents[1]
    return clone if (clone / "pyproject.toml").is_file() else config.home()


def mounts(*folders: Path) -> list[str]:
    """Waits for the disks of folders."""
    return [f"RequiresMountsFor={' '.join(quoted(folder) for folder in folders)}"]


def escaped(value: object) -> str:
    """A value of a unit file: `%` is no specifier.

    Raises:
        ConfigError: it has a line break.
    """
    if "\n" in str(value):
        raise ConfigError(Problem("systemd unit", repr(value)[:80], "a value of one line", "rename the folder"))
    return str(value).replace("%", "%%")


def quoted(value: object) -> str:
    """A word of a unit file in double quotes."""
    text = escaped(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def argument(value: object) -> str:
    """A word of a command in double quotes: `$` is no variable."""
    return quoted(value).replace("$", "$$")


def lines(folder: Path | None, backups: Path, *, system: bool = False) -> list[str]:
    """The units with their names as text; or writes them into a folder and says how they are started."""
    texts = units(backups, system=system)
    user = "" if system else " --user"
    start = f"systemctl{user} daemon-reload && systemctl{user} enable --now {SERVICE} {TIMER}"
    if folder is None:
        return [f"# {name}\n{text}" for name, text in texts.items()] + [f"# then: {start}"]
    folder.mkdir(parents=True, exist_ok=True)
    backups.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        partial = folder / f".{name}.new"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / name)
    linger = [] if system else [f"Start after a reboot without a log-in: loginctl enable-linger {getpass.getuser()}"]
    return [
        *(f"wrote {folder / name}" for name in texts),
        f"Start: {start}",
        *linger,
        f"Lines: journalctl{user} -u {SERVICE}",
    ]
