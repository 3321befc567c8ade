"""Verification of published products: every byte against its checksum; what is damaged is marked to be built again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from landcover_orch.errors import IncompleteError, Problem
from landcover_orch.store import publish
from landcover_orch.store.publish import rebuild_mark
from landcover_orch.store.retention import PRODUCT


@dataclass(frozen=True)
class Verified:
    """A product that was read whole: its folder, its bytes, what is wrong with it, whether the link names it."""

    path: Path
    bytes: int
    is_current: bool
    problems: tuple[Problem, ...] = ()


def verify(folder: Path) -> Iterator[Verified]:
    """Reads every product below the folder of a dataset; one that is damaged is marked to be built again."""
    for link in dangling_links(folder):
        problem = Problem(str(link), f"{link.readlink()}, which is gone", "the folder of a product", "build it again")
        yield Verified(link, 0, is_current=True, problems=(problem,))
    for path in product_folders(folder):
        match = PRODUCT.fullmatch(path.name)
        link = path.parent / match["name"] if match else path
        is_current = link.is_symlink() and link.readlink() == Path(path.name)
        try:
            yield Verified(path, publish.load(path, deep=True).bytes, is_current)
        except IncompleteError as error:
            rebuild_mark(path).touch()
            yield Verified(path, 0, is_current, error.problems)


def dangling_links(folder: Path) -> Iterator[Path]:
    """Links of current products whose folders are gone."""
    for depth in ("[!.]*/[!.]*", "[!.]*/[!.]*/[!.]*"):
        yield from (path for path in sorted(folder.glob(depth)) if path.is_symlink() and not path.exists())


def product_folders(folder: Path) -> list[Path]:
    """Folders of products below that of a dataset, also of those without a manifest."""
    first = [path for path in folder.glob("[!.]*/[!.]*") if path.is_dir() and not path.is_symlink()]
    parts = [path for path in first if PRODUCT.fullmatch(path.name) is None]
    second = [path for part in parts for path in part.glob("[!.]*") if path.is_dir() and not path.is_symlink()]
    return sorted(path for path in (*first, *second) if PRODUCT.fullmatch(path.name))
