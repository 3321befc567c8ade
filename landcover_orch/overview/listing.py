"""Listing of published products: which are current, with their files, sizes and dates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from landcover_orch.errors import LandcoverError
from landcover_orch.store import publish
from landcover_orch.store.products import ASSETS, PAGE


@dataclass(frozen=True)
class FileEntry:
    """File of a product, or a folder in it, which holds `count` files; `link` is relative to the dataset's folder."""

    name: str
    bytes: int
    count: int
    link: str | None


@dataclass(frozen=True)
class Listed:
    """Current product: its asset, its name, link of its page, files, when it was published (UTC), and fingerprint."""

    asset: str
    name: str
    page: str | None
    files: tuple[FileEntry, ...]
    published: datetime
    damaged: bool = False
    fingerprint: str = ""

    @property
    def bytes(self) -> int:
        """Size of all its files together."""
        return sum(file.bytes for file in self.files)


def listing(folder: Path) -> dict[str, list[Listed]]:
    """Asset -> its current products, by name, of all assets of a dataset's folder that have any."""
    others = sorted(path.name for path in folder.glob("[!.]*") if path.is_dir() and path.name not in ASSETS)
    found_by_asset = {asset: [*products(folder, asset)] for asset in (*ASSETS, *others)}
    return {asset: entries for asset, entries in found_by_asset.items() if entries}


def products(folder: Path, asset: str) -> Iterator[Listed]:
    """The current products of an asset; those of an experiment's tiles lie one level deeper."""
    for depth in ("[!.]*", "[!.]*/[!.]*"):
        for link in sorted((folder / asset).glob(depth)):
            if link.is_symlink() and (link / publish.MANIFEST).is_file():
                yield listed(folder, asset, link)


def listed(folder: Path, asset: str, link: Path) -> Listed:
    """A product by its link; one that is damaged has no files that can be opened."""
    name = link.relative_to(folder / asset).as_posix()
    published = datetime.fromtimestamp((link / publish.MANIFEST).stat().st_mtime, UTC)
    try:
        product = publish.load(link.resolve())
    except (LandcoverError, OSError, ValueError):
        return Listed(asset, name, None, (), published, damaged=True)
    prefix = f"{asset}/{name}"
    page = f"{prefix}/{PAGE}" if PAGE in product.files else None
    return Listed(asset, name, page, tuple(file_entries(product, prefix)), published, fingerprint=product.fingerprint)


def file_entries(product: publish.Product, prefix: str) -> Iterator[FileEntry]:
    """The files of a product by name; those of a folder in it, as of a Zarr store, in one entry."""
    groups: dict[str, list[int]] = {}
    for name, entry in product.files.items():
        groups.setdefault(name.partition("/")[0], []).append(int(entry["bytes"]))
    for name, sizes in sorted(groups.items()):
        link = f"{prefix}/{name}" if name in product.files else None
        yield FileEntry(name, sum(sizes), len(sizes), link)
