"""`landcover check` tries custom code: what cannot be built, and what gives something else, each in a sentence."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from landcover_orch.checks import custom_code as checks
from landcover_orch.checks.experiments import experiment_problems
from landcover_orch.config import Dataset
from landcover_orch.config.experiments import Experiment
from tests import custom_code, tiny

GUIDE = Path(__file__).resolve().parents[2] / "docs/how-to/use-your-own-code.md"


def _experiment(**changed: Any) -> Experiment:
    return Experiment.model_validate({"name": "mine", **custom_code.PARTS, **changed})


def _problems(**changed: Any) -> list[str]:
    request = {"experiments": [_experiment(**changed).model_dump(mode="json")], "bands": 3, "classes": 2, "side": 16}
    return [str(problem) for problem in checks.problems_of(request)]


def test_what_trains_has_no_problems(code: Path) -> None:
    custom_code.write(code)
    assert _problems() == []


def test_the_guides_examples_have_no_problems(code: Path) -> None:
    network, loss, sampler = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    custom_code.write(code, networks=network, losses=loss, sampling=sampler)
    (example,) = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    parts = yaml.safe_load(example)
    assert {part["build"] for part in (parts["model"], parts["loss"][0], parts["sampling"])} == {
        "field_maps.networks:Plain",
        "field_maps.losses:SquaredError",
        "field_maps.sampling:Fullest",
    }
    assert _problems(**{**parts, "sampling": {**parts["sampling"], "arguments": {"label": 1}}}) == []


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"networks": "import absent_library\n"}, "No module named 'absent_library' (field_maps/networks.py, line 1)"),
        (
            {"networks": custom_code.NETWORK.replace("self.layers(x)", "self.layers(x[:, :2])")},
            "RuntimeError: Given groups=1, weight of size",
        ),
        ({"networks": custom_code.NETWORK.replace("classes, 1)", "9, 1)")}, "(2, 9, 16, 16) of images (2, 3, 16, 16)"),
        ({"networks": "import sys\n\nsys.exit(3)\n"}, "SystemExit: 3 (field_maps/networks.py, line 3)"),
        ({"losses": custom_code.LOSS.replace("counts].mean()", "counts]")}, "gives a tensor (112,)"),
        ({"losses": custom_code.LOSS.replace("(logits.sof", "(logits.detach().sof")}, "without a gradient"),
        ({"losses": custom_code.LOSS.replace("error[counts].mean()", "(error - 9).sqrt().mean()")}, "a loss of nan"),
        ({"losses": custom_code.LOSS.replace("label.where(counts, 0)", "label")}, "RuntimeError: "),
        ({"sampling": custom_code.SAMPLER.replace("draws)", "draws) - 1")}, "from -1 to 14; expected 16 indices"),
    ],
)
def test_what_does_not_run_is_a_problem(code: Path, files: dict[str, str], words: str) -> None:
    custom_code.write(code, **files)
    (problem,) = _problems()
    assert words in problem


def test_the_process_of_its_own_says_all_of_it_and_how_it_ends(code: Path) -> None:
    custom_code.write(code, losses="raise ValueError('no loss')\n", sampling="raise ValueError('no sampler')\n")
    problems = checks.custom_code_problems([_experiment(), _experiment(name="twin")], 3, 2, 16)
    assert [problem.found for problem in problems] == [
        "ValueError: no loss (field_maps/losses.py, line 1)",
        "ValueError: no sampler (field_maps/sampling.py, line 1)",
    ]
    custom_code.write(code, networks="import os\n\nos._exit(7)\n")
    (problem,) = checks.custom_code_problems([_experiment()], 3, 2, 16)
    assert problem.found == "ended its process with 7"
    assert custom_code.PACKAGE not in sys.modules


def test_without_custom_code_nothing_is_started(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "tried", lambda *_: pytest.fail("a process"))
    assert checks.custom_code_problems([_experiment(model="unet", loss="dice", sampling="by_class")], 3, 2, 16) == []
    assert checks.custom_code_problems([], 3, 2, 16) == []


@pytest.fixture
def dataset(configs: Path, home: Path, tmp_path: Path, code: Path) -> Dataset:
    tiny.save(configs, "experiments", {**tiny.RECIPE, **custom_code.PARTS, "name": "mine"})
    both = {"name": "both", "model": {"name": "ensemble", "members": ["mine"]}}
    tiny.save(configs, "experiments", both)
    return tiny.write(configs, tmp_path / "raw", experiments=["both"])


def test_code_that_is_off_or_not_there_is_told_once_and_nothing_is_started(
    dataset: Dataset, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a member that the dataset does not list."""
    monkeypatch.setattr(checks, "tried", lambda *_: pytest.fail("a process"))
    assert {problem.found for problem in experiment_problems(dataset)} == {"no package field_maps"}
    custom_code.write(code)
    monkeypatch.delenv("LANDCOVER_CUSTOM")
    problems = experiment_problems(dataset)
    assert {problem.found for problem in problems} == {"code, and LANDCOVER_CUSTOM is not set"}
    assert len(problems) == 3


def test_the_dataset_says_bands_classes_and_patches(
    dataset: Dataset, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    custom_code.write(code)
    requests: list[dict[str, Any]] = []
    monkeypatch.setattr(checks, "tried", lambda request, names: requests.append(request) or [])
    assert experiment_problems(dataset) == []
    (request,) = requests
    assert [e["name"] for e in request["experiments"]] == ["mine"]
    assert {key: request[key] for key in ("bands", "classes", "side")} == {"bands": 3, "classes": 2, "side": 32}
