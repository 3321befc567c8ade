"""Stateful test of publishing and planner: whatever happens to a home, what is current is whole and of its recipe."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from landcover_orch.errors import BusyError, IncompleteError, LandcoverError
from landcover_orch.planner import Asset, Build, Dependency, Partition, Plan, State, next_runs, plan
from landcover_orch.store import publish, retention
from landcover_orch.store.publish import MANIFEST, Product, Recipe, Stage, dry_run

ASSETS = ("ground_truth", "patches", "model")
"""Each is made of the one before."""

TILES = ("a", "b")
names = st.sampled_from([(asset, tile) for asset in ASSETS for tile in TILES])


class Killed(BaseException):
    """The end of a build's process."""


@dataclass
class Home:
    """Three assets over two tiles, below a folder."""

    root: Path
    versions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TILES, 0))
    kill: bool = False

    def builder(self, asset: str) -> Build:
        """What builds a tile of an asset."""

        def build(tile: Partition) -> Product:
            return publish.publish(self.root / asset, str(tile), self.recipe(asset, str(tile)), self.write(asset, tile))

        return build

    def write(self, asset: str, tile: Partition) -> Callable[[Stage], None]:
        """What writes a product: its content says what it was made of."""
        recipe = self.recipe(asset, str(tile))

        def write(stage: Stage) -> None:
            stage.write_json("summary.json", {"made": recipe.fingerprint})
            if self.kill:
                raise Killed
            (stage.path / "store").mkdir(exist_ok=True)
            (stage.path / "store" / "0").write_text(recipe.fingerprint)

        return write

    def recipe(self, asset: str, tile: str) -> Recipe:
        """The recipe that a build would have now."""
        before = ASSETS.index(asset) - 1
        source = str(self.versions[tile])
        if before >= 0:
            source = publish.current(self.root / ASSETS[before], tile).fingerprint
        return Recipe(asset, 1, {"source": source}, {})

    def graph(self) -> list[Asset]:
        """The assets as the planner takes them."""
        return [
            Asset(
                name=asset,
                stage=asset,
                dependencies=(Dependency(ASSETS[i - 1]),) if i else (),
                partitions=TILES,
                partitioning="tiles",
                builder=lambda asset=asset: self.builder(asset),
                products=self.root / asset,
            )
            for i, asset in enumerate(ASSETS)
        ]

    def plan(self) -> Plan:
        """The plan as it is now."""
        with dry_run():
            return plan(self.graph())

    def current(self, asset: str, tile: str) -> Product | None:
        """What a reader gets; None where it is refused."""
        try:
            product = publish.current(self.root / asset, tile)
            product.verify("store/0")
            product.verify("summary.json")
        except IncompleteError:
            return None
        return product


