"""Mark and sweep over build recipes, leftovers of kills, removal that readers never see half of."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from landcover_orch.store import publish, retention
from landcover_orch.store.publish import Product, Recipe, Stage

DAY = retention.DAY_S


def build(folder: Path, name: str, inputs: dict[str, str], *, age: float = 0) -> Product:
    """Publishes a product of some inputs, as if `age` days ago."""

    def write(stage: Stage) -> None:
        (stage.path / "data").write_bytes(b"x" * 100)

    product = publish.publish(folder, name, Recipe(folder.name, 1, inputs, {}), write)
    then = time.time() - age * DAY
    os.utime(product.path / publish.MANIFEST, (then, then))
    return product


@pytest.fixture
def town(tmp_path: Path) -> Path:
    return tmp_path / "town"


def names(paths: set[Path]) -> set[str]:
    return {path.name for path in paths}


def test_current_products_and_their_direct_inputs_are_used(town: Path) -> None:
    photo = build(town / "truth", "a", {"image": "1"})
    patches = build(town / "patches", "a", {"truth": photo.fingerprint})
    model = build(town / "model", "unet", {"patches": patches.fingerprint})
    tile_map = build(town / "map", "a", {"model": model.fingerprint})
    build(town / "truth", "a", {"image": "2"})
    build(town / "patches", "a", {"truth": "other"})
    build(town / "model", "unet", {"patches": "other"})
    products = retention.stored_products(town)
    marked = retention.used(products)
    assert model.path in marked, "the current map reads it"
    assert patches.path not in marked, "the map does not read what its model was trained on"
    assert {p.path for p in retention.unused(products, marked, keep=0)} == {photo.path, patches.path}
    assert patches.path in retention.used(products, {model.fingerprint}), "of a pinned model the inputs stay, too"
    assert tile_map.path in marked


def test_datasets_of_the_same_files_use_their_own_products_and_members_of_others(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    shared = [build(folder / "truth", "a", {"image": "1"}) for folder in (one, other)]
    model, unused_model = (build(one / "model", "unet", {"seed": seed}) for seed in "12")
    for folder in (one, other):
        build(folder / "truth", "a", {"image": "2"})
    build(one / "model", "unet", {"seed": "3"})
    build(other / "patches", "a", {"truth": shared[1].fingerprint})
    build(other / "model", "ensemble", {"member models:/one/1": model.fingerprint})
    marked = retention.used([*retention.stored_products(one), *retention.stored_products(other)])
    assert shared[1].path in marked
    assert model.path in marked
    assert not marked & {shared[0].path, unused_model.path}


def test_a_manifest_is_known_by_its_digest_too(town: Path) -> None:
    manifest = build(town / "dataset_manifest", "dataset", {"a": "1"})
    build(town / "dataset_manifest", "dataset", {"a": "2"})
    build(town / "model", "unet", {"manifest": "digest of 1"})
    products = retention.stored_products(town, lambda path: "digest of 1" if path == manifest.path else None)
    assert manifest.path in retention.used(products)
    assert manifest.path not in retention.used(retention.stored_products(town))


def test_the_newest_former_products_of_each_name_stay(town: Path) -> None:
    former = {age: build(town / "truth", "a", {"image": str(age)}, age=age).path for age in (9, 5, 7)}
    build(town / "truth", "a", {"image": "now"})
    other = build(town / "truth", "b", {"image": "b"}, age=20).path
    build(town / "truth", "b", {"image": "now"})
    products = retention.stored_products(town)
    marked = retention.used(products)
    assert {p.path for p in retention.unused(products, marked, keep=1)} == {former[9], former[7]}
    assert {p.path for p in retention.unused(products, marked, keep=0)} == {*former.values(), other}


def test_products_of_experiments_lie_one_folder_deeper(town: Path) -> None:
    former = build(town / "prediction" / "unet", "a", {"model": "1"})
    build(town / "prediction" / "unet", "a", {"model": "2"})
    products = retention.stored_products(town)
    assert names({p.path for p in retention.unused(products, retention.used(products), 0)}) == {former.path.name}


def test_a_damaged_manifest_is_still_a_product(town: Path) -> None:
    former = build(town / "truth", "a", {"image": "1"})
    build(town / "truth", "a", {"image": "2"})
    (former.path / publish.MANIFEST).write_text("{torn")
    (entry,) = (p for p in retention.stored_products(town) if p.path == former.path)
    assert entry.references == frozenset()
    assert not entry.is_current


def test_removal_takes_what_lies_beside_and_leaves_the_current_product(town: Path) -> None:
    former = build(town / "truth", "a", {"image": "1"})
    assert not retention.remove(former.path), "it is current"
    current = build(town / "truth", "a", {"image": "2"})
    with publish.locked(town / "truth", "a"):
        assert not retention.remove(former.path), "a build of the name is under way"
    assert retention.remove(former.path)
    assert not retention.remove(former.path)
    assert {path.name for path in (town / "truth").iterdir()} == {
        "a",
        ".a.lock",
        current.path.name,
        f".{current.path.name}.cost.json",
    }
    assert publish.current(town / "truth", "a").path == current.path


@pytest.mark.parametrize("step", ["rename", "unlink", "rmtree"])
def test_a_removal_that_was_killed_is_ended_by_the_next(town: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    former = build(town / "truth", "a", {"image": "1"})
    current = build(town / "truth", "a", {"image": "2"})

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    owner = {"rename": Path, "unlink": Path, "rmtree": retention.shutil}[step]
    with monkeypatch.context() as patch:
        original: Callable[..., object] = getattr(owner, step)
        calls = iter([original, killed] if step == "rmtree" else [killed])
        patch.setattr(owner, step, lambda *args, **kwargs: next(calls)(*args, **kwargs))
        with pytest.raises(KeyboardInterrupt):
            retention.remove(former.path)
    if step == "rename":
        assert publish.load(former.path).fingerprint == former.fingerprint
        assert retention.remove(former.path)
    else:
        assert not former.path.exists(), "no reader sees what is being removed"
        (leftover,) = retention.leftovers(town)
        assert leftover.reason == "a removal was interrupted"
        assert retention.remove(leftover.path)
    assert not list(retention.leftovers(town))
    assert not list((town / "truth").glob(f"*{former.fingerprint}*"))
    assert publish.current(town / "truth", "a").path == current.path


def hold(folder: Path, ready: object, end: object) -> None:
    """Holds the lock of a name in another process."""
    with publish.locked(folder, "a"):
        ready.set()  # type: ignore[attr-defined]
        end.wait(60)  # type: ignore[attr-defined]


def test_a_stage_is_a_leftover_once_its_build_is_long_over(town: Path) -> None:
    folder = town / "truth"
    (folder / ".a.partial").mkdir(parents=True)
    (folder / ".a.partial" / "data").write_bytes(b"x" * 10)
    later = time.time() + (retention.RESUMABLE_DAYS + 1) * DAY
    assert not list(retention.leftovers(town)), "the next build goes on there"
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    builder = context.Process(target=hold, args=(folder, ready, end))
    builder.start()
    assert ready.wait(60)
    assert retention.locks_held(town) == [folder / ".a.lock"]
    assert not list(retention.leftovers(town, later)), "a build is under way"
    end.set()
    builder.join()
    (leftover,) = retention.leftovers(town, later)
    assert (leftover.path.name, leftover.bytes, leftover.reason) == (".a.partial", 10, "its build ended 8 days ago")
    assert retention.remove(leftover.path)
    assert not list(folder.glob(".a.partial*"))
    assert retention.locks_held(town) == []


def test_a_replaced_product_is_a_leftover_where_its_successor_is_in_place(town: Path) -> None:
    product = build(town / "truth", "a", {"image": "1"})
    replaced = publish.replaced_path(product.path)
    product.path.rename(replaced)
    assert not list(retention.leftovers(town)), "the next build puts it back"
    build(town / "truth", "a", {"image": "1"})
    replaced.mkdir()
    (leftover,) = retention.leftovers(town)
    assert leftover.reason == "its successor is in place"
    assert retention.remove(leftover.path)
    assert publish.current(town / "truth", "a").fingerprint == product.fingerprint
    assert product.cost.bytes is not None, "what building the successor cost stays"
