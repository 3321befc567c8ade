"""Pages of a dataset with 150 tiles in a browser, as they are served: phone, paper, keyboard, contrast, dark."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from assets.files import HEADERS
from landcover_orch import config
from landcover_orch.evaluation import leaderboard
from landcover_orch.ground_truth import build as ground_truth
from landcover_orch.overview import index
from landcover_orch.overview.index import State
from landcover_orch.patches import dataset as manifests
from landcover_orch.patches import write as patches
from landcover_orch.tiles import catalogue
from tests import tiny
from tests.evaluation.scored import scored

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path")]

TILES, SITE = 150, "http://pages.test"
PHONE, PAPER = 390, 1047
"""Width of a telephone, and of a sheet of A4 across less its margins, in CSS pixels."""

REPORT, BOARD = "scored/report/small/index.html", "scored/leaderboard/leaderboard/index.html"
PAGES = ("scored/index.html", "index.html", REPORT, BOARD, "tiny/dataset_manifest/dataset/index.html")

UNREADABLE = """() => {
 const parse = text => (text.match(/[\\d.]+/g) || []).map(Number)
 const linear = value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
 const luminance = rgb => {
  const [red, green, blue] = rgb.slice(0, 3).map(value => linear(value / 255))
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
 }
 const surface = node => {
  for (; node; node = node.parentElement) {
   const colour = parse(getComputedStyle(node).backgroundColor)
   if (colour.length === 3 || colour[3] > 0) return colour
  }
  return [255, 255, 255]
 }
 const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), faint = new Set()
 while (walker.nextNode()) {
  const node = walker.currentNode.parentElement, text = walker.currentNode.data.trim()
  if (!text || ["SCRIPT", "STYLE"].includes(node.tagName)) continue
  const colour = getComputedStyle(node).color
  const [low, high] = [luminance(parse(colour)), luminance(surface(node))].sort((a, b) => a - b)
  if ((high + 0.05) / (low + 0.05) < 4.5) faint.add(`${node.tagName} ${colour}: ${text.slice(0, 40)}`)
 }
 return [...faint]
}"""


def many_tiles(home: Path) -> None:
    """A report and a leaderboard on 150 test tiles, of which some are mapped worse than others."""
    rng = np.random.default_rng(0)
    truth = {f"t{i:03}": rng.integers(0, 3, (16, 16)).astype(np.uint8) for i in range(TILES)}
    maps = {
        name: np.where(rng.random(classes.shape) < 0.5 + 0.4 * i / TILES, classes, 0).astype(np.uint8)
        for i, (name, classes) in enumerate(truth.items())
    }
    scene = scored(home, truth, maps, minor=("water",))
    report = scene.report()
    reports, models = {"small": report, "other": report}, {name: {"small": scene.model} for name in ("small", "other")}
    leaderboard.build(scene.manifest, reports, models, home, failed={"wild": "diverged at epoch 1"}, competition=True)


def few_tiles(home: Path, configs: Path, raw: Path) -> None:
    """The manifest of a few tiles, with pixels of all splits."""
    dataset = tiny.write(configs, raw)
    legend, tiles = config.load_legend(dataset.legend), catalogue.tiles(dataset)
    for tile in tiles:
        ground_truth.build(dataset, legend, tile, home)
        patches.build(dataset, legend, tile, home)
    manifests.build(dataset, legend, tiles, home)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with both datasets and their index pages as files."""
    root = tmp_path_factory.mktemp("pages")
    for kind in ("datasets", "legends", "experiments"):
        (root / "configs" / kind).mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANDCOVER_HOME", str(root / "home"))
        patch.setenv("LANDCOVER_CONFIGS", str(root / "configs"))
        patch.setenv("LANDCOVER_DATASETS", "scored,tiny")
        few_tiles(root / "home", root / "configs", root / "raw")
        many_tiles(root / "home")
        for name in ("tiny", "scored"):
            index.write_pages(root / "home", name, lambda _: State(False, "3 products are stale"))
        yield root / "home"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a window."""
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def opened(browser: Any, home: Path, path: str, width: int = 1400, **context: Any) -> Any:
    """A page with the headers that Dagster's webserver sends; whatever its script throws fails the test."""
    tab = browser.new_page(viewport={"width": width, "height": 900}, **context)
    tab.errors = []
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))

    def answer(route: Any) -> None:
        file = home / urlsplit(route.request.url).path.lstrip("/")
        route.fulfill(body=file.read_bytes(), headers={**HEADERS, "Content-Type": "text/html; charset=utf-8"})

    tab.route(f"{SITE}/**", answer)
    tab.goto(f"{SITE}/{path}")
    assert tab.errors == []
    return tab


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [PHONE, 1400])
def test_no_page_scrolls_sideways(browser: Any, home: Path, path: str, width: int) -> None:
    tab = opened(browser, home, path, width)
    tab.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    assert tab.evaluate("document.scrollingElement.scrollWidth") <= width
    tab.close()


@pytest.mark.parametrize("path", PAGES)
def test_paper_keeps_every_column_and_colour(browser: Any, home: Path, path: str) -> None:
    tab = opened(browser, home, path, PAPER)
    tab.emulate_media(media="print", color_scheme="dark")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate("document.scrollingElement.scrollWidth") <= PAPER
    cells = "[...document.querySelectorAll('th, td')].map(cell => cell.getBoundingClientRect())"
    assert tab.evaluate(f"{cells}.every(box => box.width > 0 && box.right <= {PAPER} + 1)"), "folded or cut off"
    style = "getComputedStyle(document.querySelector('h1, td, .swatch')).printColorAdjust"
    assert tab.evaluate(style) == "exact"
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert path != REPORT or tab.evaluate("document.querySelectorAll('details:not([open])').length > 0")
    tab.close()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_can_be_read(browser: Any, home: Path, path: str, scheme: str) -> None:
    tab = opened(browser, home, path, color_scheme=scheme)
    assert tab.evaluate(UNREADABLE) == []
    light = tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (scheme == "light")
    tab.close()


