"""The election of a champion: who may be elected, and when a challenger's gain is real."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from landcover_orch.config import Promotion, Splits, SplitSpec
from landcover_orch.config.experiments import Experiment, models
from landcover_orch.errors import IncompleteError, PromotionError
from landcover_orch.evaluation import champion
from landcover_orch.evaluation.champion import Candidate, Champion, elect
from landcover_orch.evaluation.decisions import FILE, Decision, load_decisions, record
from landcover_orch.evaluation.evaluate import evaluate
from tests.evaluation.scored import Classes, Scored, scored

SIDE = 96
AUTOMATIC, HAND = Promotion(), Promotion(by="hand")


def wrong(labels: Classes, fraction: float, seed: int = 0, rows: slice = slice(None)) -> Classes:
    """Labels of two classes with a fraction of the pixels of some rows exchanged."""
    drawn = labels.copy()
    exchanged = np.random.default_rng(seed).random(labels.shape) < fraction
    mask = np.zeros_like(exchanged)
    mask[rows] = exchanged[rows]
    drawn[mask] = 1 - drawn[mask]
    return drawn


@pytest.fixture
def labels() -> Classes:
    """Stripes of two classes, eight pixels wide."""
    return np.tile(np.repeat(np.arange(2, dtype=np.uint8), 8), SIDE // 16)[None].repeat(SIDE, axis=0)


@pytest.fixture
def scene(home: Path, labels: Classes) -> Scored:
    """One test tile: its blocks are what is resampled."""
    return scored(home, {"a": labels}, {"a": labels}, names=("field", "forest"))


def candidate(scene: Scored, name: str, classes: Classes, unfit: str | None = None) -> Candidate:
    """A model with this map."""
    experiment = Experiment(name=name, model=models.UNet(width=8, levels=2))
    repetition = scene.repetition(experiment, {"a": classes})
    matrix = evaluate(scene.manifest, repetition.maps, scene.home).pooled
    model = champion.scored(scene.manifest, repetition.model, matrix, scene.home)
    return Candidate(model, repetition.model, repetition.maps, unfit)


def chosen(scene: Scored, standing: Candidate | None, *rivals: Candidate, **how: object) -> champion.Election:
    """The election among candidates, the standing champion among them."""
    entries = [*([standing] if standing else []), *rivals]
    promotion = how.pop("promotion", AUTOMATIC)
    return elect(standing.model if standing else None, entries, promotion, scene.manifest, scene.home, **how)  # type: ignore[arg-type]


def test_the_best_challenger_wins_an_empty_seat(scene: Scored, labels: Classes) -> None:
    worse, better = candidate(scene, "worse", wrong(labels, 0.3)), candidate(scene, "better", wrong(labels, 0.1))
    result = chosen(scene, None, worse, better)
    assert result.champion == better.model
    assert "better has the best mean IoU" in result.reason


def test_a_gain_that_chance_explains_exchanges_no_map(scene: Scored, labels: Classes) -> None:
    standing = candidate(scene, "standing", wrong(labels, 0.2, seed=1))
    lucky = candidate(scene, "lucky", wrong(labels, 0.2, seed=2))
    rivals = sorted((standing, lucky), key=lambda entry: entry.model.mean_iou)
    result = chosen(scene, rivals[0], rivals[1])
    assert rivals[1].model.mean_iou > rivals[0].model.mean_iou
    assert result.champion == rivals[0].model
    assert "stays" in result.reason
    assert "95 % interval" in result.reason


def test_a_real_gain_replaces_the_champion_with_its_reason(scene: Scored, labels: Classes) -> None:
    standing = candidate(scene, "standing", wrong(labels, 0.3))
    middle, best = candidate(scene, "middle", wrong(labels, 0.2)), candidate(scene, "best", wrong(labels, 0.1))
    result = chosen(scene, standing, middle, best)
    assert result.champion == best.model
    assert "best gains" in result.reason
    assert "over standing" in result.reason
    worse = chosen(scene, best, standing, middle)
    assert worse.champion == best.model
    assert "no challenger has a better mean IoU" in worse.reason


def test_a_gain_in_one_corner_alone_is_not_real(scene: Scored, labels: Classes) -> None:
    standing = candidate(scene, "standing", wrong(labels, 0.9, rows=slice(0, 16)))
    corner = candidate(scene, "corner", wrong(labels, 0.06, rows=slice(16, SIDE)))
    assert corner.model.mean_iou > standing.model.mean_iou
    assert chosen(scene, standing, corner).champion == standing.model


def test_a_margin_is_a_number_that_the_gain_must_exceed(scene: Scored, labels: Classes) -> None:
    standing, best = candidate(scene, "standing", wrong(labels, 0.3)), candidate(scene, "best", wrong(labels, 0.1))
    gain = best.model.mean_iou - standing.model.mean_iou
    for margin, winner in ((gain - 0.01, best), (gain + 0.01, standing)):
        assert chosen(scene, standing, best, promotion=Promotion(margin=margin)).champion == winner.model


def test_by_hand_a_challenger_waits(scene: Scored, labels: Classes) -> None:
    standing, best = candidate(scene, "standing", wrong(labels, 0.3)), candidate(scene, "best", wrong(labels, 0.1))
    result = chosen(scene, standing, best, promotion=HAND)
    assert (result.champion, result.challenger) == (standing.model, best.model)
    assert "until a person decides" in result.reason
    with pytest.raises(PromotionError, match="landcover promote scored VERSION"):
        chosen(scene, None, best, promotion=HAND)


def test_what_a_person_did_not_choose_is_not_elected_again(scene: Scored, labels: Classes) -> None:
    standing, best = candidate(scene, "standing", wrong(labels, 0.3)), candidate(scene, "best", wrong(labels, 0.1))
    later = candidate(scene, "later", wrong(labels, 0.15))
    assert chosen(scene, standing, best, passed_over=(best.model.fingerprint,)).champion == standing.model
    assert chosen(scene, standing, best, later, passed_over=(best.model.fingerprint,)).champion == later.model


def renamed(entry: Candidate, name: str) -> Candidate:
    """The same training, by an experiment of another name."""
    model = entry.model.model_copy(
        update={"experiment": name, "model": f"scored/model/{name}-{entry.model.fingerprint}"}
    )
    return replace(entry, model=model)


def test_two_experiments_of_one_training_are_two_candidates(scene: Scored, labels: Classes) -> None:
    standing = candidate(scene, "standing", wrong(labels, 0.3))
    copied = renamed(standing, "copied")
    result = elect(standing.model, [copied, standing], AUTOMATIC, scene.manifest, scene.home)
    assert result.champion == standing.model
    assert "standing stays" in result.reason
    said = champion.same_training(result.champion, [copied, standing])
    assert said == "; copied is the same training"
    assert champion.same_training(copied.model, [copied]) == ""
    best = renamed(candidate(scene, "best", wrong(labels, 0.1)), "smoothed")  # of the same model, another map
    best = replace(best, model=best.model.model_copy(update={"fingerprint": standing.model.fingerprint}))
    gained = elect(standing.model, [standing, best], AUTOMATIC, scene.manifest, scene.home)
    assert gained.champion.experiment == "smoothed"
    passed_over = (best.model.name,)
    assert chosen(scene, standing, best, passed_over=passed_over).champion == standing.model


def test_a_model_that_learnt_nothing_is_never_elected(scene: Scored, labels: Classes) -> None:
    one_class = candidate(scene, "flat", 0 * labels, unfit="it maps all ground as one class")
    good = candidate(scene, "good", wrong(labels, 0.4))
    assert chosen(scene, None, one_class, good).champion == good.model
    with pytest.raises(PromotionError, match="flat: it maps all ground as one class"):
        chosen(scene, None, one_class)


def test_a_champion_that_is_gone_gives_way_and_it_is_said(scene: Scored, labels: Classes) -> None:
    good = candidate(scene, "good", wrong(labels, 0.4))
    gone = good.model.model_copy(update={"experiment": "gone", "fingerprint": "0", "model": "scored/model/gone-0"})
    result = elect(gone, [good], AUTOMATIC, scene.manifest, scene.home)
    assert result.champion == good.model
    assert "the champion before, gone, cannot be used any more" in result.reason


@pytest.mark.parametrize(
    ("summary", "matrix", "reason"),
    [
        ({"accuracy": 0.6, "majority_share": 0.6}, [[5, 1], [1, 5]], "learnt nothing"),
        ({"accuracy": 0.6, "majority_share": 0.7, "kappa": 0.19}, [[5, 1], [1, 5]], "Cohen's kappa 0.19; always"),
        ({"accuracy": 0.6, "majority_share": 0.7, "kappa": 0.2}, [[5, 1], [1, 5]], None),
        ({"accuracy": 0.9, "majority_share": 0.6}, [[5, 0], [5, 0]], "one class"),
        ({"accuracy": 0.9, "majority_share": 0.6}, [[5, 1], [1, 5]], None),
        ({}, [[5, 1], [1, 5]], None),
    ],
)
def test_who_may_be_elected(
    tmp_path: Path, summary: dict[str, float], matrix: list[list[int]], reason: str | None
) -> None:
    from landcover_orch.store import publish
    from landcover_orch.store.publish import Recipe

    recipe = Recipe("model", 1, {}, dict(summary))
    trained = publish.publish(tmp_path, "m", recipe, lambda stage: stage.write_json("summary.json", summary))
    unfit = champion.unfit(trained, np.array(matrix, np.int64))
    assert (unfit is None) == (reason is None)
    assert reason is None or reason in str(unfit)


def test_a_champion_without_an_experiment_that_can_be_read_stays(scene: Scored, labels: Classes) -> None:
    """Neither has a configuration its experiment, nor does the build recipe of its model say what it was."""
    former, best = candidate(scene, "former", wrong(labels, 0.4)), candidate(scene, "best", wrong(labels, 0.1))
    result = elect(former.model, [best], AUTOMATIC, scene.manifest, scene.home)
    assert result.champion == former.model
    assert "manifest.json: model: nothing" in result.reason
    assert "landcover promote" in result.reason


def test_a_decision_that_is_damaged_is_named_and_never_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "demo" / "champion" / FILE
    path.parent.mkdir(parents=True)
    path.write_text("garbage\n")
    with pytest.raises(PromotionError, match=r"decisions\.jsonl, line 1: 'garbage'.*restore the file from a backup"):
        load_decisions("demo", tmp_path)


def test_folds_alone_are_compared_by_the_tiles_of_their_reports(home: Path, labels: Classes) -> None:
    splits = Splits(validation=SplitSpec(tiles=("a",)))
    scene = scored(home, {"a": labels, "b": labels}, {}, names=("field", "forest"), splits=splits)
    gone = Champion(experiment="x", model="m", fingerprint="0", data_digest="d", test_digest="t", mean_iou=0.9)
    with pytest.raises(IncompleteError):
        champion.present_score(gone, [], scene.manifest, home)


def test_decisions_survive_a_line_that_a_kill_cut_short(tmp_path: Path) -> None:
    chosen_model = Champion(experiment="a", model="m", fingerprint="f", data_digest="d", test_digest="t", mean_iou=0.5)
    first = Decision(at="2026-01-01T00:00:00+00:00", by="rule", champion=chosen_model, reason="best")
    record("demo", first, tmp_path)
    path = tmp_path / "demo" / "champion" / FILE
    path.write_text(path.read_text() + '{"at": "2026-01-0')
    assert load_decisions("demo", tmp_path) == [first]
    second = first.model_copy(update={"by": "person", "user": "ana"})
    record("demo", second, tmp_path)
    assert load_decisions("demo", tmp_path) == [first, second]
