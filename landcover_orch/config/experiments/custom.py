"""Custom code in settings: a network, a loss or a sampler of a person's own, by the name of what builds it."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, field_validator

from landcover_orch.settings import Settings

BUILD = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
"""A module and a name in it: my_package.models:unetplus."""


class Custom(Settings):
    """Code of your own below `LANDCOVER_CODE`. Nothing imports it but what trains, predicts, serves or checks."""

    name: Literal["custom"] = "custom"
    build: str = Field(pattern=BUILD, description="class or function that builds it, as my_package.models:unetplus")
    arguments: dict[str, Any] = Field(default_factory=dict, description="keyword arguments that it is called with")

    @field_validator("arguments")
    @classmethod
    def _are_json(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(value, allow_nan=False)  # as a model's contract stores them
        except ValueError as error:
            raise ValueError("arguments hold .inf or .nan, which JSON has not") from error
        return value

    @property
    def package(self) -> str:
        """The package, or the single module, that the code lies in."""
        return self.module.partition(".")[0]

    @property
    def module(self) -> str:
        """The module that holds what builds it."""
        return self.build.partition(":")[0]

    @property
    def attribute(self) -> str:
        """Name in that module of what builds it."""
        return self.build.partition(":")[2]
