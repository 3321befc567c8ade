"""A product of two files, and the ways in which it is damaged."""

from __future__ import annotations

import json
from collections.abc import Callable

from landcover_orch.store.publish import MANIFEST, Product, Stage


def writes(text: str, calls: list[str] | None = None) -> Callable[[Stage], None]:
    """A build of two files."""

    def build(stage: Stage) -> None:
        if calls is not None:
            calls.append(text)
        (stage.path / "store").mkdir(exist_ok=True)
        (stage.path / "store/0").write_text(text)
        stage.write_json("summary.json", {"text": text})

    return build


def inflict(product: Product, damage: str) -> None:
    """Damages a product that `writes("xyz")` built."""
    manifest = product.file(MANIFEST)
    match damage:
        case "missing":
            product.file("store/0").unlink()
        case "shorter":
            product.file("store/0").write_text("xy")
        case "extra bytes":
            product.file("store/0").write_text("xyz and more")
        case "manifest gone":
            manifest.unlink()
        case "manifest cut":
            manifest.write_bytes(manifest.read_bytes()[:100])
        case "schema":
            manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema": 1}))
        case _:
            raise ValueError(damage)
