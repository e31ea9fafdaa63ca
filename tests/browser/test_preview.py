"""The preview page in a real browser."""

import re
import statistics
import sys
import time

import pytest
from playwright.sync_api import expect

from tests.daemon import PATIENCE
from tests.factory import write_csv

expect.set_options(PATIENCE * 1000)

TOGGLES = """<h4>{{ customer.name }}</h4>
<div class="c-sb-section c-sb-section--toggle">
<div class="c-sb-section__title js-sb-toggle">Orders<i class="caret sb-caret"></i></div>
<div class="c-sb-section__body">first section</div></div>
<div class="toggleGroup open"><a href="#" class="toggleBtn"><i class="icon-arrow"></i>Old</a>
<div class="toggle">second section</div></div>
"""
# Each would say so in the console, change the page or leave it, if it did anything.
HOSTILE = """<h4>{{ customer.name }}</h4>
<script>parent.document.body.remove()</script>
<img src="https://elsewhere.example/a.png" onerror="parent.document.body.remove()">
<svg onload="parent.document.body.remove()"></svg>
<iframe src="https://elsewhere.example/frame" srcdoc="<script>parent.parent.document.body.remove()</script>"></iframe>
<link rel="stylesheet" href="https://elsewhere.example/style.css">
<style>@import "https://elsewhere.example/import.css"; h4 { display: none }</style>
<meta http-equiv="refresh" content="0; url=https://elsewhere.example/">
<object data="https://elsewhere.example/object"></object>
<video src="https://elsewhere.example/video" autoplay></video>
<form action="https://elsewhere.example/form"><button>send</button></form>
<a id="run" href="javascript:parent.document.body.remove()">run</a>
<a id="leave" href="https://elsewhere.example/page" target="_top" ping="https://elsewhere.example/ping">leave</a>
"""


def card(page):
    return page.frame_locator("#card")


def heading(page, name):
    expect(card(page).locator("h4")).to_have_text(name)


def test_the_first_customer_is_shown(page):
    heading(page, "Ann Lee")
    expect(page.locator("#who")).to_have_text("Ann Lee")
    expect(page.locator("#connection")).to_have_text("Live")
    expect(page.locator("#outcome")).to_have_text(re.compile(r"200 found · [\d,]+ bytes · \d+\.\d\d ms"))
    expect(page.locator("#answer")).to_have_text('{"html":"<h4>Ann Lee</h4>\\n"}')
    page.get_by_role("button", name="HTML").click()
    expect(page.locator("#answer")).to_have_text("<h4>Ann Lee</h4>")


def test_the_sidebar_is_as_wide_as_help_scouts(page):
    assert page.locator("#card").bounding_box()["width"] == 300


def test_a_customer_is_found_and_picked(page):
    page.get_by_label("Customers", exact=True).fill("jackie")
    expect(page.get_by_role("option")).to_have_count(2)
    page.get_by_role("option", name="Jackie Chan").click()
    heading(page, "Jackie Chan")
    expect(page.locator("#request")).to_have_value(re.compile("jackie.chan@somewhere.com"))
    page.get_by_label("Customers", exact=True).fill("nobody of this name")
    expect(page.locator("#customers")).to_have_text("No customers found.")


def test_an_address_with_umlauts_is_shown_with_them(page):
    page.get_by_label("Customers", exact=True).fill("jürgen")
    expect(page.get_by_role("option")).to_have_count(1)
    address = page.get_by_role("option").locator(".address")
    expect(address).to_have_text("jürgen@exämple.com")
    expect(address).to_have_attribute("title", "jürgen@xn--exmple-cua.com")
    page.get_by_label("Customers", exact=True).fill("ann@example.com")
    expect(page.get_by_role("option")).to_contain_text(["Ann Lee"])
    assert page.get_by_role("option").locator(".address").get_attribute("title") is None


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("Unknown customer", "Not a customer"),
        ("No e-mail address", "No e-mail address"),
        ("Draft", "New conversation"),
        ("Data not loaded", "Customer list not loaded"),
        ("Old data", "Ann Lee"),
    ],
)
def test_a_state_is_one_click_away(page, name, title):
    page.get_by_role("button", name=name).click()
    heading(page, title)
    expect(page.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "true")


def test_the_request_can_be_edited(page):
    request = page.get_by_role("textbox", name="Request")
    request.fill('{"customer": {"fname": "J.", "email": "jackie.chan@example.com"}}')
    heading(page, "Jackie")
    expect(page.locator("#who")).to_have_text("J.")
    request.fill('{"customer": ')
    expect(page.locator("#refusal")).to_have_text(re.compile("The body is not a JSON object"))
    expect(page.locator("#who")).to_have_text("J.")


