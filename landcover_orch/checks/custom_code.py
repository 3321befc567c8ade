"""Validation of custom code: each network, loss and sampler is built and tried once, in a process of its own.

`python -m landcover_orch.checks.custom_code REQUEST PROBLEMS` is that process: it reads what is to be tried from a JSON
file, and writes the problems into another.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from landcover_orch import config, custom
from landcover_orch.config.experiments import Experiment
from landcover_orch.config.experiments.losses import CustomLoss
from landcover_orch.config.experiments.models import CustomNetwork
from landcover_orch.config.experiments.sampling import CustomSampling
from landcover_orch.errors import CodeError, Problem
from landcover_orch.legend import IGNORE
from landcover_orch.store.canonical import canonical

if TYPE_CHECKING:
    from torch import Tensor

MODULE = "landcover_orch.checks.custom_code"
PATIENCE_S = 300
"""Seconds after which code that is tried counts as stuck."""

IMAGES, PATCHES, SIDE = 2, 16, 8
"""Images that a network is tried on, patches of a sampler, and side in pixels of what a loss is tried on."""


CustomPart = CustomNetwork | CustomLoss | CustomSampling


def parts(experiment: Experiment) -> list[CustomPart]:
    """Custom code of an experiment: its network, losses and sampler."""
    everything = (experiment.model, *experiment.loss, experiment.sampling)
    return [part for part in everything if isinstance(part, CustomPart)]


def custom_code_problems(experiments: Sequence[Experiment], bands: int, classes: int, side: int) -> list[Problem]:
    """Problems of the custom code of some experiments, built and tried in a process of its own; its import stays there.

    Args:
        experiments: all that are trained.
        bands: of the images.
        classes: of the legend.
        side: of the patches in pixels.
    """
    named = {part.build: part for experiment in experiments for part in parts(experiment)}
    problems: dict[Problem, None] = {}
    for part in named.values():
        try:
            custom.packages(part.model_dump(mode="json"))
        except CodeError as error:
            problems |= dict.fromkeys(error.problems)
    if problems or not named:
        return [*problems]
    plain = [experiment.model_dump(mode="json") for experiment in experiments if parts(experiment)]
    request = {"experiments": plain, "bands": bands, "classes": classes, "side": side}
    return tried(request, ", ".join(named))


def tried(request: dict[str, Any], names: str) -> list[Problem]:
    """Problems that the process of its own says, or how it ended without a word."""
    expected, fix = "code that runs", "correct it: import it by hand in a Python of this environment"
    with tempfile.TemporaryDirectory(prefix="landcover-code-") as folder:
        given, result = (Path(folder) / name for name in ("request.json", "problems.json"))
        given.write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, "-m", MODULE, str(given), str(result)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)  # noqa: S603 - this interpreter, no shell
        except subprocess.TimeoutExpired:
            return [Problem(f"`build: {names}`", f"not done after {PATIENCE_S} s", expected, fix)]
        if not result.is_file():
            text = f"ended its process with {done.returncode} {' '.join(done.stderr.split())[-300:]}".strip()
            return [Problem(f"`build: {names}`", text, expected, fix)]
        return [Problem(**problem) for problem in json.loads(result.read_text(encoding="utf-8"))]


def problems_of(request: dict[str, Any]) -> Iterator[Problem]:
    """Problems of the custom code of a request, built and tried in this process, each part once."""
    experiments = [Experiment.model_validate(plain) for plain in request["experiments"]]
    different = {(type(part), canonical(part)): part for experiment in experiments for part in parts(experiment)}
    for part in different.values():
        try:
            with custom.errors_named(part, custom.read(part, config.code_folder())):
                try_part(part, request["bands"], request["classes"], request["side"])
        except CodeError as error:
            yield from error.problems


def try_part(part: CustomPart, bands: int, classes: int, side: int) -> None:
    """Builds custom code and tries it once: a network on patches, a loss on noise, a sampler on counts of pixels.

    Raises:
        CodeError: it cannot be built, or gives something else than it must.
    """
    import torch

    from landcover_orch.models import networks
    from landcover_orch.training import losses, sampling

    random = torch.Generator().manual_seed(0)
    match part:
        case CustomNetwork():
            network = networks.build(part, bands, classes)
            network(torch.randn(IMAGES, bands, side, side, generator=random))
        case CustomLoss():
            logits = torch.randn(IMAGES, classes, SIDE, SIDE, generator=random).requires_grad_()
            label = torch.randint(classes, (IMAGES, SIDE, SIDE), generator=random, dtype=torch.uint8)
            label[:, 0] = IGNORE
            require_gradient(part, losses.Objective([part])(logits, label), logits)
        case CustomSampling():
            count = torch.randint(99, (PATCHES, classes), generator=random).numpy()
            sampling.custom_draws(part, config.code_folder(), count, PATCHES, 0, 0)
        case _:
            assert_never(part)


def require_gradient(part: CustomLoss, value: Tensor, logits: Tensor) -> None:
    """Raises CodeError where a loss, or its gradient, is no number."""
    if value.requires_grad:
        value.backward()  # type: ignore[no-untyped-call]
    gradient = logits.grad
    if not bool(value.isfinite()) or gradient is None or not bool(gradient.isfinite().all()):
        text = f"a loss of {value.item():.3g}" + (" without a gradient" if gradient is None else "")
        fix = "reckon it from the logits by torch, over the pixels whose label is not 255"
        raise CodeError(Problem(f"`build: {part.build}`", text, "a number with a finite gradient", fix))


if __name__ == "__main__":
    everything = problems_of(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    Path(sys.argv[2]).write_text(json.dumps([vars(problem) for problem in everything]), encoding="utf-8")
