"""Verification of published products: each byte against its checksum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from landcover_orch.store.publish import MANIFEST, NotCurrentError, Product, dry_run, publish
from landcover_orch.store.verification import Verified, verify
from tests.store.built import writes
from tests.store.test_publish import RECIPE


@pytest.fixture
def product(tmp_path: Path) -> Product:
    """A product of an asset, with one of a part of it, and a former one."""
    publish(tmp_path / "ds" / "maps" / "small", "t1", RECIPE, writes("y"))
    publish(tmp_path / "ds" / "patches", "t1", replace(RECIPE, version=9), writes("former"))
    return publish(tmp_path / "ds" / "patches", "t1", RECIPE, writes("x"))


def damaged(tmp_path: Path) -> list[Verified]:
    """What is not as it was published; every product is read."""
    products = list(verify(tmp_path / "ds"))
    assert len(products) == 3
    return [verified for verified in products if verified.problems]


def flip(path: Path) -> None:
    """Changes a bit of a file, whose size stays."""
    content = bytearray((path / "summary.json").read_bytes())
    content[3] ^= 1
    (path / "summary.json").write_bytes(content)


def lose(path: Path) -> None:
    """Deletes the manifest."""
    (path / MANIFEST).unlink()


def add(path: Path) -> None:
    """Adds a file to a store."""
    (path / "store" / "1").write_text("a shard that nobody published")


@pytest.mark.parametrize(("damage", "named"), [(flip, "summary.json"), (lose, ""), (add, "store/1")])
def test_damage_is_named_and_marked_to_be_built_again(
    product: Product, tmp_path: Path, damage: Callable[[Path], None], named: str
) -> None:
    assert damaged(tmp_path) == []
    damage(product.path)
    (verified,) = damaged(tmp_path)
    assert (verified.path, verified.is_current) == (product.path, True)
    assert verified.problems[0].where == str(product.path / named)
    with dry_run(), pytest.raises(NotCurrentError):
        publish(product.path.parent, "t1", RECIPE, writes("x"))
    publish(product.path.parent, "t1", RECIPE, writes("x"))
    assert damaged(tmp_path) == []


def test_a_former_product_is_no_current_one(product: Product, tmp_path: Path) -> None:
    former = next(v.path for v in verify(tmp_path / "ds") if not v.is_current)
    flip(former)
    (verified,) = damaged(tmp_path)
    assert (verified.path, verified.is_current) == (former, False)
