"""Fixtures of the browser tests; where there is no Chromium they skip, and fail in CI."""

import os
from typing import Any

import pytest
from browser import FLAGS, MOUNT, PAGE, Mounted, find_chromium, out_of_reach, public_state


@pytest.fixture(scope="module")
def chromium():
    """A running browser. Of module scope, since its event loop keeps others from using asyncio."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with api.sync_playwright() as playwright:
        path = find_chromium() or playwright.chromium.executable_path
        if not os.path.exists(path):
            out_of_reach("no Chromium: set $CHROMIUM, or `playwright install chromium`")
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def widget_page(chromium):
    """Call with an anywidget: a page where it runs with no kernel behind it."""
    pages = []

    def mount(widget: Any, width: int = 1000) -> Mounted:
        page = chromium.new_page(viewport={"width": width, "height": 900})
        pages.append(page)
        mounted = Mounted(page, [])
        page.on("pageerror", lambda error: mounted.errors.append(str(error)))
        page.on("console", lambda m: m.type == "error" and mounted.errors.append(m.text))
        page.set_content(PAGE)
        made = {"esm": str(widget._esm), "css": str(getattr(widget, "_css", ""))}
        page.evaluate(MOUNT, {**made, "state": public_state(widget)})
        return mounted

    yield mount
    for page in pages:
        page.close()
