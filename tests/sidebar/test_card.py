"""The cards: golden files, and what a hostile value becomes."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.customers.record import Columns, Record
from appliance.sidebar import card

GOLDEN = Path(__file__).parent / "cards"
NAMES = ("id", "Name", "email", "company", "Web site", "empty")
ADA = Record(
    Columns(NAMES), ("1", "Ada Lovelace", "ada@example.com", "Müller & Söhne <GmbH>", "https://x.example/?a=1&b=2", "")
)
NO_NAME = Record(Columns(["first_name", "Last Name", "x"]), ("Ann", "Lee", "javascript:alert(1)"))

CARDS = {
    "found": card.found([ADA]),
    "found_two": card.found([ADA, NO_NAME]),
    "found_cut": card.found([ADA], cut=True),
    "unknown": card.unknown(["ann@example.com"]),
    "unknown_two": card.unknown(["ann@example.com", "o'neil@example.com"], cut=True),
    "no_address": card.no_address(),
    "draft": card.draft(),
    "not_loaded": card.not_loaded(),
}
ELEMENTS = {"h4", "p", "ul", "li", "a", "span", "div"}
CLASSES = re.compile(r"muted|divider|unstyled|c-sb-list( c-sb-list--two-line)?|c-sb-list-item(__label|__text)?")


class Checker(HTMLParser):
    """Collects what is not allowed on a card, and its text."""

    def __init__(self, html):
        super().__init__()
        self.wrong, self.text, self.links, self.open = [], "", [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag not in ELEMENTS:
            self.wrong.append(tag)
        for name, value in attrs:
            if name == "href":
                self.links.append(value)
            if not (
                (name == "class" and CLASSES.fullmatch(value))
                or (tag == "a" and name == "href" and re.match(r"https?://|mailto:", value, re.I))
                or (tag == "a" and (name, value) == ("target", "_blank"))
            ):
                self.wrong.append((tag, name, value))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"/{tag}")

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.wrong.append("comment")

    handle_decl = handle_pi = unknown_decl = handle_comment


@pytest.mark.parametrize("name", CARDS)
def test_golden(name):
    """One file a card; a change of a card is a change of its file, read by a person."""
    assert CARDS[name].replace("><", ">\n<") + "\n" == (GOLDEN / f"{name}.html").read_text("utf-8")


@pytest.mark.parametrize("name", CARDS)
def test_only_the_style_guide(name):
    checked = Checker(CARDS[name])
    assert (checked.wrong, checked.open) == ([], [])


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    'https://example.com/" onmouseover="alert(1)',
    "https://example.com/' onmouseover='alert(1)",
    "https://example.com/<script>",
    "https://example.com/\njavascript:alert(1)",
    "https:javascript:alert(1)",
    "//evil.example/x",
    "&lt;script&gt;",
    "&#60;script&#62;",
    "</li></ul><h1>x</h1>",
    "<!-- x",
    "]]>",
    "{{ secret }}",
    "{% raw secret %}",
    "${7*7}",
    "\\u003cscript\\u003e",
    '"\x00<b>',
    "a@b.example?bcc=evil@example.com",
    'a"onclick="x"@example.com',
    "a@example.com%0abcc:x@example.com",
    "\u202egnp.exe",
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_stays_text(value):
    record = Record(Columns([value.strip() or "x", "name", "other"]), (value, value, value))
    for html in (card.found([record]), card.unknown([value])):
        checked = Checker(html)
        assert (checked.wrong, checked.open) == ([], [])
        assert value.strip().replace("\x00", "") in checked.text.replace("\ufffd", "").replace("\x00", "")


@given(st.lists(st.text(min_size=1, max_size=40), min_size=3, max_size=3))
def test_any_value_stays_text(values):
    checked = Checker(card.found([Record(Columns(["a", "name", "c"]), values)]))
    assert (checked.wrong, checked.open) == ([], [])
    assert len(checked.text) >= len(values[0].strip())


@pytest.mark.parametrize(
    ("value", "links"),
    [
        ("https://example.com/a?b=c&d", ["https://example.com/a?b=c&d"]),
        ("HTTP://EXAMPLE.COM", ["HTTP://EXAMPLE.COM"]),
        ("ann@example.com", ["mailto:ann@example.com"]),
        ("a&b%c?d#e@example.com", ["mailto:a%26b%25c%3Fd%23e@example.com"]),
        ("see https://example.com", []),
        ("ftp://example.com", []),
        ("https://", []),
        ("@handle", []),
    ],
)
def test_links(value, links):
    assert Checker(card.found([Record(Columns(["x"]), (value,))])).links == links


@pytest.mark.parametrize(
    ("names", "values", "heading"),
    [
        (("id", "name"), ("1", "Ann"), "Ann"),
        (("id", "name", "company"), ("1", "  ", "Acme"), "Acme"),
        (("id", "First Name", "last_name"), ("1", "Ann", "Lee"), "Ann Lee"),
        (("id", "fname", "lname"), ("1", "", "Lee"), "Lee"),
        (("id", "x"), ("", "7"), "7"),
        (("id",), ("",), "Customer"),
    ],
)
def test_heading(names, values, heading):
    assert card.found([Record(Columns(names), values)]).startswith(f"<h4>{heading}</h4>")
