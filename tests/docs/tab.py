"""A browser for a reader of the documentation: addresses in, what stands on the pages out."""

from __future__ import annotations

from playwright.sync_api import Page, sync_playwright

from ..integration.browser import WAIT_MS, chromium_for_tests

__all__ = ["Browser"]


class Browser:
    """Chromium with a tab for each page that was opened. One thread opens, looks and closes."""

    def __init__(self) -> None:
        chromium = chromium_for_tests()
        self._playwright = sync_playwright().start()
        self._chromium = self._playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        self._pages: list[Page] = []
        self.complaints: list[str] = []
        """What the programs of the pages failed with."""

    def open(self, url: str) -> None:
        """Open a page in a tab of its own."""
        page = self._chromium.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: self.complaints.append(f"{url}: {error}"))
        self._pages.append(page)
        page.goto(url)

    def text(self) -> str:
        """Return what one can read on the pages now."""
        return "\n".join(page.inner_text("body") for page in self._pages)

    def close(self) -> None:
        """Close the browser."""
        try:
            self._chromium.close()
        finally:
            self._playwright.stop()
