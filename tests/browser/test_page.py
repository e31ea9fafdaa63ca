"""The page in a frame of Help Scout's, in a real browser: a desk of our own at the real origin, and no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Frame, Locator, Page, Route, expect

from appliance.cards.helpers import copyable, section
from appliance.outcomes import Outcome
from appliance.sidebar.inquiry import Answer
from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from appliance.sidebar.protocols.page_document import DESK
from tests.cards.test_builtin import CARDS

SIDEBAR = "https://sidebar.example/helpscout?customer-id=1"
PAGE = HelpScoutPage([b"a secret"])
FOLDING = "<h4>Ada</h4>" + section("Orders", count=2)(b"<p>one</p>" * 12) + section("Open", open=True)(b"<p>two</p>")

DESK_HTML = """<!doctype html><meta charset="utf-8"><body style="margin: 0">
<iframe name="%s" src="%s" style="display: block; border: 0; width: %spx; height: 40px" %s></iframe>
<script>
  window.told = [];
  addEventListener("message", (event) => {
    const frame = document.querySelector("iframe");
    window.told.push({ ...event.data, origin: event.origin, known: event.source === frame.contentWindow });
    if (event.data.type === "SET_APP_HEIGHT") frame.style.height = event.data.value + "px";
  });
</script>"""


@dataclass
class Desk:
    """A desk with an app's page in a frame: what the page has told, and what the browser asked for."""

    page: Page
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @property
    def frame(self) -> Frame:
        """The page's frame."""
        return self.page.frames[1]

    def told(self, kind: str = "SET_APP_HEIGHT") -> list[dict[str, Any]]:
        """Return the messages of a kind that have arrived."""
        return [message for message in self.page.evaluate("window.told") if message["type"] == kind]

    def settled(self) -> int:
        """Return the height that was told last, once it is the document's."""
        self.page.wait_for_function(
            "() => { const sizes = window.told.filter(one => one.type === 'SET_APP_HEIGHT');"
            " return sizes.length && document.querySelector('iframe').offsetHeight === sizes.at(-1).value }"
        )
        self.frame.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return int(self.told()[-1]["value"])

    def fold(self, title: str) -> Locator:
        """Return the button of a section."""
        return self.frame.get_by_role("button", name=title)


Opened = Callable[..., Desk]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    contexts: list[BrowserContext] = []

    def open_desk(
        card: str,
        *,
        desk: str = DESK,
        name: str = "app-x1",
        width: int = 300,
        attributes: str = "",
        **context: Any,
    ) -> Desk:
        made = browser.new_context(**context)
        contexts.append(made)
        opened = Desk(made.new_page())
        response = PAGE.render(Answer(Outcome.FOUND, card))

        def answer(route: Route) -> None:
            url = route.request.url
            opened.asked.append(url)
            if url == f"{desk}/":
                route.fulfill(body=DESK_HTML % (name, SIDEBAR, width, attributes), content_type="text/html")
            elif url == SIDEBAR:
                headers = {**dict(response.headers), "Content-Type": response.content_type}
                route.fulfill(body=response.body, headers=headers)
            else:
                route.abort()

        made.route("**/*", answer)
        opened.page.on("console", lambda message: opened.said.append(message.text))
        opened.page.on("pageerror", lambda error: opened.said.append(str(error)))
        opened.page.goto(f"{desk}/")
        return opened

    yield open_desk
    for context in contexts:
        context.close()


def test_the_frame_grows_and_shrinks_with_its_sections(opened: Opened) -> None:
    desk = opened(FOLDING)
    small = desk.settled()
    desk.fold("Orders (2)").click()
    large = desk.settled()
    assert large > small + 200
    desk.fold("Orders (2)").click()
    assert desk.settled() == small
    heights = [message["value"] for message in desk.told()]
    assert heights == [small, large, small]  # each change once, and none after the last
    assert {(message["appId"], message["iframeId"], message["known"]) for message in desk.told()} == {
        ("x1", "app-x1", True)
    }
    assert desk.asked == [f"{DESK}/", SIDEBAR]
    assert desk.said == []


