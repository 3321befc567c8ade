"""A person's browser: Debian's Chromium driven by Playwright, which looks, clicks and takes screenshots."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE_MS = 60_000


class Browser:
    """One window; its screenshots lie in a folder, numbered."""

    def __init__(self, context: Any, folder: Path) -> None:
        self.context, self.folder, self.page = context, folder, context.new_page()
        self.errors: list[str] = []
        context.set_default_timeout(PATIENCE_MS)
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, url: str) -> None:
        """Opens an address."""
        self.page.goto(url)

    def click(self, text: str, *, role: str = "button", exact: bool = False) -> None:
        """Clicks what is called so."""
        self.page.get_by_role(role, name=text, exact=exact).first.click()

    def see(self, text: str) -> None:
        """Waits until the page shows a text."""
        self.page.get_by_text(text).first.wait_for()

    def new_tab(self, text: str) -> Any:
        """Clicks a link that opens a tab; gives that tab's page, loaded."""
        with self.context.expect_page() as tab:
            self.page.get_by_text(text).first.click()
        tab.value.wait_for_load_state()
        return tab.value

    def picture(self, name: str, page: Any = None) -> None:
        """Takes a screenshot."""
        (page or self.page).screenshot(path=self.folder / f"{name}.png")


@contextmanager
def opened(folder: Path) -> Iterator[Browser]:
    """A browser that is closed again; the last thing that it showed is kept where a test fails."""
    api = pytest.importorskip("playwright.sync_api", reason="the wheel `playwright` is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        browser = Browser(chromium.new_context(viewport={"width": 1500, "height": 1000}), folder)
        try:
            yield browser
        except BaseException:
            browser.picture("failed")
            raise
        finally:
            chromium.close()
