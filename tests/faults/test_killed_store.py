"""A patch store whose writer is killed: nothing under its name, then the same bytes as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patches.fields import LEGEND, Fields, write_fields

WRITER = """
import os, signal, sys
from pathlib import Path
from landcover_orch import compute
from landcover_orch.config import Dataset
from landcover_orch.patches import store, write
from landcover_orch.store.publish import Stage
from landcover_orch.tiles.catalogue import tiles
from tests.patches.fields import LEGEND

place, count = sys.argv[3], int(sys.argv[4])
dataset = Dataset.model_validate_json(Path(sys.argv[1]).read_text())
write.RUN_ROWS = 20
compute.workers = lambda: 1
holder, name = {
    "write": (write, "write_shard"),
    "mark": (Stage, "mark"),
    "create": (store, "create"),
    "json": (Stage, "write_json"),
}[place]
plain = getattr(holder, name)

def killed(*given, **named):
    global count
    count -= 1
    if count < 0:
        if place == "write":
            half = given[3][: len(given[3]) // 2]
            plain(given[0], given[1], given[2], half)
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(*given, **named)

setattr(holder, name, killed)
write.build(dataset, LEGEND, tiles(dataset)[0], Path(sys.argv[2]))
"""


@pytest.mark.parametrize(
    ("place", "count"), [("create", 0), ("mark", 0), ("write", 0), ("write", 3), ("mark", 2), ("mark", 4), ("json", 0)]
)
def test_a_killed_writer_leaves_nothing_and_is_taken_up(tmp_path: Path, home: Path, place: str, count: int) -> None:
    fields = write_fields(tmp_path / "raw", home, names=("a",))
    calm = Fields(fields.dataset, tmp_path / "calm").cut()
    from landcover_orch.ground_truth import build as truth

    truth.build(fields.dataset, LEGEND, fields.tiles[0], home)
    config = tmp_path / "dataset.json"
    config.write_text(fields.dataset.model_dump_json())
    command = [sys.executable, "-c", WRITER, str(config), str(home), place, str(count)]
    ended = subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert ended.returncode == -signal.SIGKILL
    folder = home / "fields" / "patches"
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []
    before = written(folder)
    product = fields.cut()
    assert product.files == calm.files
    assert all(stamp == (product.path / name).stat().st_mtime_ns for name, stamp in before.items())


def written(folder: Path) -> dict[str, int]:
    """Shards that the journal calls finished, with their times: they must not be written again."""
    from landcover_orch.store.publish import Stage

    partial = folder / ".a.partial"
    stage = Stage(partial)
    shards = [path for path in partial.rglob("c.*") if path.parent.name in ("image", "label")]
    parts = {f"shard {path.name.split('.')[1]}": path for path in shards}
    return {
        path.relative_to(partial).as_posix(): path.stat().st_mtime_ns
        for part, path in parts.items()
        if stage.done(part)
    }