def test_a_frame_without_a_width_is_told_no_height(opened: Opened) -> None:
    """Whoever hides it, or has yet to lay it out, would make it as tall as the card is with a word a line."""
    desk = opened(FOLDING, width=0)
    desk.frame.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert desk.told() == []
    desk.page.evaluate("document.querySelector('iframe').style.width = '300px'")
    height = desk.settled()
    assert [message["value"] for message in desk.told()] == [height]
    assert height < 300


def test_a_side_panel_is_the_same_app(opened: Opened) -> None:
    desk = opened(FOLDING, name="app-side-panel-x1")
    desk.settled()
    assert {(message["appId"], message["iframeId"]) for message in desk.told()} == {("x1", "app-side-panel-x1")}


@pytest.mark.parametrize(
    "desk",
    ["https://secure.helpscout.net.evil.example", "https://evil.example", "https://helpscout.net"],
)
def test_frames_of_other_origins_stay_blank(desk: str, opened: Opened) -> None:
    blank = opened(FOLDING, desk=desk)
    assert "frame-ancestors" in " ".join(blank.said)
    assert blank.page.evaluate("window.told") == []
    assert not blank.frame.locator("h4").count()


def test_by_keyboard(opened: Opened) -> None:
    desk = opened(FOLDING)
    orders = desk.fold("Orders (2)")
    expect(orders).to_have_attribute("aria-expanded", "false")
    desk.frame.locator("body").press("Tab")
    expect(orders).to_be_focused()
    for key, is_open in (("Enter", "true"), ("Space", "false"), ("Space", "true")):
        orders.press(key)
        expect(orders).to_have_attribute("aria-expanded", is_open)
    body = desk.frame.locator(f"#{orders.get_attribute('aria-controls')}")
    expect(body).to_be_visible()
    orders.press("Tab")
    expect(desk.fold("Open")).to_be_focused()
    expect(desk.fold("Open")).to_have_attribute("aria-expanded", "true")


def test_nothing_that_a_card_brings_along_runs_or_is_loaded(opened: Opened) -> None:
    desk = opened(
        "<h4 onclick='top.ran = 1'>x</h4><script>top.ran = 1</script><script src='https://evil.example/x.js'></script>"
        "<img src='https://evil.example/x.png' onerror='top.ran = 1'><style>h4 { position: fixed }</style>"
        "<iframe src='https://evil.example/'></iframe><link rel=stylesheet href='https://evil.example/x.css'>"
        "<base href='https://evil.example/'><form action='https://evil.example/'><button>x</button></form>"
        "<p style='position: fixed'>x</p><meta http-equiv=refresh content='0; url=javascript:top.ran=1'>"
    )
    desk.settled()
    desk.frame.locator("h4").click()
    desk.frame.locator("form button").click()
    assert desk.asked == [f"{DESK}/", SIDEBAR]
    assert desk.page.evaluate("window.ran") is None
    for tag in ("h4", "p"):
        position = desk.frame.locator(tag).evaluate("element => getComputedStyle(element).position")
        assert position == "static"


def test_no_message_changes_the_page(opened: Opened) -> None:
    desk = opened(FOLDING)
    desk.settled()
    before = desk.frame.content()
    desk.page.evaluate(
        "for (const type of ['SEND_APP_CONTEXT', 'SEND_APP_STYLES', 'x'])"
        " document.querySelector('iframe').contentWindow.postMessage({ type, styles: 'h4{}', html: '<b>' }, '*')"
    )
    desk.settled()
    assert desk.frame.content() == before