def test_an_edited_template_is_seen_within_a_second(page, folder, capsys):
    taken = []
    for number in range(5):
        started = time.monotonic()
        (folder / "card.html").write_text(f"<h4>Edit {number}</h4>")
        card(page).get_by_text(f"Edit {number}").wait_for()
        taken.append(time.monotonic() - started)
    with capsys.disabled():
        sys.stdout.write(f"\nan edit is seen after {min(taken):.2f} to {max(taken):.2f} s\n")
    assert statistics.median(taken) < 10  # it is looked for four times a second; the rest is for a busy machine


def test_a_fault_of_the_template_stands_above_the_last_good_card(page, folder):
    (folder / "card.html").write_text("<h4>{{ customer.name }}</h4>\n{% for order in %}\n{% end %}\n")
    fault = page.locator(".fault")
    expect(fault.locator("strong")).to_have_text("card.html:2")
    expect(fault.locator(".here")).to_contain_text("{% for order in %}")
    expect(page.locator("#note")).to_have_text(re.compile("last working version"))
    heading(page, "Ann Lee")
    (folder / "card.html").write_text("<h4>Mended</h4>")
    heading(page, "Mended")
    expect(page.locator("#faults")).to_be_hidden()


def test_a_template_that_fails_on_a_customer_says_what_agents_get(page, folder):
    (folder / "card.html").write_text("\n{{ customer.nothing }}")
    expect(page.locator(".fault strong")).to_have_text("card.html:2")
    expect(page.locator("#note")).to_have_text(re.compile("Agents see this card instead"))


def test_a_fault_of_the_config_is_told(page, folder):
    with (folder / "sidebard.toml").open("a") as config:
        config.write("wrong = 1\n")
    expect(page.locator(".fault strong")).to_have_text("sidebard.toml:9")


def test_changed_data_is_seen(page, folder):
    write_csv(folder / "customers.csv", [("email", "name"), ("ann@example.com", "Ann Other")])
    heading(page, "Ann Other")
    expect(page.get_by_role("option")).to_have_count(1)
    expect(page.locator("#facts")).to_contain_text("1 customer,")


def test_toggles_work_and_stay_while_the_card_is_edited(page, folder):
    (folder / "card.html").write_text(TOGGLES)
    first, second = card(page).get_by_text("first section"), card(page).get_by_text("second section")
    expect(second).to_be_visible()
    expect(first).to_be_hidden()
    card(page).get_by_role("button", name="Orders").click()
    expect(first).to_be_visible()
    card(page).get_by_role("button", name="Old").click()
    expect(second).to_be_hidden()
    again = TOGGLES.replace("first section", "of the same title").partition("\n")[2]
    (folder / "card.html").write_text(TOGGLES.replace("first section", "first section, edited") + again)
    expect(card(page).get_by_text("first section, edited")).to_be_visible()
    expect(second.first).to_be_hidden()
    expect(card(page).get_by_text("of the same title")).to_be_hidden()
    expect(second.last).to_be_visible()


def test_what_help_scout_removes_is_told_and_not_shown(page, folder):
    (folder / "card.html").write_text(
        '<h4>{{ customer.name }}</h4>\n<table><tr><td style="color:red">x</td></tr></table>'
    )
    expect(page.locator(".fault.warning strong").first).to_have_text("card.html:2")
    expect(page.locator("#faults")).to_contain_text("Help Scout removes <table>; use a list")
    expect(page.locator("#note")).to_be_hidden()
    heading(page, "Ann Lee")
    expect(card(page).locator("body")).to_contain_text("x")
    expect(card(page).locator("table, [style]")).to_have_count(0)
    page.get_by_role("button", name="HTML").click()
    expect(page.locator("#answer")).to_contain_text("<table>")
    (folder / "card.html").write_text("<h4>Mended</h4>")
    heading(page, "Mended")
    expect(page.locator("#faults")).to_be_hidden()


def test_the_frame_is_as_high_as_the_card(page, folder):
    before = page.locator("#card").bounding_box()["height"]
    (folder / "card.html").write_text("<h4>{{ customer.name }}</h4>" + "<p>line</p>" * 100)
    expect(card(page).locator("p")).to_have_count(100)
    page.wait_for_function("before => document.getElementById('card').offsetHeight > before + 2000", arg=before)


