"""Removals killed with SIGKILL: no reader sees half a product, and the next one ends what was begun."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from landcover_orch.store import publish
from landcover_orch.store.publish import Recipe, Stage

PRODUCTS, FILES, KILLS = 80, 20, 4
CODE = """
import sys, time
from pathlib import Path
from landcover_orch.store import retention
folder = Path(sys.argv[1])
products = retention.stored_products(folder)
print("ready", flush=True)
for product in retention.unused(products, retention.used(products), 0):
    retention.remove(product.path)
for leftover in list(retention.leftovers(folder)):
    retention.remove(leftover.path)
"""


def write(stage: Stage) -> None:
    """Many small files: a removal takes its time."""
    for number in range(FILES):
        (stage.path / f"{number}.txt").write_text("x")


def test_a_killed_removal_leaves_whole_products_and_is_ended_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "town" / "truth"
    for version in range(PRODUCTS):
        current = publish.publish(folder, "a", Recipe("truth", version, {}, {}), write)
    before, randomly = len(list(folder.glob("a-*"))), random.Random(0)
    for _ in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", CODE, str(tmp_path / "town")], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        count = len(list(folder.glob("a-*")))
        while process.poll() is None and len(list(folder.glob("a-*"))) == count:
            time.sleep(0.0005)
        time.sleep(randomly.uniform(0, 0.002))
        process.kill()
        process.wait()
        process.stdout.close()
        for path in folder.glob("a-*"):
            assert publish.load(path, deep=True).path == path
        assert publish.current(folder, "a").fingerprint == current.fingerprint
    assert 1 < len(list(folder.glob("a-*"))) < before, "killed on the way"
    subprocess.run([sys.executable, "-c", CODE, str(tmp_path / "town")], check=True, stdout=subprocess.DEVNULL)
    assert sorted(path.name for path in folder.iterdir() if path.name != ".a.lock") == sorted(
        ["a", current.path.name, f".{current.path.name}.cost.json"]
    )