def test_no_message_of_another_origin_does(opened: Opened) -> None:
    """From a frame beside it, of an opaque origin; within it there can be no frame at all."""
    desk = opened(FOLDING)
    desk.settled()
    before = desk.frame.content()
    desk.page.evaluate(
        """() => new Promise(done => {
            addEventListener("message", event => event.data.type === "sent" && done());
            const other = document.createElement("iframe");
            other.sandbox = "allow-scripts";
            other.srcdoc = "<script>for (const type of ['SEND_APP_CONTEXT', 'SET_APP_HEIGHT', 'x'])"
                + "parent.frames[0].postMessage({ type, value: 9, html: '<b>' }, '*');"
                + "parent.postMessage({ type: 'sent' }, '*')</" + "script>";
            document.body.append(other);
        })"""
    )
    desk.settled()
    assert desk.frame.content() == before
    with desk.page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        desk.frame.evaluate("document.body.append(Object.assign(document.createElement('iframe'), { src: 'data:,x' }))")


def test_a_frame_between_the_desk_and_the_page_shows_nothing(opened: Opened) -> None:
    """Every ancestor must be the desk, and not the outermost alone."""
    desk = opened(FOLDING)
    desk.settled()
    with desk.page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        desk.page.evaluate(
            """source => {
                const between = document.createElement("iframe");
                between.sandbox = "allow-scripts allow-same-origin";
                between.src = "data:text/html,<iframe name=app-x2 src='" + source + "'></iframe>";
                document.body.append(between);
            }""",
            SIDEBAR,
        )
    assert {message["iframeId"] for message in desk.told()} == {"app-x1"}


def test_a_dark_system_has_a_light_card(opened: Opened) -> None:
    desk = opened(FOLDING, color_scheme="dark")
    desk.settled()
    colours = desk.frame.evaluate(
        "[getComputedStyle(document.documentElement).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert colours == ["rgb(255, 255, 255)", "rgb(37, 54, 66)"]


def test_in_a_sandbox(opened: Opened) -> None:
    desk = opened(FOLDING, attributes='sandbox="allow-scripts"')
    desk.settled()
    assert {message["origin"] for message in desk.told()} == {"null"}


def test_after_a_reload_within_the_frame(opened: Opened) -> None:
    """The referrer is our own then, and is not sent at all: the page still finds its desk."""
    desk = opened(FOLDING)
    desk.settled()
    desk.page.evaluate("window.told.length = 0")
    desk.frame.evaluate("location.reload()")
    assert desk.settled() > 0


def test_a_copy_button(opened: Opened) -> None:
    desk = opened("<h4>Key</h4>" + copyable("AB-12 <CD>").decode())
    desk.settled()
    desk.frame.get_by_role("button", name="Copy AB-12 <CD>").click()
    desk.page.wait_for_function("window.told.some(one => one.type === 'SET_CLIPBOARD_TEXT')")
    (message,) = desk.told("SET_CLIPBOARD_TEXT")
    assert message["value"] == {"text": "AB-12 <CD>", "successMessage": "Copied"}


def test_links_open_beside_the_desk_and_tell_nothing(opened: Opened) -> None:
    desk = opened('<a href="https://a.example/">a</a><a href="mailto:a@b.example">b</a>')
    desk.settled()
    links = desk.frame.evaluate("[...document.links].map(link => [link.target, link.rel])")
    assert links == [["_blank", "noopener noreferrer"], ["", "noopener noreferrer"]]


@pytest.mark.parametrize("name", CARDS)
def test_no_card_is_wider_than_the_narrowest_frame(name: str, opened: Opened) -> None:
    desk = opened(f"{CARDS[name]}<p>{'W' * 200}</p>", width=240)
    desk.settled()
    assert desk.frame.evaluate("document.documentElement.scrollWidth") == 240


def test_without_script_every_section_is_open(opened: Opened) -> None:
    desk = opened(FOLDING, attributes="sandbox")
    expect(desk.frame.get_by_text("two")).to_be_visible()
    assert [one.is_visible() for one in desk.frame.locator(".c-sb-section__body").all()] == [True, True]
