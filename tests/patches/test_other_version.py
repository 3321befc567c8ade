"""A manifest that an earlier version wrote is told as such, and never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from landcover_orch.errors import IncompleteError
from landcover_orch.patches import manifest as manifests


def test_a_manifest_with_other_keys_is_told_with_its_fix(tmp_path: Path) -> None:
    content = {"dataset": {"automation": {"retrain": "0 3 * * 0"}}, "tiles": []}
    (tmp_path / manifests.FILE).write_text(json.dumps(content))
    with pytest.raises(IncompleteError, match=r"another version .*materialise the asset `dataset_manifest` again"):
        manifests.load(tmp_path)
