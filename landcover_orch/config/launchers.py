"""What starts the processes of a training: itself, torchrun on this machine, a cluster's queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, StringConstraints

from landcover_orch.config.experiments import KEY
from landcover_orch.config.experiments.settings import Settings

PYTHON = "{python}"
"""Stands for the interpreter that the lineage runs on."""

Argument = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class Launcher(Settings):
    """One file of configs/launchers. How many processes train is the launcher's word, not the recipe's."""

    name: str = Field(pattern=KEY, description="the file's name without .yaml; a recipe's `launcher`")
    description: str = Field(default="", description="one sentence for people")
    prefix: tuple[Argument, ...] = Field(
        min_length=1,
        description="what stands before `-m landcover_orch.training ...`, an argument an entry (no shell reads them); "
        f"{PYTHON} is the interpreter that the lineage runs on",
    )
    environment: dict[Variable, str] = Field(default={}, description="variables that are set for it, and where they go")

    def command(self, python: str, module: Sequence[str]) -> list[str]:
        """The arguments that start a module (its name, then its own arguments) with this interpreter."""
        return [*(part.replace(PYTHON, python) for part in self.prefix), "-m", *module]


LOCAL = Launcher(name="local", description="One process on this machine.", prefix=(PYTHON,))
"""What launches where a recipe names nothing else; no file describes it."""
