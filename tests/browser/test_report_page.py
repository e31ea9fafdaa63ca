"""The page of `sidebard replay --report` in a browser: the status page's look, on every screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from appliance.replay.load_profile import LoadProfile
from appliance.replay.report import as_page
from tests.replay.summed import part, summed

PLAN = LoadProfile(duration=10, connections=4, processes=1, rate=100.0)
BACKGROUNDS = {"light": "rgb(246, 247, 248)", "dark": "rgb(20, 24, 28)"}
HEIGHTS = "texts => texts.map(text => text.getBoundingClientRect().height)"


def write_page(folder: Path, **more: Any) -> str:
    """Write the page of a run with a lone point and a long fault; return its URL."""
    slices = [part(place, *[700] * 98, 3000, 9000 + 100 * place) for place in range(20) if place not in (17, 19)]
    wrong = part(17, failures={"closed without an answer, " + "at/some/very/long/path" * 5: 2})
    file = folder / "report.html"
    file.write_text(as_page(summed(*slices, wrong, part(19), profile=PLAN, max_p99=0.1, **more)), "utf-8")
    return file.as_uri()


@pytest.mark.parametrize("scheme", BACKGROUNDS)
@pytest.mark.parametrize("width", [320, 390, 800, 1280])
def test_can_be_read_on_every_screen(width: int, scheme: Any, browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: complaints.append(request.url) if "report.html" not in request.url else None)
    page.goto(write_page(tmp_path))
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == BACKGROUNDS[scheme]
    assert min(page.locator("svg text").evaluate_all(HEIGHTS)) >= 11
    points = page.locator("svg circle.typical").evaluate_all(HEIGHTS)
    assert points
    assert min(points) >= 3
    assert complaints == []
    page.close()