def test_the_keyboard_is_enough(page, folder):
    (folder / "card.html").write_text(TOGGLES)
    expect(card(page).get_by_role("button", name="Orders")).to_be_visible()
    keyboard = page.keyboard
    keyboard.press("/")
    keyboard.type("jackie")
    expect(page.get_by_role("option")).to_have_count(2)
    keyboard.press("ArrowDown")
    keyboard.press("ArrowDown")
    expect(page.get_by_label("Customers", exact=True)).to_have_attribute("aria-activedescendant", "customer-1")
    keyboard.press("Enter")
    heading(page, "Jackie Chan")
    expect(page.get_by_role("option", name="Jackie Chan")).to_have_attribute("aria-selected", "true")
    keyboard.press("Tab")
    expect(page.get_by_role("button", name="Unknown customer")).to_be_focused()
    keyboard.press("Enter")
    heading(page, "Not a customer")
    expect(page.get_by_role("button", name="Unknown customer")).to_be_focused()
    keyboard.press("Shift+Tab")
    keyboard.press("Enter")
    heading(page, "Jackie Chan")
    orders = card(page).get_by_role("button", name="Orders")
    for _ in range(30):
        keyboard.press("Tab")
        if orders.evaluate("element => element === element.ownerDocument.activeElement"):
            break
    keyboard.press("Enter")
    expect(orders).to_have_attribute("aria-expanded", "true")
    keyboard.press("Space")
    expect(orders).to_have_attribute("aria-expanded", "false")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_either_light(page, folder, scheme):
    """Contrast of at least 4.5 (WCAG 2.2, 1.4.3), of whatever has a text of its own."""
    page.emulate_media(color_scheme=scheme)
    colours = ("blue", "green", "red", "orange", "purple", "muted")
    (folder / "card.html").write_text(
        TOGGLES
        + "".join(f'<span class="badge {name}">{name}</span><p class="{name}">{name}</p>' for name in colours)
        + '<a href="https://example.com">link</a>{{ customer.name.nothing if customers[1:] else "" }}'
    )
    expect(card(page).locator("p")).to_have_count(len(colours))
    (folder / "sidebard.toml").write_text("wrong")
    expect(page.locator(".fault")).to_be_visible()
    for frame in page.frames:
        ground, poor = frame.evaluate(CONTRAST)
        assert (ground < 0.2) == (scheme == "dark")
        assert poor == []


CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = (colour) => [...rgb(colour)].slice(0, 3)
    .map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (rgb(colour)[3] === 255) return luminance(colour);
    }
  };
  const poor = [];
  for (const element of document.querySelectorAll("body, body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    if (!own || !element.checkVisibility()) continue;
    const [low, high] = [luminance(getComputedStyle(element).color), ground(element)].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) poor.push(`${element.outerHTML.slice(0, 80)}: ${contrast.toFixed(2)}`);
  }
  return [ground(document.body), poor];
}"""


def test_nothing_in_a_card_runs_or_reaches_out(page, folder, complaints):
    url = page.url
    with (folder / "sidebard.toml").open("a") as config:
        config.write('signature_header = "X-FreeScout-Signature"\n')  # of which nothing is removed
    (folder / "card.html").write_text(HOSTILE)
    expect(card(page).locator("#run")).to_be_visible()
    card(page).locator("#run").click()
    card(page).get_by_role("button", name="send").click()
    heading(page, "Ann Lee")
    (folder / "card.html").write_text("<h4>Afterwards</h4>")
    heading(page, "Afterwards")
    assert page.url == url
    # What the browser has refused it has said, and nothing has left.
    assert all(re.search("Content Security Policy|sandboxed", complaint) for complaint in complaints.said)
    complaints.said.clear()


def test_a_link_in_a_card_opens_beside_and_is_told_nothing(page, folder):
    asked = []

    def answer(route):
        asked.append(route.request.headers)
        route.fulfill(body="there", content_type="text/plain")

    page.context.route("https://elsewhere.example/**", answer)
    (folder / "card.html").write_text('<h4><a href="https://elsewhere.example/page">out</a></h4>')
    link = card(page).get_by_role("link", name="out")
    with page.context.expect_page() as opened:
        link.click()
    opened.value.wait_for_load_state()
    assert opened.value.evaluate("window.opener") is None
    opened.value.close()
    assert "referer" not in asked[0]


def test_the_page_says_when_the_preview_has_ended(page, running, complaints):
    assert running.stop() == 0
    expect(page.locator("#connection")).to_have_text(re.compile("Disconnected"))
    complaints.said.clear()  # that it cannot connect any more
