"""The page of a real service, over TLS, in a mock of Help Scout at its real origin."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect

from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from tests.browser.help_scout import DESK, EVIL, SIDEBAR, chromium, desk_server, make_certificate
from tests.daemon import PATIENCE, Daemon
from tests.factory import SECRET, sign, visit_for

expect.set_options(PATIENCE * 1000)
PAGE = HelpScoutPage([SECRET.encode()])
CARD = """<h4>{{ customer.name }}</h4>
{% apply section("Orders") %}{% for number in range(20) %}<p>line {{ number }}</p>{% end %}{% end %}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[tuple[Daemon, Browser]]:
    folder = tmp_path_factory.mktemp("service")
    certificate = make_certificate(folder)
    (folder / "card.html").write_text(CARD)
    tls = f'[tls]\ncertificate = "{certificate.chain}"\nkey = "{certificate.key}"'
    with (
        Daemon(folder, config=tls, app='card = "card.html"\n[app.page]') as daemon,
        desk_server(certificate) as desk,
        chromium(browser, certificate, desk, daemon.port) as real,
    ):
        daemon.wait_for("serving")
        yield daemon, real
        assert daemon.stop() == 0
        daemon.rest()


def tell(daemon: Daemon, customer: int, address: str) -> None:
    """Deliver a webhook: whose id has which address."""
    body = json.dumps({"id": customer, "_embedded": {"emails": [{"value": address}]}}).encode()
    headers = {"X-HelpScout-Event": "customer.updated", "X-HelpScout-Signature": sign(body).decode()}
    with contextlib.closing(daemon.connect()) as connection:
        connection.request("POST", "/helpscout", body, headers)
        assert connection.getresponse().status == 200


def opened(browser: Browser, customer: int, *, desk: str = DESK, name: str = "app-x1") -> tuple[Page, list[str], str]:
    """Open the desk with a freshly signed URL; return it, what was asked for, and that URL."""
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    url = f"https://{SIDEBAR}/helpscout?{visit_for(PAGE, customer_id=customer).body.decode()}"
    page.goto(f"https://{desk}/?{urlencode({'app': url, 'name': name})}")
    return page, asked, url


def heights(page: Page) -> list[int]:
    return [int(one["value"]) for one in page.evaluate("window.told") if one["type"] == "SET_APP_HEIGHT"]


def test_a_webhook_turns_an_unknown_id_into_a_card_at_the_next_load(place: tuple[Daemon, Browser]) -> None:
    daemon, browser = place
    page, asked, url = opened(browser, 11)
    expect(page.frame_locator("iframe").locator("h4")).to_have_text("Customer not known yet")
    tell(daemon, 11, "ann@example.com")
    page.frames[1].goto(url)
    expect(page.frame_locator("iframe").locator("h4")).to_have_text("Ann Lee")
    assert [one for one in asked if DESK not in one.partition("?")[0] and not one.startswith("data:")] == [url, url]
    page.close()


def test_it_grows_and_shrinks_and_says_who_it_is(place: tuple[Daemon, Browser]) -> None:
    daemon, browser = place
    tell(daemon, 12, "ann@example.com")
    for name in ("app-x1", "app-side-panel-x1"):
        page, _, _ = opened(browser, 12, name=name)
        orders = page.frame_locator("iframe").get_by_role("button", name="Orders")
        for is_open in ("true", "false"):
            orders.click()
            expect(orders).to_have_attribute("aria-expanded", is_open)
            page.wait_for_function(
                "wanted => window.told.length >= wanted && document.querySelector('iframe').offsetHeight"
                " === window.told.at(-1).value",
                arg=2 if is_open == "true" else 3,
            )
        small, large, again = heights(page)
        assert large > small + 200
        assert again == small
        assert {(one["appId"], one["iframeId"], one["origin"], one["known"]) for one in page.evaluate("told")} == {
            ("x1", name, f"https://{SIDEBAR}", True)
        }
        page.close()


def test_another_origin_shows_nothing(place: tuple[Daemon, Browser]) -> None:
    daemon, browser = place
    tell(daemon, 13, "ann@example.com")
    said: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: said.append(message.text))
    url = f"https://{SIDEBAR}/helpscout?{visit_for(PAGE, customer_id=13).body.decode()}"
    page.goto(f"https://{EVIL}/?{urlencode({'app': url, 'name': 'app-x1'})}")
    assert any("frame-ancestors" in one for one in said)
    assert page.evaluate("window.told") == []
    page.close()


def test_a_pasted_url_is_refused(place: tuple[Daemon, Browser]) -> None:
    _, browser = place
    page = browser.new_page()
    answer = page.goto(f"https://{SIDEBAR}/helpscout?{visit_for(PAGE, customer_id=11).body.decode()}")
    assert answer is not None
    assert answer.status == 403
    page.close()
