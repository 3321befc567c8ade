"""Retraining and promotion in a dataset's file: what is wrong is named as it stands there, with what is expected."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from landcover_orch import config
from landcover_orch.config import AtLeast, Cron, Dataset, Promotion, Retraining
from landcover_orch.errors import ConfigError, Problem

TOWN: dict[str, Any] = {
    "name": "town",
    "root": "/data",
    "tiles": {"image": "{tile}.tif", "label": "{tile}.gpkg"},
    "bands": ["red"],
    "legend": "cover",
    "experiments": ["small", "rates"],
}
WHERE = "configs/datasets/town.yaml"
SMALL = {"name": "small", "model": {"name": "unet"}, "optimiser": {"name": "adam", "lr": 0.01}, "epochs": 1}


@pytest.fixture(autouse=True)
def _experiments(configs: Path) -> None:
    """An experiment, and a matrix of two."""
    for content in (SMALL, {**SMALL, "name": "rates", "matrix": {"optimiser.lr": {"slow": 0.001, "fast": 0.1}}}):
        (configs / "experiments" / f"{content['name']}.yaml").write_text(yaml.safe_dump(content))


def load(configs: Path, **blocks: Any) -> Dataset:
    """The dataset of a file with these settings."""
    (configs / "datasets" / "town.yaml").write_text(yaml.safe_dump({**TOWN, **blocks}))
    return config.load_dataset("town")


def refused(configs: Path, **blocks: Any) -> Problem:
    """The only problem of a file with these settings."""
    with pytest.raises(ConfigError) as error:
        load(configs, **blocks)
    (problem,) = error.value.problems
    return problem


FULL = {
    "when": "new_data",
    "experiments": ["small"],
    "at_least": {"pixels": 5000},
    "drift": 2.5,
}


def test_both_blocks_are_read(configs: Path) -> None:
    town = load(configs, retraining=FULL, promotion={"by": "hand", "margin": 0.02})
    assert town.retraining == Retraining(
        when="new_data", experiments=("small",), at_least=AtLeast(pixels=5000), drift=2.5
    )
    assert town.promotion == Promotion(by="hand", margin=0.02)


def test_without_the_blocks_nothing_runs_by_itself(configs: Path) -> None:
    town = load(configs)
    assert town.retraining is None
    assert town.promotion == Promotion(by="automatic", margin=None)
    least = load(configs, retraining={"when": "never"}).retraining
    assert least == Retraining(when="never", experiments=(), at_least=None, drift=1.0)


def test_blocks_change_no_product(configs: Path) -> None:
    assert load(configs, retraining=FULL).model_dump() == load(configs, promotion={"by": "hand"}).model_dump()


@pytest.mark.parametrize(
    "cron", ["0 3 * * 0", "*/15 6-18 * * 1-5", "0 3 1,15 * *", "0 3 * JAN-MAR SUN", "0 0 L * *", "0 6 * * 1#2"]
)
def test_cron_times_are_read(configs: Path, cron: str) -> None:
    read = load(configs, retraining={"when": {"cron": cron}}).retraining
    assert read is not None
    assert read.when == Cron(cron=cron, timezone="UTC")
    assert str(read.when) == f"{cron} (UTC)"


def test_the_time_zone_is_the_iana_name(configs: Path) -> None:
    read = load(configs, retraining={"when": {"cron": "0 3 * * 0", "timezone": "Europe/Madrid"}}).retraining
    assert read is not None
    assert str(read.when) == "0 3 * * 0 (Europe/Madrid)"


BAD_CRONS = [
    "",
    "weekly",
    "0 3 * *",
    "0 * * *",
    "60 3 * * 0",
    "0 24 * * *",
    "0 3 32 * *",
    "0 3 0 * *",
    "0 3 * 13 *",
    "0 3 * * 8",
    "0 3 30 2 *",
    "*/0 * * * *",
    "0 3 * * MOON",
]


@pytest.mark.parametrize("cron", BAD_CRONS)
def test_a_cron_time_that_is_none_is_quoted_with_its_five_fields(configs: Path, cron: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(configs, retraining={"when": {"cron": cron}})
    text = str(error.value)
    assert repr(cron) in text
    assert "minute (0-59), hour (0-23), day of month (1-31), month (1-12), day of week (0-7), as '0 3 * * 0'" in text


@pytest.mark.parametrize("cron", ["0 0 3 * * 0", "0 3 LW * *", "0 3 * * 5L"])
def test_a_cron_time_that_dagster_does_not_take_is_refused(configs: Path, cron: str) -> None:
    with pytest.raises(ConfigError, match="is no cron time"):
        load(configs, retraining={"when": {"cron": cron}})


FIELDS = (
    ["0", "*/15", "5-10/2", "0,30", "61"],
    ["3", "*", "1-5", "24"],
    ["*", "1", "L", "l", "LW", "lw", "1,L", "15W", "?"],
    ["*", "JAN", "1-12/3", "13"],
    ["*", "7", "SUN-TUE", "L", "5L", "5l", "1#2", "5L,1", "5#3,1", "FRIL", "8"],
)


@given(st.tuples(*map(st.sampled_from, FIELDS)).map(" ".join))
@settings(max_examples=300)
def test_every_cron_time_that_is_taken_is_taken_by_dagster(cron: str) -> None:
    with contextlib.suppress(ValidationError):
        when = Cron(cron=cron)
        dg.ScheduleDefinition(name="retrain", target=dg.AssetSelection.all(), cron_schedule=when.cron)


@pytest.mark.parametrize("zone", ["", "CEST", "Madrid", "europe/madrid", "Mars/Base", "UTC+2"])
def test_a_time_zone_that_is_none_is_quoted_with_two_that_are(configs: Path, zone: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(configs, retraining={"when": {"cron": "0 3 * * 0", "timezone": zone}})
    assert f"{zone!r} is no time zone of the IANA database, as 'UTC' or 'Europe/Madrid'" in str(error.value)


@pytest.mark.parametrize(
    ("when", "where", "words"),
    [
        ({"cron": "0 * * *"}, "retraining.when.cron", "'0 * * *' is no cron time"),
        (
            {"cron": 5},
            "retraining.when.cron",
            "the number 5; expected text. Fix: put 5 in quotes",
        ),
        ({"cron": "0 3 * * 0", "timezone": "Mars"}, "retraining.when.timezone", "'Mars' is no time zone"),
        ({"cron": "0 3 * * 0", "zone": "UTC"}, "retraining.when.zone", "one of ['cron', 'timezone']"),
        ({"timezone": "UTC"}, "retraining.when.cron", "add the key `retraining.when.cron`"),
        ("newdata", "retraining.when", "'newdata'; expected"),
        ("newdata", "retraining.when", "one of ['new_data', 'drift', 'never'], or keys and values: cron"),
    ],
)
def test_what_is_wrong_of_when_is_a_problem_with_the_key_of_the_file(
    configs: Path, when: object, where: str, words: str
) -> None:
    problem = refused(configs, retraining={"when": when})
    assert problem.where == f"{WHERE}: {where}"
    assert words in str(problem)


@pytest.mark.parametrize(
    ("block", "where", "words"),
    [
        ({}, "retraining.when", "add the key `retraining.when`"),
        ({"when": "never", "wen": "never"}, "retraining.wen", "did you mean 'when'?"),
        ({"when": "never", "retrain": "0 3 * * 0"}, "retraining.retrain", "an unknown key; expected one of"),
        ({"when": "new_data", "at_least": {}}, "retraining.at_least", "give `pixels` or `fraction`, one of them"),
        (
            {"when": "new_data", "at_least": {"pixels": 5, "fraction": 0.5}},
            "retraining.at_least",
            "give `pixels` or `fraction`, one of them",
        ),
        (
            {"when": "new_data", "at_least": {"pixels": 0}},
            "retraining.at_least.pixels",
            "0; expected a value greater",
        ),
        ({"when": "new_data", "at_least": {"pixel": 9}}, "retraining.at_least.pixel", "did you mean 'pixels'?"),
        ({"when": "new_data", "at_least": {"fraction": 0}}, "retraining.at_least.fraction", "greater than 0"),
        ({"when": "drift", "at_least": {"pixels": 5}}, "retraining", "`at_least` is for `when: new_data`"),
        ({"when": "never", "at_least": {"pixels": 5}}, "retraining", "`at_least` is for `when: new_data`"),
        (
            {"when": {"cron": "0 3 * * 0"}, "at_least": {"pixels": 5}},
            "retraining",
            "`at_least` is for `when: new_data`",
        ),
        ({"when": "drift", "drift": 0}, "retraining.drift", "0; expected a value greater than 0"),
        ("new_data", "retraining", "'new_data'; expected"),
    ],
)
def test_what_is_wrong_of_retraining_is_named(configs: Path, block: object, where: str, words: str) -> None:
    problem = refused(configs, retraining=block)
    assert problem.where == f"{WHERE}: {where}"
    assert words in str(problem)


@pytest.mark.parametrize(
    ("block", "where", "words"),
    [
        ({"by": "person"}, "promotion.by", "'person'; expected one of ['automatic', 'hand']"),
        ({"margin": -0.1}, "promotion.margin", "expected a value greater than or equal to 0"),
        ({"margin": 1}, "promotion.margin", "expected a value less than 1"),
        ({"margin": "wide"}, "promotion.margin", "'wide'; expected a number"),
        ({"margn": 0.1}, "promotion.margn", "did you mean 'margin'?"),
    ],
)
def test_what_is_wrong_of_promotion_is_named(configs: Path, block: object, where: str, words: str) -> None:
    problem = refused(configs, promotion=block)
    assert problem.where == f"{WHERE}: {where}"
    assert words in str(problem)


@pytest.mark.parametrize("former", [{"retrain": "0 3 * * 0", "timezone": "UTC"}, {"retrain": None}, None])
def test_automation_is_called_retraining_now(configs: Path, former: object) -> None:
    problem = refused(configs, automation=former)
    assert problem.where == f"{WHERE}: automation"
    assert problem.found == "an unknown key"
    assert problem.fix == "it is called `retraining` now"


def test_an_experiment_that_the_dataset_does_not_have_is_refused(configs: Path) -> None:
    problem = refused(configs, retraining={"when": "new_data", "experiments": ["smal"]})
    assert "retraining" in problem.where
    assert "smal" in str(problem)
    assert "'small'" in str(problem)


@pytest.mark.parametrize("name", ["small", "rates", "rates__fast"])
def test_experiments_are_named_by_file_or_combination(configs: Path, name: str) -> None:
    read = load(configs, retraining={"when": "new_data", "experiments": [name]}).retraining
    assert read is not None
    assert read.experiments == (name,)


def test_so_many_pixels_suffice_and_no_fewer() -> None:
    least = AtLeast(pixels=4096)
    assert least.reached(4096, 12_288)
    assert not least.reached(4095, 12_288)
    assert str(least) == "4,096 pixels"


@given(percent=st.integers(1, 300), hundreds=st.integers(1, 10**6))
def test_so_large_a_fraction_suffices_and_no_smaller(percent: int, hundreds: int) -> None:
    least = AtLeast(fraction=percent / 100)
    assert least.reached(percent * hundreds, 100 * hundreds)
    assert not least.reached(percent * hundreds - 1, 100 * hundreds)


def test_of_nothing_trained_on_any_fraction_is_reached() -> None:
    assert AtLeast(fraction=0.5).reached(0, 0)


@pytest.mark.parametrize(("fraction", "words"), [(0.1, "10%"), (0.005, "0.5%"), (0.125, "12.5%"), (1.5, "150%")])
def test_a_fraction_is_written_as_it_is(fraction: float, words: str) -> None:
    assert str(AtLeast(fraction=fraction)) == f"{words} of those trained on"
