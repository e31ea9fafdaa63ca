"""The status page in a browser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from appliance.observe.status_page import render
from tests.observe.busy import busy_status, health
from tests.observe.live import Server


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


class Seen:
    """A page in the browser, and what it complained of: its console has every violation of its policy too."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))


@contextlib.contextmanager
def seen(browser: Browser, **options: Any) -> Iterator[Seen]:
    one = Seen(browser, **options)
    yield one
    one.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 360, 800, 1200])
def test_fits_every_screen_and_breaks_no_rule(width: int, scheme: str, browser: Browser, server: Server) -> None:
    reasons = ["the last import was refused: " + "/a/very/long/path" * 10]
    server.content = lambda: render(busy_status(health=health(reasons)))
    with seen(browser, viewport={"width": width, "height": 800}, color_scheme=scheme) as one:
        answer = one.page.goto(server.url)
        assert answer is not None
        assert answer.ok
        assert one.page.evaluate("document.documentElement.scrollWidth") == width
        assert one.page.locator("svg .found").first.evaluate("e => getComputedStyle(e).fill") != "rgb(0, 0, 0)"
        dark = one.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 28)"
        assert dark is (scheme == "dark")
        assert one.complaints == []


@pytest.mark.parametrize("width", [390, 1280])
def test_a_lone_point_is_seen(width: int, browser: Browser, server: Server) -> None:
    server.content = lambda: render(busy_status(looks=2))
    with seen(browser, viewport={"width": width, "height": 800}) as one:
        one.page.goto(server.url)
        sizes = one.page.locator("svg circle").evaluate_all("all => all.map(one => one.getBoundingClientRect().width)")
        assert len(sizes) == 3  # p50, p99, from the cache
        assert min(sizes) >= 3


def test_a_policy_that_is_broken_would_be_seen(browser: Browser, server: Server) -> None:
    server.content = lambda: render(busy_status()).replace(b"<h1>", b"<h1 style='color: red'>")
    with seen(browser) as one:
        one.page.goto(server.url)
        (complaint,) = one.complaints
        assert "Content Security Policy" in complaint


def test_renews_itself(browser: Browser, server: Server) -> None:
    with seen(browser) as one:
        one.page.clock.install()
        one.page.goto(server.url)
        assert "Healthy" in one.page.inner_text("main")
        server.content = lambda: render(busy_status(health=health(["the disk is full"])))
        one.page.clock.run_for(10_000)
        one.page.wait_for_selector("text=the disk is full")
        assert one.page.title() == "(!) sidebard"
        assert one.complaints == []


def test_says_when_nobody_answers_and_goes_on(browser: Browser, server: Server) -> None:
    with seen(browser) as one:
        one.page.clock.install()
        one.page.goto(server.url)
        one.page.route("**/*", lambda route: route.abort())
        for _ in range(3):
            one.page.clock.run_for(10_000)
            one.page.wait_for_selector("#time.late")
        assert one.page.inner_text("#time").count("no response since then") == 1
        one.page.unroute("**/*")
        one.page.clock.run_for(10_000)
        one.page.wait_for_selector("#time:not(.late)")


def test_works_without_its_script(browser: Browser, server: Server) -> None:
    with seen(browser, java_script_enabled=False) as one:
        one.page.goto(server.url)
        assert "Healthy" in one.page.inner_text("main")
        assert one.page.locator("noscript").count() <= 1
        with one.page.expect_navigation(timeout=30_000):  # the reload after ten seconds
            pass
        assert server.asked == 2
        assert one.complaints == []
