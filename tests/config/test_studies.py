"""Published studies: listed, named where they lie, added to one's own configurations without overwriting any."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.cli import main
from landcover_orch import config
from landcover_orch.errors import ConfigError


def test_only_the_demo_is_shipped_as_a_dataset(configs: Path) -> None:
    assert config.dataset_names() == ["demo"]
    assert len(config.studies()) > 20
    assert all(config.studies().values())


def test_a_study_is_named_where_it_lies(configs: Path) -> None:
    assert config.load_dataset("vaihingen").name == "vaihingen"
    assert "vaihingen" not in config.dataset_names()


def test_a_study_is_added_once(configs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studies", "add", "vaihingen"]) == 0
    file = configs / "datasets" / "vaihingen.yaml"
    assert str(file) in capsys.readouterr().out
    assert config.dataset_names() == ["demo", "vaihingen"]
    file.write_text(file.read_text().replace("9 cm", "8 cm"))
    assert "8 cm" in str(config.load_dataset("vaihingen").description)  # one's own goes before the study
    assert main(["studies", "add", "vaihingen"]) == 1
    assert "a file of that name" in capsys.readouterr().err
    assert "8 cm" in file.read_text()
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_an_unknown_study_names_those_there_are(configs: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'vaihingen'"):
        config.add_study("vaihinge")
    with pytest.raises(ConfigError, match="no file"):
        config.add_study("../datasets/demo")


def test_a_name_in_both_folders_names_both_files(configs: Path) -> None:
    own = configs / "legends" / "landscape.yaml"
    own.write_text("{name: landscape}")
    with pytest.raises(ConfigError) as error:
        config.load_legend("landscape")
    assert f"two files: {own} and {config.shipped_configs() / 'legends' / 'landscape.yaml'}" in str(error.value)


def test_the_instance_file_comes_from_the_first_folder_that_has_one(
    configs: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assets.instance import instance_file

    assert instance_file() == config.shipped_configs() / "dagster" / "dagster.yaml"
    (configs / "dagster").mkdir()
    (configs / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}")
    assert instance_file() == configs / "dagster" / "dagster.yaml"
