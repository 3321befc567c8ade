"""Backups that are not to be trusted, that were cut, or that meet what is there already."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from landcover_orch.errors import PublishError
from landcover_orch.store import backup


def archive(path: Path, members: dict[str, str], links: dict[str, str] | None = None) -> Path:
    """A tar file that says it is a backup."""
    count = len(members) + len(links or {})
    last = {backup.LAST: json.dumps({"format": backup.FORMAT, "files": count})}
    with tarfile.open(path, "w") as tar:
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
        for name, text in (members | last).items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target" / "home"


@pytest.mark.parametrize(
    ("members", "links"),
    [
        ({"home/../../../evil": "x"}, {}),
        ({"home/a": "x"}, {"home/link": "/etc/passwd"}),
        ({"home/a": "x"}, {"home/link": "../../../evil"}),
    ],
)
def test_a_file_that_leaves_the_home_is_refused(
    target: Path, tmp_path: Path, members: dict[str, str], links: dict[str, str]
) -> None:
    with pytest.raises(PublishError, match="expected a backup that `landcover backup` wrote"):
        backup.restore(archive(tmp_path / "a.tar", members, links), target, tmp_path / "configs")
    assert not list(target.parent.iterdir())
    assert not (tmp_path / "evil").exists()


def test_any_other_file_is_refused(target: Path, tmp_path: Path) -> None:
    for content in (b"", b"no tar file", b"x" * 20000):
        (tmp_path / "a.tar").write_bytes(content)
        with pytest.raises(PublishError, match="expected a backup"):
            backup.restore(tmp_path / "a.tar", target, tmp_path / "configs")


def test_a_backup_that_is_not_there_is_answered_with_the_newest_of_its_folder(target: Path, tmp_path: Path) -> None:
    with pytest.raises(PublishError, match=r"none.tar: no such file; expected a backup.* Fix: name the .tar file"):
        backup.restore(tmp_path / "none.tar", target, tmp_path / "configs")
    for month in ("03", "01"):
        archive(tmp_path / f"landcover-2027{month}01T030000Z.tar", {"home/a": "x"})
    newest = rf"Fix: landcover restore {tmp_path}/landcover-20270301T030000Z\.tar"
    for place, actual in ((tmp_path / "none.tar", "no such file"), (tmp_path, "a folder")):
        with pytest.raises(PublishError, match=rf"{place}: {actual}; .*{newest}"):
            backup.restore(place, target, tmp_path / "configs")
    assert not target.parent.exists(), "nothing is made"


def test_what_an_interrupted_restore_left_is_replaced_and_own_configurations_stay(target: Path, tmp_path: Path) -> None:
    configs = tmp_path / "configs"
    (configs / "datasets").mkdir(parents=True)
    (configs / "datasets" / "mine.yaml").write_text("changed since")
    (target.parent / ".home.restored" / "home").mkdir(parents=True)
    (target.parent / ".home.restored" / "home" / "half").touch()
    members = {"home/a": "x", "configs/datasets/mine.yaml": "as it was", "configs/legends/new.yaml": "new"}
    members["configs/code/mine/networks.py"] = "new"
    result = backup.restore(archive(tmp_path / "a.tar", members, {"home/link": "a"}), target, configs)
    assert (result.files, result.differing) == (5, ("datasets/mine.yaml",))
    assert result.configs == ("code/mine/networks.py", "legends/new.yaml")
    assert sorted(path.name for path in target.iterdir()) == ["a", "link"]
    assert [path.name for path in target.parent.iterdir()] == ["home"]
    assert (configs / "datasets" / "mine.yaml").read_text() == "changed since"


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    folder = tmp_path / "no where"
    with pytest.raises(PublishError, match=f"{folder}: no such folder; .* Fix: mkdir -p '{folder}', or name another"):
        backup.back_up(folder / "a.tar", home, home / "dagster", tmp_path / "configs")
    with pytest.raises(
        PublishError, match=r"a\.tar: .*[a-z]; expected a backup. Fix: choose a folder that can be written"
    ):
        backup.back_up(Path("/proc/a.tar"), home, home / "dagster", tmp_path / "configs")
    with pytest.raises(PublishError, match="expected a home to back up"):
        backup.back_up(tmp_path / "a.tar", tmp_path / "none", home, tmp_path / "configs")


def test_code_among_the_configurations_comes_back_with_them(target: Path, tmp_path: Path) -> None:
    """Text alone: what an interpreter or an editor left beside it is made anew."""
    home, configs = tmp_path / "first", tmp_path / "configs"
    home.mkdir()
    for name in ("datasets/mine.yaml", "code/mine/networks.py", "code/single.py", "code/mine/__pycache__/n.pyc"):
        (configs / name).parent.mkdir(parents=True, exist_ok=True)
        (configs / name).write_text(name)
    backup.back_up(tmp_path / "a.tar", home, home / "dagster", configs)
    result = backup.restore(tmp_path / "a.tar", target, tmp_path / "elsewhere")
    assert result.configs == ("code/mine/networks.py", "code/single.py", "datasets/mine.yaml")
    assert (tmp_path / "elsewhere/code/mine/networks.py").read_text() == "code/mine/networks.py"
