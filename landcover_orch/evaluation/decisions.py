"""Promotion history: who or what made which model champion, when and why; a line a decision, never changed."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from landcover_orch.errors import LandcoverError, Problem, PromotionError
from landcover_orch.store.locks import locked
from landcover_orch.store.products import CHAMPION, MODEL, SUMMARY, folder
from landcover_orch.store.publish import MANIFEST, Product, current, load

FILE = "decisions.jsonl"


class Champion(BaseModel):
    """Champion model and its score on named test tiles."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: str
    model: str = Field(description="folder of the model's product, relative to LANDCOVER_HOME")
    fingerprint: str = Field(description="of the model's product")
    data_digest: str = Field(description="digest of the manifest it was trained on")
    test_digest: str = Field(description="of the test tiles and labels of the score")
    mean_iou: float = Field(description="on those tiles, over the classes that occur there")

    @property
    def name(self) -> str:
        """Experiment and fingerprint of the training: two experiments may be the same training."""
        return Path(self.model).name

    def is_among(self, passed_over: Collection[str]) -> bool:
        """Whether a person passed it over; earlier decisions name a training whatever its experiment."""
        return self.name in passed_over or self.fingerprint in passed_over

    def product(self, home: Path) -> Product:
        """The model itself.

        Raises:
            IncompleteError: it is no longer there, or damaged.
        """
        return load(home / self.model)


class Decision(BaseModel):
    """A decision on the champion of a dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: str = Field(description="time in UTC, ISO 8601")
    by: Literal["rule", "person"]
    user: str | None = Field(default=None, description="who, where that is known")
    champion: Champion
    previous: str | None = Field(default=None, description="fingerprint of the champion before; None: there was none")
    reason: str
    election: str = Field(default="", description="digest of what the rule compared; empty for a person's")
    passed_over: tuple[str, ...] = Field(default=(), description="names of the models a person did not choose")
    challenger: Champion | None = Field(default=None, description="the model that waits for a person's hand")

    @property
    def decider(self) -> str:
        """Who or what decided, in words."""
        return "the rule" if self.by == "rule" else self.user or "a person"


def present_decision(dataset: str, home: Path) -> Decision | None:
    """The last decision on a dataset's champion, by the person whose choice the rule only confirmed since.

    Raises:
        PromotionError: a line is damaged; all of them are named.
    """
    history = load_decisions(dataset, home)
    return attributed(history) if history else None


def attributed(history: Sequence[Decision]) -> Decision:
    """The last of some decisions; with the date and name of the person whose choice the rule only confirmed since."""
    last = history[-1]
    of_champion = takewhile(lambda decision: decision.champion.name == last.champion.name, reversed(history))
    person = next((decision for decision in of_champion if decision.by == "person"), last)
    return last.model_copy(update={"at": person.at, "by": person.by, "user": person.user})


def champion_words(decision: Decision, contents: Mapping[str, Any]) -> str:
    """The champion's experiment; that it is an earlier training of it than the one that its report scores.

    Args:
        decision: on the champion.
        contents: experiment -> contents of its report.
    """
    elected = decision.champion
    reported = contents.get(elected.experiment, {}).get("models", {}).values()
    earlier = ", an earlier training of it" if reported and elected.fingerprint not in reported else ""
    return f"{elected.experiment}{earlier}"


def load_decisions(dataset: str, home: Path) -> list[Decision]:
    """The decisions on a dataset's champion, the oldest first; a last line that a kill cut short does not count.

    Where their file is lost, the one that the present champion's own files hold.

    Raises:
        PromotionError: a line is damaged; all of them are named.
    """
    path = folder(home, dataset, CHAMPION) / FILE
    if not path.is_file():
        present = decision_of_champion(dataset, home)
        return [present] if present else []
    *lines, _ = path.read_text(encoding="utf-8", errors="replace").split("\n")
    decisions = [(number, line, _parsed(line)) for number, line in enumerate(lines, 1) if line.strip()]
    fix = "restore the file from a backup, or delete the line: then what it decided counts no more"
    torn = [
        Problem(f"{path}, line {number}", repr(line[:60]), "a decision", fix)
        for number, line, decision in decisions
        if decision is None and not _was_cut(line)
    ]
    if torn:
        raise PromotionError(*torn)
    return [decision for _, _, decision in decisions if decision is not None]


def is_lost(dataset: str, home: Path) -> bool:
    """Whether somebody was elected, and the file of decisions is not there."""
    where = folder(home, dataset, CHAMPION)
    return not (where / FILE).is_file() and (where / CHAMPION).exists()


def decision_of_champion(dataset: str, home: Path) -> Decision | None:
    """The decision that the product `champion` was made by; None where there is none, or one without it.

    Of a person's choice all models count as passed over that were there before it.
    """
    where = folder(home, dataset, CHAMPION)
    try:
        facts = current(where, CHAMPION).json(SUMMARY)
        champion = {name: facts.pop(name) for name in Champion.model_fields}
        decision = Decision.model_validate({**facts, "champion": champion})
    except (LandcoverError, KeyError, ValidationError):
        return None
    if decision.by == "rule":
        return decision
    decided = datetime.fromisoformat(decision.at).timestamp()
    models = (path.parent for path in (home / dataset / MODEL).glob(f"[!.]*-*/{MANIFEST}"))
    earlier = (path for path in models if not path.is_symlink() and (path / MANIFEST).stat().st_mtime <= decided)
    return decision.model_copy(
        update={"passed_over": tuple(sorted({p.name for p in earlier} - {decision.champion.name}))}
    )


def _was_cut(line: str) -> bool:
    """Whether a line begins as a decision does: the next one was written behind what a kill left of it."""
    return line.startswith('{"at": ') and not line.endswith("}")


def _parsed(line: str) -> Decision | None:
    try:
        return Decision.model_validate_json(line) if line.strip() else None
    except ValidationError:
        return None


def record(dataset: str, decision: Decision, home: Path) -> None:
    """Appends a decision, on disk before it returns."""
    path = folder(home, dataset, CHAMPION) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    former = decision_of_champion(dataset, home) if is_lost(dataset, home) else None
    with locked(path) as file:
        file.seek(0)
        text = file.read()
        torn = "\n" if text and not text.endswith("\n") else ""
        recovered = [former] if former and not text else []
        lines = [json.dumps(entry.model_dump(mode="json"), sort_keys=True) for entry in (*recovered, decision)]
        file.write(torn + "\n".join(lines) + "\n")
        file.flush()
        os.fsync(file.fileno())
