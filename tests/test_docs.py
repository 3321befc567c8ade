"""The documentation: what it names is there, what there is it names, generated pages and schemas are current."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
import yaml
from shapely.geometry import box

from assets import cli
from landcover_orch import config
from landcover_orch.config.yamlfile import read_yaml
from tests import scenes
from tests.json_schema import invalid
from tools import generate_docs
from tools.generate_docs import KINDS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MOST_BYTES = 6_000
"""Size of the README: more belongs to the documentation."""

EXAMPLES = {"configs/datasets/galicia.yaml", "configs/legends/galicia.yaml"}
"""Files that `landcover init` writes where a reader follows the chapter on one's own data."""

FILES = {
    "csv",
    "gpkg",
    "html",
    "json",
    "jsonl",
    "md",
    "npz",
    "parquet",
    "png",
    "py",
    "safetensors",
    "tif",
    "yaml",
    "zarr",
}
"""Endings of files, which are no keys."""

FREE = {"arguments", "codes", "environment", "matrix", "overrides", "predefined", "space"}
"""Keys whose own keys are a person's."""

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def all_text() -> str:
    return "\n".join(text(page) for page in PAGES)


def fences(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)


def code(page: Path) -> list[str]:
    """Code spans of a page, and the lines of its blocks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(
        r"^    (.*)", text(page), re.MULTILINE
    )
    return re.findall(r"`([^`\n]+)`", text(page)) + lines


@cache
def key_paths() -> frozenset[str]:
    """Dotted paths of every configuration key, without marks of lists; NAME stands for a person's own."""
    paths = set()
    for model, _ in KINDS.values():
        for heading, part in [("", model), *generate_docs.sections(model)]:
            base = heading.partition(":")[0].replace("[]", "")
            paths |= {f"{base}.{key}".strip(".") for key in part.model_fields}
    return frozenset(paths)


@cache
def outputs() -> dict[Path, str]:
    return generate_docs.outputs()


def test_the_readme_is_a_front_page() -> None:
    assert len(README.read_bytes()) <= MOST_BYTES


@every_page
def test_every_test_it_names_exists(page: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)", text(page))
    assert [f"{file}::{name}" for file, name in named if f"def {name}(" not in text(ROOT / file)] == []


def test_the_five_systems_name_their_tests() -> None:
    assert len(set(re.findall(r"`tests/[\w/]+\.py::\w+", text(ROOT / "docs/evidence/five-systems.md")))) > 80


@every_page
def test_every_file_and_folder_it_names_exists(page: Path) -> None:
    paths = set(re.findall(r"`((?:tests|tools|landcover_orch|assets|configs|docs)/[\w./-]*)`", text(page)))
    assert [path for path in sorted(paths - EXAMPLES) if not (ROOT / path).exists()] == []


@every_page
def test_every_configuration_it_names_exists(page: Path) -> None:
    named = re.findall(r"`(datasets|studies|experiments|legends|searches|launchers)/([\w-]+)`", text(page))
    assert [f"{kind}/{name}" for kind, name in named if not (ROOT / "configs" / kind / f"{name}.yaml").is_file()] == []


def test_every_picture_is_shown() -> None:
    shown = set(re.findall(r"pictures/([\w-]+\.(?:png|svg))\)", all_text()))
    assert sorted(path.name for path in (ROOT / "docs/pictures").iterdir()) == sorted(shown)


@every_page
def test_every_key_it_names_exists(page: Path) -> None:
    roots = {path.partition(".")[0] for path in key_paths()}
    spans = [
        re.sub(r"<[\w-]+>", "NAME", span) for span in re.findall(r"`([a-z_]+(?:\.[\w<>-]+)+)(?::[^`]*)?`", text(page))
    ]
    named = [span for span in spans if span.partition(".")[0] in roots and span.rpartition(".")[2] not in FILES]
    assert [span for span in named if span not in key_paths()] == []


