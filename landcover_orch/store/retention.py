"""Retention: which products nothing uses (mark and sweep over build recipes), what killed builds left, and removal."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landcover_orch.errors import BusyError, pluralise
from landcover_orch.store.locks import is_locked
from landcover_orch.store.publish import MANIFEST, cost_path, locked, rebuild_mark

PRODUCT = re.compile(r"(?P<name>.+)-(?P<fingerprint>[0-9a-f]{16})")
"""Name of a product's folder."""

PARTIAL, REPLACED, REMOVED = ".partial", ".replaced", ".removed"
"""Endings of folders that no reader sees: a build's stage, a product whose successor takes its place, one that goes."""

RESUMABLE_DAYS = 7
"""How long the stage of a build that ended is left, since the next build of its recipe goes on there."""

DAY_S = 86400


@dataclass(frozen=True)
class StoredProduct:
    """A product on disk, of this version or an earlier one, whole or not.

    Attributes:
        path: its folder, `<name>-<fingerprint>`.
        dataset: the name of its dataset.
        modified: when it was published, in seconds since 1970.
        is_current: whether the link `<name>` names it.
        identities: by which other recipes name it: its fingerprint, and the digest of a dataset manifest.
        references: every string of its recipe, the fingerprints of its inputs among them.
    """

    path: Path
    dataset: str
    name: str
    modified: float
    is_current: bool
    identities: frozenset[str]
    references: frozenset[str]


@dataclass(frozen=True)
class Removable:
    """A folder that can go: its bytes, why nothing misses it, and whether its link goes, too."""

    path: Path
    bytes: int
    reason: str
    with_link: bool = False


def stored_products(folder: Path, digest_of: Callable[[Path], str | None] = lambda path: None) -> list[StoredProduct]:
    """The products below the folder of a dataset.

    Args:
        folder: home/<dataset>.
        digest_of: folder of a product -> the digest that recipes name it by beside its fingerprint, if any.
    """
    products = []
    for manifest in sorted((*folder.glob(f"[!.]*/[!.]*/{MANIFEST}"), *folder.glob(f"[!.]*/[!.]*/[!.]*/{MANIFEST}"))):
        path = manifest.parent
        match = PRODUCT.fullmatch(path.name)
        if match is None or path.is_symlink() or path.parent.is_symlink():
            continue
        link, digest = path.parent / match["name"], digest_of(path)
        identities = frozenset({match["fingerprint"]} | ({digest} if digest else set()))
        is_current = link.is_symlink() and link.readlink() == Path(path.name)
        modified = manifest.stat().st_mtime
        products.append(
            StoredProduct(path, folder.name, match["name"], modified, is_current, identities, references(manifest))
        )
    return products


