"""Bit flips: whatever bit of a product turns over, none is read as something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from landcover_orch.errors import IncompleteError
from landcover_orch.store.publish import MANIFEST, Product, Recipe, current, load, publish
from tests.store.built import writes

RECIPE = Recipe("test", 1, {"image": "sha256:12ab", "tiles": ["a", "b"]}, {"size": 3, "edge": "pad"})


def flip(path: Path, bit: int) -> None:
    """Turns a bit over, as a bad disk does."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.fixture
def product(tmp_path: Path) -> Product:
    return publish(tmp_path, "t1", RECIPE, writes("what was published"))


def test_no_bit_of_a_manifest_is_read_as_another_product(product: Product) -> None:
    path = product.path / MANIFEST
    refused = 0
    for bit in range(8 * path.stat().st_size):
        flip(path, bit)
        try:
            loaded = load(product.path)
            for name in product.files:
                loaded.verify(name)  # a checksum of other letters refuses the file
        except IncompleteError:
            refused += 1
        else:
            assert loaded == product, f"bit {bit}"
        flip(path, bit)
    assert refused > 8 * 300


def test_no_bit_of_a_file_is_read_and_the_next_build_mends_it(product: Product) -> None:
    path = product.path / "store" / "0"
    for bit in range(8 * path.stat().st_size):
        flip(path, bit)
        with pytest.raises(IncompleteError, match=r"store/0: missing or changed; .* Fix: materialise again"):
            current(product.path.parent, "t1").file("store/0")
        rebuilt = publish(product.path.parent, "t1", RECIPE, writes("what was published"))
        assert rebuilt.file("store/0").read_text() == "what was published"


def test_a_file_is_read_once_in_a_process(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    product.file("store/0")
    monkeypatch.setattr("landcover_orch.store.publish.file_hash", lambda path: pytest.fail("read again"))
    assert product.file("store/0").read_text() == "what was published"


def test_what_nobody_published_is_told_and_what_a_viewer_leaves_is_not(product: Product) -> None:
    (product.path / "class.tif.aux.xml").write_text("<PAMDataset/>")
    assert load(product.path) == product
    (product.path / "more.tif").write_text("x")
    with pytest.raises(IncompleteError, match=r"more\.tif: a file that was not published"):
        load(product.path)
    (product.path / "more.tif").unlink()
    assert load(product.path) == product
