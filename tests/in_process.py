"""Trainings in the process of a test: what they publish is the same, without a start of torch for each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import dagster as dg

from assets import launcher
from landcover_orch import config
from landcover_orch.errors import LandcoverError
from landcover_orch.store.publish import Product


@contextlib.contextmanager
def training_in_process() -> Iterator[None]:
    """Trainings run here and not in a process of their own each, which would load torch anew.

    As of a process, an error of the library ends one as a failed run, whose recorded failure says why.
    """

    def run(_context: dg.AssetExecutionContext, _pipes: object, _launcher: object, module: Sequence[str]) -> Any:
        try:
            product = train(module)
        except LandcoverError as error:
            raise launcher.FAILED("the training ended with 1") from error
        result = dg.MaterializeResult(metadata={}, data_version=dg.DataVersion(product.fingerprint))
        return SimpleNamespace(get_results=lambda: [result])

    with mock.patch("assets.launcher.run", run):
        yield


def train(module: Sequence[str]) -> Product:
    """Trains what a command line asks for, without a word."""
    from landcover_orch.training import __main__ as command

    class Silent(command.Console):
        """Null reporter."""

        def line(self, text: str) -> None:
            """Nothing."""

        def done(self, product: Any, versions: Any) -> None:
            """Nothing."""

    return command.train(module[2], module[4], config.home(), Silent())
