"""Index pages: verdict, warnings, state, links that lead somewhere, and what to do next."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from landcover_orch.errors import Problem, PromotionError
from landcover_orch.evaluation import leaderboard
from landcover_orch.evaluation.decisions import Champion, Decision, record
from landcover_orch.legend import IGNORE
from landcover_orch.overview import index
from landcover_orch.overview.index import NOT_SCORED, State
from landcover_orch.overview.listing import listing
from landcover_orch.store.publish import Recipe, Stage, failure_recorded, publish
from tests.evaluation.scored import Scored, scored

NAME = "scored"
FRESH = State(True, "", datetime(2026, 11, 29, 12, 30, tzinfo=UTC))


@pytest.fixture(autouse=True)
def _served(configs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANDCOVER_DATASETS", NAME)
    (configs / "datasets" / f"{NAME}.yaml").write_text("{}")


@pytest.fixture
def scene(home: Path) -> Scored:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (40, 40)).astype(np.uint8)
    truth[:4] = IGNORE
    scene = scored(home, {"a": truth}, {"a": np.where(rng.random(truth.shape) < 0.8, truth, 0).astype(np.uint8)})
    leaderboard.build(scene.manifest, {"small": scene.report()}, {"small": {"small": scene.model}}, home)
    return scene


def write_all(stage: Stage, files: dict[str, dict[str, object]]) -> None:
    """Writes JSON files."""
    for name, content in files.items():
        stage.write_json(name, content)


def links(text: str) -> list[str]:
    """Relative links of a page."""
    return [unquote(link) for link in re.findall(r'href="([^"#:]+)"', text)]


def test_the_verdict_is_the_leaderboards(scene: Scored) -> None:
    text = index.index_page(scene.home, NAME, FRESH)
    board = next((scene.home / NAME / "leaderboard").glob("leaderboard-*/index.html")).read_text(encoding="utf-8")
    verdict = index.overview(scene.home, NAME, FRESH).verdict
    assert verdict.startswith("small: mean IoU 0.")
    assert verdict in text
    assert verdict in board
    assert "as of 2026-11-29 12:30 UTC" in text


def test_every_page_and_file_is_linked_and_every_link_leads_somewhere(scene: Scored) -> None:
    path = index.write_pages(scene.home, NAME, lambda _: FRESH)
    assert path == scene.home / NAME / "index.html"
    found = links(path.read_text(encoding="utf-8"))
    assert [link for link in found if not (path.parent / link).is_file()] == []
    published = {
        f"{asset}/{entry.name}/{file.name}"
        for asset, entries in listing(scene.home / NAME).items()
        for entry in entries
        for file in entry.files
    }
    assert published <= {*found}
    assert {"report/small/report.json", "leaderboard/leaderboard/index.html", "prediction/small/a/class.tif"} <= {
        *found
    }
    report = path.parent / "report" / "small" / "index.html"
    back = [link for link in links(report.read_text(encoding="utf-8")) if link.endswith("index.html")]
    assert [(report.parent / link).resolve() for link in back] == [path.resolve()]
    assert not [*scene.home.glob("**/.*.new")]


def test_files_of_a_folder_are_one_entry_without_a_link(home: Path) -> None:
    def write(stage: Stage) -> None:
        (stage.path / "patches.zarr").mkdir()
        for chunk in ("0", "1", "2"):
            (stage.path / "patches.zarr" / chunk).write_text(chunk)

    publish(home / NAME / "patches", "a", Recipe("patches", 1, {}, {}), write)
    (entry,) = listing(home / NAME)["patches"]
    assert [(file.name, file.count, file.bytes, file.link) for file in entry.files] == [("patches.zarr", 3, 3, None)]
    assert "patches.zarr (3 files)" in index.index_page(home, NAME, State())


def test_a_damaged_product_is_named_with_its_remedy(scene: Scored) -> None:
    (scene.home / NAME / "prediction" / "small" / "a" / "class.tif").write_bytes(b"cut")
    text = index.index_page(scene.home, NAME, FRESH)
    assert f"Damaged: prediction/small/a, 1 in all. Fix: landcover materialise {NAME}." in text
    assert "prediction/small/a/class.tif" not in links(text)


def test_a_challenger_that_waits_is_a_warning(scene: Scored) -> None:
    model = Champion(experiment="small", model="m", fingerprint="f", data_digest="d", test_digest="t", mean_iou=0.5)
    other = model.model_copy(update={"experiment": "larger"})
    at = "2026-11-28T10:00:00+00:00"
    decision = Decision(at=at, by="person", user="Ana", champion=model, reason="first", challenger=other)
    record(NAME, decision, scene.home)
    text = index.index_page(scene.home, NAME, FRESH)
    assert f"larger waits for a person to make it champion. Fix: landcover promote {NAME} VERSION." in text
    assert "champion, by Ana on 2026-11-28" in text


def test_without_a_champion_the_page_says_why_first(scene: Scored) -> None:
    text = index.index_page(scene.home, NAME, FRESH)
    none = f"none was elected yet. Fix: landcover materialise {NAME}."
    assert f"No champion, so no tile is mapped: {none}" in text
    recipe = Recipe("champion", 1, {}, {})
    (scene.home / NAME / "champion").mkdir()
    problem = Problem("champion of scored", "small: it learnt nothing", "a model that learnt", "train longer")
    with pytest.raises(PromotionError), failure_recorded(scene.home / NAME / "champion", "champion", recipe):
        raise PromotionError(problem)
    assert f"No champion, so no tile is mapped: {problem}" in index.index_page(scene.home, NAME, FRESH)


def test_an_earlier_training_that_is_champion_is_told_from_the_one_that_is_scored(scene: Scored) -> None:
    model = Champion(
        experiment="small",
        model="m",
        fingerprint=scene.model.fingerprint,
        data_digest="d",
        test_digest="t",
        mean_iou=0.5,
    )
    decision = Decision(at="2026-11-28T10:00:00+00:00", by="rule", champion=model, reason="best")
    record(NAME, decision, scene.home)
    assert "<b>small</b>champion" in index.index_page(scene.home, NAME, FRESH)
    earlier = model.model_copy(update={"fingerprint": "of last year"})
    record(NAME, decision.model_copy(update={"champion": earlier}), scene.home)
    assert "<b>small, an earlier training of it</b>champion" in index.index_page(scene.home, NAME, FRESH)


def test_a_persons_choice_that_the_rule_confirmed_is_the_persons(scene: Scored) -> None:
    model = Champion(experiment="small", model="m", fingerprint="f", data_digest="d", test_digest="t", mean_iou=0.5)
    choice = Decision(at="2026-11-28T10:00:00+00:00", by="person", user="Ana", champion=model, reason="chosen")
    confirmed = choice.model_copy(update={"at": "2026-11-30T10:00:00+00:00", "by": "rule", "user": None})
    for decision in (choice, confirmed, confirmed):
        record(NAME, decision, scene.home)
    assert "champion, by Ana on 2026-11-28" in index.index_page(scene.home, NAME, FRESH)
    other = confirmed.model_copy(update={"champion": model.model_copy(update={"model": "n", "experiment": "larger"})})
    for decision in (other, confirmed):
        record(NAME, decision, scene.home)
    assert "champion, by the rule on 2026-11-30" in index.index_page(scene.home, NAME, FRESH), "it was elected again"


@pytest.mark.parametrize(
    ("current", "commands"),
    [
        (None, ["landcover check", "landcover materialise"]),
        (False, ["landcover status", "landcover materialise", "landcover predict"]),
        (True, ["landcover predict"]),
    ],
)
def test_the_page_ends_with_what_to_do_next(
    home: Path, monkeypatch: pytest.MonkeyPatch, current: bool | None, commands: list[str]
) -> None:
    monkeypatch.setattr("landcover_orch.config.fault", lambda _: None)
    if current is not None:
        manifest = {"digest": "d", "warnings": [], "tiles": 1, "unlabelled_tiles": 0}
        folder = home / NAME / "dataset_manifest"
        files: dict[str, dict[str, object]] = {"summary.json": manifest, "dataset.json": {"legend": {"classes": []}}}
        publish(folder, "dataset", Recipe("dataset_manifest", 1, {}, {}), lambda stage: write_all(stage, files))
        model = Champion(experiment="small", model="m", fingerprint="f", data_digest="d", test_digest="t", mean_iou=0.5)
        record(NAME, Decision(at="2026-11-28T10:00:00+00:00", by="rule", champion=model, reason="first"), home)
    text = index.index_page(home, NAME, State(current))
    last = text[text.index("What to do next") :]
    assert [" ".join(line.split()[:2]) for line in re.findall(r"<pre>(.*)</pre>", last)] == commands


def test_before_anything_is_built_the_page_says_where_to_begin(home: Path) -> None:
    shown = index.overview(home, NAME, State())
    assert shown.verdict == NOT_SCORED
    assert [command for _, command in shown.next_steps] == [f"landcover check {NAME}"]
    text = index.datasets_page(home, [NAME], lambda _: State())
    assert NOT_SCORED in text
    assert "configuration cannot be loaded" in text


def test_a_dataset_that_was_taken_out_says_so_and_how_to_remove_or_restore_it(scene: Scored, configs: Path) -> None:
    file = configs / "datasets" / f"{NAME}.yaml"
    assert "Taken out" not in index.index_page(scene.home, NAME, FRESH)
    file.unlink()
    text = index.index_page(scene.home, NAME, FRESH)
    assert "Taken out." in text
    assert f"<code>{scene.home / NAME}</code>" in text
    last = text[text.index("What to do next") :]
    assert re.findall(r"<pre>(.*)</pre>", last) == [f"landcover clean {NAME} --all --yes", f"landcover status {NAME}"]
    assert str(file) in last
    assert not re.search("landcover (check|materialise|promote)", text)
    assert "up to date" not in text.replace("group_up_to_date", "")
    assert "configuration cannot be loaded" not in text
    assert f"landcover clean {NAME} --all --yes" in index.datasets_page(scene.home, [NAME], lambda _: FRESH)


def test_without_the_folder_of_configurations_the_page_names_it_and_advises_no_removal(
    scene: Scored, configs: Path
) -> None:
    configs.rename(configs.with_name("aside"))
    for text in (
        index.index_page(scene.home, NAME, FRESH),
        index.datasets_page(scene.home, [NAME], lambda _: FRESH),
    ):
        assert f"LANDCOVER_CONFIGS: {configs}, which is not there" in text
        assert "Taken out" not in text
        assert "landcover clean" not in text


def test_names_are_escaped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = index.index_page(home, NAME, State(False, "<img src=x onerror=alert(1)>", None))
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text
