"""What processes of other nodes tell Dagster, through a file that is opened anew at each look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assets import launcher


class Channel:
    """Stands in for Dagster's handler."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def handle_message(self, message: Any) -> None:
        """Keeps a message."""
        self.messages.append(message)


@pytest.mark.parametrize("poll", [0.001, 1000.0], ids=["while it works", "when it has ended"])
def test_each_message_is_passed_on_once_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poll: float) -> None:
    monkeypatch.setattr(launcher, "POLL_S", poll)
    path, received = tmp_path / "messages.jsonl", Channel()
    messages = [{"method": "log", "params": {"message": f"Größe\n{i}"}} for i in range(200)]
    with launcher.WholeLines(path).read_messages(received) as parameters:  # type: ignore[arg-type]
        assert parameters == {"path": str(path)}
        for message in messages:
            text = json.dumps(message, ensure_ascii=False) + "\n"
            with path.open("a", encoding="utf-8") as file:
                file.write(text[:20])
                file.flush()
                file.write(text[20:])
    assert received.messages == messages


def test_what_a_killed_process_left_unfinished_is_left_out(tmp_path: Path) -> None:
    path, received = tmp_path / "messages.jsonl", Channel()
    with launcher.WholeLines(path).read_messages(received):  # type: ignore[arg-type]
        path.write_text('{"method": "opened"}\n{"method": "lo')
    assert received.messages == [{"method": "opened"}]