def focus(tab: Any, name: str) -> None:
    """Presses Tab until a column's head of that name has the focus, in the main table of its page."""
    focused = "document.activeElement.tagName === 'BUTTON' && document.activeElement.textContent"
    for _ in range(200):
        tab.keyboard.press("Tab")
        if tab.evaluate(focused) == name:
            return
    pytest.fail(f"no sorter {name!r} is reached by the keyboard")


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_keyboard_reaches_the_sorters(browser: Any, home: Path, key: str) -> None:
    tab = opened(browser, home, BOARD)
    first = "document.querySelector('.board tbody tr td').innerText.split('\\n')[0]"
    before = tab.evaluate(first)
    focus(tab, "mean IoU")
    tab.keyboard.press(key)
    assert tab.evaluate(first) == before
    tab.keyboard.press(key)
    assert tab.evaluate(first) != before
    assert tab.locator(".board thead th[aria-sort]").count() == 1
    head = tab.get_by_role("columnheader", name="mean IoU").first
    assert head.get_attribute("aria-sort") == "ascending"
    assert tab.locator("[aria-live=polite]").inner_text() == "Sorted by mean IoU, ascending"
    tab.close()


def test_of_150_tiles_the_worst_are_drawn_and_named_and_the_table_is_folded_and_sorted(
    browser: Any, home: Path
) -> None:
    tab = opened(browser, home, REPORT)
    headings = tab.locator("h2").all_inner_texts()
    assert headings.index("Maps: the worst 4 of 150 tiles") < headings.index("Tiles") < headings.index("Classes")
    table = tab.locator("#tiles ~ details table").first
    assert not table.is_visible()
    tab.locator("summary", has_text="150 tiles").focus()
    tab.keyboard.press("Enter")
    assert table.is_visible()
    focus(tab, "mean IoU")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Enter")
    rows = table.locator("tbody tr td:first-child").all_inner_texts()
    drawn = [text.split()[1].rstrip(",:") for text in tab.locator("#maps ~ figure figcaption").all_inner_texts()]
    assert list(dict.fromkeys(drawn)) == rows[:4]
    assert len(rows) == TILES
    assert "the worst of 150" in tab.locator("#maps ~ figure figcaption").first.inner_text()
    assert tab.locator("tfoot th").first.inner_text() == "pooled", "which no sorting moves"
    tab.close()


def test_boxes_that_scroll_are_reached_by_the_keyboard(browser: Any, home: Path) -> None:
    tab = opened(browser, home, BOARD, PHONE)
    box = tab.locator(".wide:has(.board)")
    assert box.get_attribute("tabindex") == "0"
    assert box.get_attribute("role") == "region"
    assert box.get_attribute("aria-label")
    tab.close()


LINKS = {
    REPORT: {
        "report small in Dagster": "/assets/scored/report?view=partitions&partition=small",
        "registered model in MLflow": "/go/mlflow/models/scored",
    },
    BOARD: {
        "leaderboard in Dagster": "/assets/scored/leaderboard",
        "registered model in MLflow": "/go/mlflow/models/scored",
    },
    "tiny/dataset_manifest/dataset/index.html": {"dataset_manifest in Dagster": "/assets/tiny/dataset_manifest"},
}


@pytest.mark.parametrize("path", LINKS)
def test_served_pages_link_to_dagster_and_mlflow_and_files_do_not(browser: Any, home: Path, path: str) -> None:
    served = opened(browser, home, path)
    links = served.locator("nav.links a:visible")
    shown = {link.inner_text().removesuffix(" ↗"): link.get_attribute("href") for link in links.all()}
    training = shown.pop("training run of small in MLflow", None)
    assert shown == LINKS[path]
    assert (training is not None) == (path == REPORT)
    served.close()
    file = browser.new_page()
    file.goto((home / path).as_uri())
    assert file.locator("nav.links a").count() == len(LINKS[path]) + (path == REPORT)
    assert file.locator("nav.links a:visible").count() == 0
    file.close()


def test_a_link_opens_a_tab_with_all_rights_of_a_page_opened_by_hand(browser: Any, home: Path) -> None:
    context = browser.new_context()
    html, site = "text/html; charset=utf-8", "<script>localStorage.setItem('a', 'b')</script>"
    context.route(f"{SITE}/assets/**", lambda route: route.fulfill(body=site, content_type=html))
    body, headers = (home / REPORT).read_bytes(), {**HEADERS, "Content-Type": html}
    context.route(f"{SITE}/pages/**", lambda route: route.fulfill(body=body, headers=headers))
    tab = context.new_page()
    tab.goto(f"{SITE}/pages/{REPORT}")
    assert tab.evaluate("window.origin") == "null", "the page itself has no rights"
    with context.expect_page() as opened_tab:
        tab.get_by_text("report small in Dagster").click()
    opened_tab.value.wait_for_load_state()
    assert opened_tab.value.url == f"{SITE}/assets/scored/report?view=partitions&partition=small"
    assert opened_tab.value.evaluate("localStorage.getItem('a')") == "b"
    assert opened_tab.value.evaluate("window.opener") is None
    context.close()
