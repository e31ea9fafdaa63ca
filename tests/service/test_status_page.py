"""The status page of the whole service, and in a browser."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from appliance.observe.admin import make_application
from appliance.observe.status import render
from tests.daemon import Daemon
from tests.observe.busy import busy_status, health

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
CHROMIUM = "/usr/bin/chromium"


def test_shows_the_service_as_it_is(tmp_path: Path) -> None:
    with Daemon(tmp_path, workers=2) as daemon:
        daemon.wait_for("serving")
        daemon.ask()
        daemon.ask("nobody@example.com")
        status, page, headers = daemon.admin("/")
        assert status == 200
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert "All is well" in page
        assert '<th scope="row">found</th><td>0</td><td>1</td>' in page  # counted before the second look
        assert '<th scope="row">workers that answer</th><td>2 of 2</td>' in page
        assert '<th scope="row">localhost, 127.0.0.1, ::1</th>' in page
        assert "example.com" not in page


class Server:
    """The admin pages in a thread; the page shows what `content` gives, or an error when that raises."""

    def __init__(self) -> None:
        self.content: Callable[[], bytes] = lambda: render(busy_status())
        self.asked = 0
        socket, port = bind_unused_port()
        self.url = f"http://127.0.0.1:{port}/"
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(socket,))
        self._thread.start()
        self._ready.wait()

    def _run(self, socket: Any) -> None:
        async def main() -> None:
            self._ending = asyncio.Event()
            server = HTTPServer(make_application(health, lambda: b"", self._page))
            server.add_sockets([socket])
            self._ready.set()
            await self._ending.wait()
            server.stop()
            await server.close_all_connections()

        self._loop.run_until_complete(main())
        self._loop.close()

    def _page(self) -> bytes:
        self.asked += 1
        return self.content()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


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


@pytest.mark.browser
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


@pytest.mark.browser
def test_a_policy_that_is_broken_would_be_seen(browser: Browser, server: Server) -> None:
    server.content = lambda: render(busy_status()).replace(b"<h1>", b"<h1 style='color: red'>")
    with seen(browser) as one:
        one.page.goto(server.url)
        (complaint,) = one.complaints
        assert "Content Security Policy" in complaint


@pytest.mark.browser
def test_renews_itself(browser: Browser, server: Server) -> None:
    with seen(browser) as one:
        one.page.clock.install()
        one.page.goto(server.url)
        assert "All is well" in one.page.inner_text("main")
        server.content = lambda: render(busy_status(health=health(["the disk is full"])))
        one.page.clock.run_for(10_000)
        one.page.wait_for_selector("text=the disk is full")
        assert one.page.title() == "(!) sidebard"
        assert one.complaints == []


@pytest.mark.browser
def test_says_when_nobody_answers_and_goes_on(browser: Browser, server: Server) -> None:
    with seen(browser) as one:
        one.page.clock.install()
        one.page.goto(server.url)
        one.page.route("**/*", lambda route: route.abort())
        for _ in range(3):
            one.page.clock.run_for(10_000)
            one.page.wait_for_selector("#time.late")
        assert one.page.inner_text("#time").count("no answer since then") == 1
        one.page.unroute("**/*")
        one.page.clock.run_for(10_000)
        one.page.wait_for_selector("#time:not(.late)")


@pytest.mark.browser
def test_works_without_its_script(browser: Browser, server: Server) -> None:
    with seen(browser, java_script_enabled=False) as one:
        one.page.goto(server.url)
        assert "All is well" in one.page.inner_text("main")
        assert one.page.locator("noscript").count() <= 1
        with one.page.expect_navigation(timeout=30_000):  # the reload after ten seconds
            pass
        assert server.asked == 2
        assert one.complaints == []