def references(manifest: Path) -> frozenset[str]:
    """Every string of the recipe in a manifest; none where it is damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return frozenset(strings(json.loads(manifest.read_text(encoding="utf-8"))["recipe"]))
    return frozenset()


def strings(value: Any) -> Iterator[str]:
    """The strings in a JSON value, keys apart."""
    match value:
        case str():
            yield value
        case dict():
            yield from (text for item in value.values() for text in strings(item))
        case list():
            yield from (text for item in value for text in strings(item))


def used(
    products: Iterable[StoredProduct],
    pinned: Collection[str] = (),
    is_in_use: Callable[[StoredProduct], bool] = lambda product: product.is_current,
) -> set[Path]:
    """Mark: the folders of products in use, of those that are pinned, and of the direct inputs of either.

    Inputs of inputs are not marked: a model that maps are made by does not need the patches that it was trained on.

    Args:
        products: all of a home, since recipes name products of other datasets, too.
        pinned: identities of products that are used by what is no product: the champion, a registered version.
        is_in_use: whether a product is used as it stands.
    """
    known = list(products)
    roots = [product for product in known if is_in_use(product) or not product.identities.isdisjoint(pinned)]
    inputs, foreign = input_identities(known, roots)
    direct = {p.path for p in known if not p.identities.isdisjoint(inputs.get(p.dataset, frozenset()) | foreign)}
    return {root.path for root in roots} | direct


def input_identities(
    products: Iterable[StoredProduct], roots: Iterable[StoredProduct]
) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    """What recipes of roots name: dataset -> of its own; and what their own dataset has not, of any other.

    Datasets of the same files have products of the same fingerprints: each uses its own.
    """
    identities: dict[str, set[str]] = defaultdict(set)
    inputs: dict[str, frozenset[str]] = defaultdict(frozenset)
    for product in products:
        identities[product.dataset] |= product.identities
    for root in roots:
        inputs[root.dataset] |= root.references
    foreign = frozenset().union(*(names - identities[dataset] for dataset, names in inputs.items()))
    return inputs, foreign


def unused(products: Iterable[StoredProduct], marked: Collection[Path], keep: int) -> list[StoredProduct]:
    """Sweep: the products that are not marked, but for the `keep` newest of each name."""
    former: dict[tuple[Path, str], list[StoredProduct]] = defaultdict(list)
    for product in products:
        if product.path not in marked:
            former[product.path.parent, product.name].append(product)
    newest_first = (sorted(group, key=lambda product: -product.modified) for group in former.values())
    return [product for group in newest_first for product in group[keep:]]


def leftovers(folder: Path, now: float | None = None) -> Iterator[Removable]:
    """What killed builds and removals left below a folder: nobody holds its lock, and no build goes on with it."""
    now = time.time() if now is None else now
    for path in hidden(folder):
        if not path.is_dir() or path.is_symlink():
            continue
        final = path.with_name(path.stem.removeprefix("."))
        match path.suffix:
            case ".removed":
                yield Removable(path, size(path), "a removal was interrupted")
            case ".replaced" if final.exists():
                yield Removable(path, size(path), "its successor is in place")
            case ".partial" if not is_locked(path.with_suffix(".lock")):
                days = (now - last_change(path)) / DAY_S
                if days > RESUMABLE_DAYS:
                    yield Removable(path, size(path), f"its build ended {pluralise(round(days), 'day')} ago")


def locks_held(folder: Path) -> list[Path]:
    """The locks below a folder that a build holds."""
    return [path for path in hidden(folder) if path.suffix == ".lock" and is_locked(path)]


def hidden(folder: Path) -> list[Path]:
    """What lies beside the products of a dataset under names that no reader sees."""
    return sorted((*folder.glob("[!.]*/.*"), *folder.glob("[!.]*/[!.]*/.*")))


def remove(path: Path, *, with_link: bool = False) -> bool:
    """Removes a product or a leftover; False where it is current (but for `with_link`), in use or gone by now.

    It is renamed first: a reader sees it whole or not at all, and what a kill leaves is a leftover of the next time.
    """
    name = path.name.removeprefix(".")
    name = name.removesuffix(PARTIAL) if path.name.endswith(PARTIAL) else product_name(name)
    try:
        with locked(path.parent, name, patience_s=0):
            link = path.parent / name
            is_current = link.is_symlink() and link.readlink() == Path(path.name)
            if not path.is_dir() or (is_current and not with_link):
                return False
            if is_current:
                link.unlink()
            removed = path if path.suffix == REMOVED else path.with_name(f".{path.name.removeprefix('.')}{REMOVED}")
            if removed != path:
                shutil.rmtree(removed, ignore_errors=True)
                path.rename(removed)
            final = removed.with_name(removed.stem.removeprefix("."))
            if not final.exists():
                cost_path(final).unlink(missing_ok=True)
                rebuild_mark(final).unlink(missing_ok=True)
            shutil.rmtree(removed)
    except BusyError:
        return False
    return True


def product_name(folder: str) -> str:
    """Name of the product whose folder this is, or was before it was replaced or removed."""
    match = PRODUCT.fullmatch(folder.removesuffix(REMOVED).removesuffix(REPLACED).removesuffix(PARTIAL))
    return match["name"] if match else folder


def remove_folder(folder: Path) -> None:
    """Removes the folder of a dataset: renamed first, as `remove` does."""
    removed = folder.with_name(f".{folder.name}{REMOVED}")
    shutil.rmtree(removed, ignore_errors=True)
    folder.rename(removed)
    shutil.rmtree(removed)


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def last_change(folder: Path) -> float:
    """When something below a folder was last written, in seconds since 1970."""
    return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