@every_page
def test_every_key_of_its_examples_exists(page: Path) -> None:
    known = {part for path in key_paths() for part in path.split(".")} | {"matrix"}

    def unknown(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key not in known:
                    yield str(key)
                elif key not in FREE:
                    yield from unknown(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from unknown(inner)

    assert [key for block in fences(page, "yaml") for key in unknown(yaml.safe_load(block))] == []


def test_every_key_and_asset_is_named() -> None:
    spans = set(re.findall(r"`([\w.]+)`", all_text()))
    keys = {path.rpartition(".")[2] for path in key_paths()}
    assets = {
        path.removeprefix("## ") for path in text(ROOT / "docs/reference/assets.md").splitlines() if path[:3] == "## "
    }
    assert (keys | assets - {"Jobs and sensors"}) - spans == set()
    assert assets - {"Jobs and sensors"} == set(generate_docs.shown_items())


@every_page
def test_every_command_it_names_exists(page: Path) -> None:
    group = typer.main.get_command(cli.app)
    options: dict[str, set[str]] = {}
    for name, command in generate_docs.commands(group):
        words = name.split()
        if len(words) > 1:
            options.setdefault(words[1], {"--help"}).update(o for p in command.params for o in p.opts)
    wrong = []
    for line in code(page):
        for name, rest in re.findall(r"(?:^|[\s/])landcover ([a-z]+)([^;|#&]*)", line):
            given = set(re.findall(r"(?<=\s)--[a-z-]+", rest))
            if name not in options or given - options[name]:
                wrong.append(line)
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    wrong += [line for line in code(page) for target in re.findall(r"^make ([a-z-]+)", line) if target not in targets]
    assert wrong == []


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", text(page), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(#[^)\s]*)?\)", prose):
        if target.startswith(("http:", "https:")):
            continue
        path = (page.parent / target).resolve() if target else page
        titles = re.findall(r"^#+ (.+)$", text(path), re.MULTILINE) if anchor else []
        if not path.is_file() or (anchor and anchor[1:] not in map(generate_docs.anchor, titles)):
            broken.append(target + anchor)
    assert broken == []


def test_every_page_is_in_the_navigation() -> None:
    settings = yaml.safe_load(text(ROOT / "mkdocs.yml"))

    def leaves(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for inner in entry.values() if isinstance(entry, dict) else entry:
                yield from leaves(inner)

    pages = {page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert sorted(leaves(settings["nav"])) == sorted(pages)


def test_generated_pages_and_schemas_are_current() -> None:
    stale = [str(path) for path, made in outputs().items() if text(ROOT / path) != made]
    assert stale == [], "run `make docs`, or python -m tools.generate_docs"
    folders = ("docs/reference/api", "docs/reference/configuration", "configs/schemas")
    there = {path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).iterdir()}
    assert there - set(outputs()) == set()


def configurations() -> list[tuple[str, Path]]:
    folders = {folder: kind for kind, (_, folder) in KINDS.items()} | {"studies": "dataset"}
    return [
        (kind, path) for folder, kind in folders.items() for path in sorted((ROOT / "configs" / folder).glob("*.yaml"))
    ]


@pytest.mark.parametrize(("kind", "path"), configurations(), ids=lambda value: getattr(value, "stem", value))
def test_a_shipped_file_names_its_schema_and_is_valid_by_it(kind: str, path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith(f"# yaml-language-server: $schema=../schemas/{kind}.json\n")
    schema = json.loads(text(ROOT / "configs/schemas" / f"{kind}.json"))
    assert list(invalid(read_yaml(path), schema, schema.get("$defs", {}))) == []


def test_an_unknown_key_and_a_wrong_value_are_invalid() -> None:
    schema = json.loads(text(ROOT / "configs/schemas/experiment.json"))

    def problems(**keys: object) -> list[str]:
        return list(invalid({"name": "x", **keys}, schema, schema["$defs"]))

    assert problems(model="unet", loss="dice", optimiser={"name": "sgd", "lr": "auto"}) == []
    assert problems(model={"name": "unet", "widht": 8})
    assert problems(model="unett")
    assert problems(model="unet", epochs="many")
    assert problems(model="unet", rate=0.1)
    assert problems() == [": none of anyOf"]


@pytest.mark.parametrize("page", [README, ROOT / "docs/tutorial/own-data.md"], ids=["readme", "tutorial"])
def test_the_commands_for_ones_own_data_run_as_they_stand(
    page: Path, configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = scenes.ORIGIN
    noise = np.random.default_rng(0).integers(1, 250, (3, 128, 128)).astype(np.uint8)
    scenes.write_geotiff(tmp_path / "h0094.tif", noise)
    stripes = [(box(x, y - row - 8, x + 128, y - row), row % 16) for row in range(0, 128, 8)]
    scenes.write_polygons(tmp_path / "h0094.gpkg", stripes)
    commands = re.findall(r"^ *\.venv/bin/(landcover (?:init|check) .*)$", text(page), re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert cli.main(shlex.split(command.replace("/data/galicia", str(tmp_path)))[1:]) == 0
    assert "galicia: 1 tile, 0 problems" in capsys.readouterr().out
    drafted = {path.relative_to(configs.parent).as_posix(): path for path in configs.glob("[dl]*/galicia.yaml")}
    assert set(drafted) == EXAMPLES
    for path in drafted.values():
        schema = re.match(r"# yaml-language-server: \$schema=(.*)\n", path.read_text(encoding="utf-8"))
        assert schema is not None
        assert Path(schema[1]) == config.shipped_configs() / "schemas" / Path(schema[1]).name
        assert Path(schema[1]).is_file(), "absolute, as these configurations lie elsewhere"


def test_a_study_that_is_added_names_a_schema_that_is_there(configs: Path) -> None:
    first = config.add_study("vaihingen").read_text(encoding="utf-8").partition("\n")[0]
    assert Path(first.partition("=")[2]).is_file()


def test_schemas_among_ones_own_configurations_are_named_relatively(configs: Path) -> None:
    (configs / "schemas").mkdir()
    (configs / "schemas/dataset.json").write_text("{}")
    assert config.schema_line("dataset") == "# yaml-language-server: $schema=../schemas/dataset.json\n"
