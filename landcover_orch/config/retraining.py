"""Scheduled retraining and model promotion: when models are trained anew, and how a challenger becomes champion."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from landcover_orch.errors import pluralise
from landcover_orch.settings import Settings

CRON_FIELDS = ("minute (0-59)", "hour (0-23)", "day of month (1-31)", "month (1-12)", "day of week (0-7)")
EXTENDED = re.compile(r"^\S*W| .*L| .*#.*,| .*,.*#")
"""What some cron programs take, and Dagster does not: a working day of the month, the last weekday, a list with a #."""


class Cron(Settings):
    """Cron schedule: a training is due at these times."""

    cron: str = Field(description="minute, hour, day of month, month, day of week: '0 3 * * 0' is Sundays at three")
    timezone: str = Field(default="UTC", description="IANA name of the time zone, as Europe/Madrid")

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str) -> str:
        from cronsim import CronSim, CronSimError  # here, since a registered model loads without it

        fields, why = value.split(), "five fields are expected"
        if len(fields) == len(CRON_FIELDS):
            try:
                CronSim(value, datetime(2026, 1, 1))
                days = f"{fields[2]} {fields[4]}".upper()
                why = "Dagster takes no W, no last day of a week, no list with a #" if EXTENDED.search(days) else ""
            except CronSimError as error:
                why = str(error)
        if why:
            raise ValueError(f"{value!r} is no cron time ({why}): {', '.join(CRON_FIELDS)}, as '0 3 * * 0'")
        return value

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"{value!r} is no time zone of the IANA database, as 'UTC' or 'Europe/Madrid'")
        return value

    def __str__(self) -> str:
        return f"{self.cron} ({self.timezone})"


class AtLeast(Settings):
    """Least new training data: labelled pixels that are new or changed since the last training."""

    pixels: int | None = Field(default=None, ge=1, description="so many pixels")
    fraction: float | None = Field(default=None, gt=0, description="so large a fraction of those then trained on")

    @model_validator(mode="after")
    def _one_of_them(self) -> AtLeast:
        if (self.pixels is None) == (self.fraction is None):
            raise ValueError("give `pixels` or `fraction`, one of them")
        return self

    def reached(self, new: int, before: int) -> bool:
        """Whether so many new pixels suffice, where models were trained on `before`."""
        if self.pixels is not None:
            return new >= self.pixels
        return before == 0 or new / before >= (self.fraction or 0)

    def __str__(self) -> str:
        return (
            pluralise(self.pixels, "pixel")
            if self.pixels is not None
            else f"{100 * (self.fraction or 0):g}% of those trained on"
        )


class Retraining(Settings):
    """Scheduled retraining: what runs by itself, and when models are trained anew.

    With this block the dataset's sensor is on: new and changed tiles are prepared and mapped as they come.
    """

    when: Annotated[
        Annotated[Cron, Tag("Cron")] | Annotated[Literal["new_data", "drift", "never"], Tag("word")],
        Discriminator(lambda value: "Cron" if isinstance(value, dict | Cron) else "word"),
    ] = Field(
        description="{cron: ..., timezone: ...}: at these times, where the data differ from those last trained on; "
        "new_data: as soon as they do; drift: as soon as they do and a tile lies far off what the champion was trained "
        "on; never: models are trained by hand alone"
    )
    experiments: tuple[str, ...] = Field(default=(), description="those that are trained anew; empty: all")
    at_least: AtLeast | None = Field(
        default=None, description="of new_data: the least that must be new; {pixels: n} or {fraction: f}"
    )
    drift: float = Field(
        default=1.0, gt=0, description="of drift: standard deviations of the train pixels that a band lies off them"
    )

    @model_validator(mode="after")
    def _fits(self) -> Retraining:
        if self.at_least is not None and self.when != "new_data":
            raise ValueError("`at_least` is for `when: new_data`")
        return self


class Promotion(Settings):
    """Model promotion: how a challenger becomes the champion."""

    by: Literal["automatic", "hand"] = Field(
        default="automatic",
        description="automatic: a challenger whose gain exceeds the margin replaces the champion; hand: it waits for "
        "`landcover promote`, or for the alias `champion` to be moved in MLflow",
    )
    margin: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="gain in mean IoU on the same test pixels that a challenger must exceed; empty: the 95 % interval "
        "of the gain, paired by tile or block, lies above zero",
    )
