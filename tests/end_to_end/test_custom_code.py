"""A person's own network, loss and sampler by the real program: checked, trained, mapped, and stale once edited."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from assets.cli import main
from landcover_orch.config import Dataset
from landcover_orch.store import publish
from tests import custom_code, tiny

pytestmark = pytest.mark.slow
RAISING = "raise RuntimeError('imported')\n"


@pytest.fixture
def dataset(configs: Path, home: Path, tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The tiny dataset with one experiment, whose code lies where it does by default."""
    monkeypatch.delenv("LANDCOVER_CODE")
    custom_code.write(configs / "code")
    experiment = {**tiny.RECIPE, **custom_code.PARTS, "name": "mine", "epochs": 1}
    tiny.save(configs, "experiments", experiment)
    return tiny.write(configs, tmp_path / "raw", experiments=["mine"])


def test_it_is_checked_trained_mapped_and_stale_once_edited(
    dataset: Dataset, configs: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:

    def printed(*arguments: str, status: int = 0) -> str:
        assert main([*arguments]) == status
        return "".join(capsys.readouterr())

    assert "tiny: 3 tiles, 0 problems" in printed("check", "tiny")
    printed("materialise", "tiny")  # trained in a process of its own
    model = publish.current(home / "tiny" / "model", "mine")
    assert "code/field_maps/networks.py" in model.files
    assert "code field_maps changed" not in printed("status", "tiny")
    custom_code.write(configs / "code", blocks=custom_code.BLOCKS.replace("GAIN = 1.0", "GAIN = 2.0"))
    text = printed("status", "tiny")
    assert "model mine" in text
    assert "code field_maps changed" in text
    custom_code.write(configs / "code", networks=RAISING, blocks=RAISING)
    raster, folder = str(dataset.folder / "t0.tif"), str(model.path)
    printed("predict", raster, "--model", folder, "--output", str(tmp_path / "maps"))
    expected = (home / "tiny" / "land_cover_map" / "t0" / "class.tif").read_bytes()
    assert (tmp_path / "maps" / "t0" / "class.tif").read_bytes() == expected
    del os.environ["LANDCOVER_CUSTOM"]
    again = ("predict", raster, "--model", folder, "--output", str(tmp_path / "again"))
    for arguments, status in ((again, 1), (("check", "tiny"), 1), (("status", "tiny"), 0)):
        assert "LANDCOVER_CUSTOM is not set; expected true. Fix: read the code" in printed(*arguments, status=status)


def test_definitions_plan_and_looks_at_the_files_import_none_of_it(dataset: Dataset, configs: Path) -> None:
    """Each module of the package ends whatever imports it."""
    custom_code.write(configs / "code", **{Path(file).stem: RAISING for file in custom_code.FILES})
    code = (
        "import sys, dagster as dg\n"
        "from assets import definitions\nfrom assets.lineage import sources\nfrom landcover_orch import config\n"
        "from tests.planned import described\n"
        "dataset = config.load_dataset('tiny')\n"
        "assert definitions.defs\n"
        "with dg.DagsterInstance.ephemeral() as instance:\n"
        "    sources.observe(instance, dataset)\n"
        "    steps = described(instance, dataset).steps\n"
        "print(steps['model', 'mine'].state, [m for m in sys.modules if m.startswith('field_maps')])"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "waiting []", done.stderr


def test_an_edit_is_another_version_of_the_experiment_for_dagster(dataset: Dataset, configs: Path) -> None:
    from assets.lineage import sources

    def version() -> str:
        return next(version for key, name, version in sources.observations(dataset, []) if name == "mine")

    before = version()
    assert before == version()
    custom_code.write(configs / "code", losses=f"# changed\n{custom_code.LOSS}")
    assert version() != before
