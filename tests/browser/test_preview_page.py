"""Both forms in the preview: the legacy card, and the page in a frame that speaks Help Scout's protocol."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from tests.browser.conftest import Complaints
from tests.daemon import PATIENCE
from tests.factory import CUSTOMERS
from tests.preview.live import write_files

expect.set_options(PATIENCE * 1000)

FOLDING = """<h4>{{ customer.name }}</h4>
{% apply section("Orders") %}{% for number in range(20) %}<p>line {{ number }}</p>{% end %}{% end %}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path)
    with (tmp_path / "sidebard.toml").open("a") as config:
        config.write("[app.page]\n")
    (tmp_path / "card.html").write_text(FOLDING)
    return tmp_path


def framed(page: Page) -> FrameLocator:
    return page.frame_locator("#page")


def height(page: Page) -> float:
    box = page.locator("#page").bounding_box()
    assert box is not None
    return box["height"]


def test_both_forms_show_the_same_customer(page: Page) -> None:
    expect(framed(page).locator("h4")).to_have_text("Ann Lee")
    expect(page.frame_locator("#card").locator("h4")).to_have_text("Ann Lee")
    expect(page.locator("#visit")).to_have_text(re.compile(r"GET /helpscout\?.*customer-id=\d+&mailbox-id="))
    expect(page.locator("#page-outcome")).to_have_text(re.compile(r"found · [\d,]+ bytes"))
    page.get_by_label("Customers", exact=True).fill("jackie")
    page.get_by_role("option", name="Jackie Chan").click()
    expect(framed(page).locator("h4")).to_have_text("Jackie Chan")
    left, right = page.locator("#card").bounding_box(), page.locator("#page").bounding_box()
    assert left is not None
    assert right is not None
    assert (left["width"], right["width"]) == (300, 300)
    assert right["x"] > left["x"] + 300  # side by side


@pytest.mark.parametrize(
    ("state", "legacy", "platform"),
    [
        ("Unknown customer", "Not a customer", "Not a customer"),
        ("No e-mail address", "No e-mail address", "No e-mail address"),
        ("Draft", "New conversation", "No customer yet"),
        ("Data not loaded", "Customer list not loaded", "Customer list not loaded"),
        ("Old data", "Ann Lee", "Ann Lee"),
        ("Id not known", "Ann Lee", "Customer not known yet"),
    ],
)
def test_states_of_both_forms(state: str, legacy: str, platform: str, page: Page) -> None:
    page.get_by_role("button", name=state).click()
    expect(page.frame_locator("#card").locator("h4")).to_have_text(legacy)
    expect(framed(page).locator("h4")).to_have_text(platform)


def test_the_frame_takes_the_height_that_it_is_told(page: Page) -> None:
    orders = framed(page).get_by_role("button", name="Orders")
    expect(orders).to_have_attribute("aria-expanded", "false")
    page.wait_for_function("() => document.getElementById('page')?.offsetHeight !== 150")  # a frame's own height
    small = height(page)
    orders.click()
    page.wait_for_function("small => document.getElementById('page').offsetHeight > small + 300", arg=small)
    orders.click()
    page.wait_for_function("small => document.getElementById('page').offsetHeight === small", arg=small)


def test_a_copy_button_copies(page: Page, folder: Path) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    (folder / "card.html").write_text("<h4>Key</h4>{{ copyable('AB-12') }}")
    framed(page).get_by_role("button", name="Copy AB-12").click()
    expect(page.locator("#page-outcome")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "AB-12"


def test_an_edited_template_is_seen_in_both(page: Page, folder: Path) -> None:
    (folder / "card.html").write_text("<h4>Edited</h4>")
    expect(framed(page).locator("h4")).to_have_text("Edited")
    expect(page.frame_locator("#card").locator("h4")).to_have_text("Edited")


def test_what_no_message_of_the_desk_is_changes_nothing(page: Page) -> None:
    page.wait_for_function("() => document.getElementById('page')?.offsetHeight !== 150")
    before = height(page)
    page.evaluate(
        "for (const data of [null, 1, 'x', { type: 'SET_APP_HEIGHT', value: 9 },"
        " { type: 'SET_APP_HEIGHT', value: 9, iframeId: 'app-preview' }]) postMessage(data, '*')"
    )
    framed(page).locator("body").evaluate(
        "for (const data of [null, { type: 'SET_APP_HEIGHT', value: 9 },"
        " { type: 'SET_APP_HEIGHT', value: 'x', iframeId: 'app-preview' }]) parent.postMessage(data, '*')"
    )
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert height(page) == before


def test_a_request_that_is_refused_has_no_page(page: Page) -> None:
    request = page.get_by_role("textbox", name="Request")
    request.fill("[")
    expect(page.locator("#platform")).to_be_hidden()
    request.fill('{"customer": {"id": "7", "email": "jackie.chan@example.com"}}')
    expect(framed(page).locator("h4")).to_have_text("Jackie")


def test_nothing_in_a_page_runs_or_reaches_out(page: Page, folder: Path, complaints: Complaints) -> None:
    url = page.url
    (folder / "card.html").write_text(
        "<h4>{{ customer.name }}</h4><script>top.document.body.remove()</script>"
        "<img src='https://elsewhere.example/a.png' onerror='top.location = 1'>"
        "<a id=leave href='https://elsewhere.example/' target=_top>leave</a>"
    )
    expect(framed(page).locator("#leave")).to_have_attribute("target", "_blank")  # the page's own script has run
    expect(framed(page).locator("h4")).to_have_text("Ann Lee")
    assert page.url == url
    assert page.locator("#platform").count() == 1
    assert any("Content Security Policy" in complaint for complaint in complaints.said)
    complaints.said.clear()


def test_an_app_without_a_page_has_no_frame_for_one(page: Page, folder: Path) -> None:
    config = folder / "sidebard.toml"
    config.write_text(config.read_text().replace("[app.page]", ""))
    expect(page.locator("#platform")).to_be_hidden()
    expect(page.get_by_role("button", name="Id not known")).to_have_count(0)
    config.write_text(config.read_text() + "[app.page]\ninboxes = [7]\n")
    expect(framed(page).locator("h4")).to_have_text(CUSTOMERS[1][1])