class Days(RuleBasedStateMachine):
    """What people, disks and programs do to a home."""

    @initialize()
    def start(self) -> None:
        """An empty home."""
        self.folder = Path(tempfile.mkdtemp())
        self.home = Home(self.folder / "home")
        self.moves = 0

    def teardown(self) -> None:
        """Removes it."""
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def next_build(self) -> tuple[str, Partition] | None:
        """The first build that may start."""
        runs = next_runs(self.home.plan())
        return runs[0].steps[0].key if runs else None

    @rule()
    def build(self) -> None:
        """The first build that may start runs."""
        if step := self.next_build():
            self.home.builder(step[0])(step[1])

    @rule()
    def build_all(self) -> None:
        """All builds run, one behind the other; then everything is up to date."""
        for _ in range(3 * len(ASSETS) * len(TILES)):
            if (step := self.next_build()) is None:
                break
            self.home.builder(step[0])(step[1])
        assert self.home.plan().up_to_date

    @rule()
    def kill(self) -> None:
        """A build is killed half-way."""
        if step := self.next_build():
            self.home.kill = True
            with suppress(Killed):
                self.home.builder(step[0])(step[1])
            self.home.kill = False

    @rule()
    def two_builders(self) -> None:
        """A second builder of what is being built is refused."""
        step = self.next_build()
        if step is None:
            return
        asset, tile = step

        def write(stage: Stage) -> None:
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(publish, "LOCK_PATIENCE_S", 0)
                with pytest.raises(BusyError):
                    self.home.builder(asset)(tile)
            self.home.write(asset, tile)(stage)

        publish.publish(self.home.root / asset, str(tile), self.home.recipe(asset, str(tile)), write)

    @rule(tile=st.sampled_from(TILES), version=st.integers(0, 2))
    def change(self, tile: str, version: int) -> None:
        """A raw file is replaced, perhaps by one that was there before."""
        self.home.versions[tile] = version

    @rule(which=names, bit=st.integers(0, 8 * 4000), file=st.sampled_from(["store/0", "summary.json", MANIFEST]))
    def flip(self, which: tuple[str, str], bit: int, file: str) -> None:
        """A bit turns over on the disk; size and times stay."""
        if path := self.file(which, file):
            content = bytearray(path.read_bytes())
            if content:
                content[bit // 8 % len(content)] ^= 1 << bit % 8
            path.write_bytes(content)

    @rule(which=names, file=st.sampled_from(["store/0", "summary.json", MANIFEST]), keep=st.integers(0, 9))
    def cut(self, which: tuple[str, str], file: str, keep: int) -> None:
        """A file is cut short."""
        if path := self.file(which, file):
            path.write_bytes(path.read_bytes()[:keep])

    @rule(which=names, file=st.sampled_from(["store/0", "store", MANIFEST, ""]))
    def delete(self, which: tuple[str, str], file: str) -> None:
        """A file or a folder of a product, or all of it, is deleted."""
        if path := self.file(which, file):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    @rule(which=names)
    def add(self, which: tuple[str, str]) -> None:
        """A file that nobody published appears."""
        if path := self.file(which, ""):
            (path / "more.tif").write_text("x")

    @rule(which=names)
    def unlink(self, which: tuple[str, str]) -> None:
        """The link to a product is deleted."""
        (self.home.root / which[0] / which[1]).unlink(missing_ok=True)

    @rule(which=names)
    def ask(self, which: tuple[str, str]) -> None:
        """A person asks for a product to be built again."""
        if (self.home.root / which[0]).is_dir():
            publish.request_rebuild(self.home.root / which[0], which[1])

    @rule()
    def move(self) -> None:
        """The home gets another path."""
        if self.home.root.exists():
            self.moves += 1
            self.home.root = self.home.root.rename(self.folder / f"home-{self.moves}")

    @rule(keep=st.integers(0, 1))
    def clean(self, keep: int) -> None:
        """Products that are not current are removed."""
        for product in retention.stored_products(self.home.root) if self.home.root.exists() else ():
            if not product.is_current and not keep:
                retention.remove(product.path)

    def file(self, which: tuple[str, str], file: str) -> Path | None:
        """A file of a current product, where it is there."""
        path = self.home.root / which[0] / which[1] / file
        return path.resolve() if path.exists() else None

    @invariant()
    def what_is_current_is_whole_and_of_its_recipe(self) -> None:
        """A reader gets what was made of the recipe that the manifest states, or is refused."""
        for asset in ASSETS:
            for tile in TILES:
                product = self.home.current(asset, tile)
                if product is not None:
                    assert product.recipe.fingerprint == product.fingerprint
                    assert product.json("summary.json") == {"made": product.fingerprint}
                    assert product.file("store/0").read_text() == product.fingerprint

    @invariant()
    def up_to_date_means_it_is(self) -> None:
        """What the plan calls current can be read, or is refused and is then no longer current."""
        described = self.home.plan()
        for (asset, tile), step in described.steps.items():
            if step.state is State.CURRENT and self.home.current(asset, str(tile)) is None:
                assert self.home.plan().steps[asset, tile].state is not State.CURRENT
        for (asset, tile), step in self.home.plan().steps.items():
            if step.state is State.CURRENT:
                with suppress(LandcoverError):
                    product = publish.current(self.home.root / asset, str(tile))
                    assert product.fingerprint == self.home.recipe(asset, str(tile)).fingerprint


Days.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestDays = Days.TestCase
