"""Launchers: what starts the processes of a training, itself, torchrun on this machine, a cluster's queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, StringConstraints

from landcover_orch.config.experiments import KEY
from landcover_orch.settings import Settings

PYTHON = "{python}"
"""Stands for the interpreter that the lineage runs on."""

Argument = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Launcher(Settings):
    """Launcher: one file of configs/launchers. The launcher sets how many processes train, not the experiment."""

    name: str = Field(pattern=KEY, description="the file's name without .yaml; an experiment's `launcher`")
    description: str = Field(default="", description="one sentence for people")
    prefix: tuple[Argument, ...] = Field(
        min_length=1,
        description="what stands before `-m landcover_orch.training ...`, an argument an entry (no shell reads them); "
        f"{PYTHON} is the interpreter that the lineage runs on",
    )
    environment: dict[Variable, str] = Field(default={}, description="variables that are set for it, and where they go")

    def command(self, python: str, module: Sequence[str]) -> list[str]:
        """Command line that starts a module (its name, then its own arguments) with this interpreter."""
        return [*(part.replace(PYTHON, python) for part in self.prefix), "-m", *module]


LOCAL = Launcher(name="local", description="One process on this machine.", prefix=(PYTHON,))
"""Default launcher of an experiment that names none; no file describes it."""
