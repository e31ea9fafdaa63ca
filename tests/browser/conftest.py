"""A real browser, and a page in it that may not complain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, sync_playwright

from tests.browser.chromium import launch
from tests.preview.live import Preview, preview, write_files


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test in this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@dataclass
class Complaints:
    """What the browser held against the page, and what it asked elsewhere for; a test takes what it expects."""

    said: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return the one there is: playwright can be started once in a thread."""
    with sync_playwright() as playwright:
        chromium = launch(playwright)
        yield chromium
        chromium.close()


@pytest.fixture
def complaints() -> Complaints:
    return Complaints()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path)
    return tmp_path


@pytest.fixture
def running(folder: Path) -> Iterator[Preview]:
    with preview("--config", folder / "sidebard.toml", "--no-browser") as running:
        yield running


@pytest.fixture
def page(browser: Browser, running: Preview, complaints: Complaints) -> Iterator[Page]:
    """Return the page, opened, with a card on it."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})

    def complain(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.said.append(message.text)

    page.on("console", complain)
    page.on("pageerror", lambda error: complaints.said.append(str(error)))

    def refuse(route: Route) -> None:
        complaints.elsewhere.append(route.request.url)
        route.abort()

    page.context.route(lambda url: not url.startswith(running.url.removesuffix("preview")), refuse)
    page.goto(running.url)
    page.frame_locator("#card").locator("h4").wait_for()
    yield page
    page.close()
    assert complaints == Complaints()
