"""Sampling of training patches: a word, or a sampler of a person's own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Tag

from landcover_orch.config.experiments.custom import Custom


class CustomSampling(Custom):
    """A sampler of your own: `build(**arguments)` gives what draws the patches of each epoch."""


Sampling = Annotated[
    Annotated[Literal["uniform", "by_class"], Tag("word")] | Annotated[CustomSampling, Tag("CustomSampling")],
    Discriminator(lambda value: "CustomSampling" if isinstance(value, dict | CustomSampling) else "word"),
]
