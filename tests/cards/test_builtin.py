"""The cards: golden files, what is recognised, and what a hostile value becomes."""

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cards import builtin
from appliance.cards.layout import Layout
from appliance.config.schema import Display
from appliance.customers.column_name import clean_name
from appliance.customers.record import Columns, Record, Rows
from appliance.customers.snapshot import Relation
from tests.cards.hostile import first_wrong
from tests.cards.html5 import seen

GOLDEN = Path(__file__).parent / "cards"
NAMES = (
    *("id", "Name", "email", "company", "plan", "status", "since", "balance", "currency", "seats"),
    *("is_verified", "Web site", "last_order", "notes", "empty"),
)
ADA = (
    *("1001", "Ada Lovelace", "ada@example.com;ada@example.org", "Müller & Söhne <GmbH>", "Pro", "past due"),
    *("2019-05-24", "1234.5", "EUR", "12000", "1", "https://x.example/?a=1&b=2", "#20481", "calls\nat 3", " "),
)
BOB = ("", "", "", "Bob Ltd", "", "cancelled", "24.5.2019", "n/a", "", "", "", "", "", "", "")
ORDER_NAMES = ("number", "customer_id", "placed_at", "total", "currency", "state", "Items")
ORDERS = Relation("past_orders", ORDER_NAMES, on="id", by_address=False, key="customer_id")
ORDER_ROWS = (
    ("#20481", "1001", "2026-05-01T22:30:00Z", "1,049.90", "$", "shipped", "3"),
    ("#20377", "1001", "2025-11-02", "12", "", "", ""),
)


def rows_of(names, rows, total=None):
    columns = Columns(names)
    return Rows((Record(columns, row) for row in rows), total)


def make(names, *rows, relations=(), related=None, **display):
    """Return the records and their layout."""
    columns = Columns(names)
    layout = Layout(names, relations, Display(**display), ZoneInfo("Europe/Berlin"))
    return [Record(columns, row, related) for row in rows], layout


def shown(names, *rows, **options):
    return builtin.found(*make(names, *rows, **options))


WITH_ORDERS = {"relations": [ORDERS], "related": {"past_orders": rows_of(ORDER_NAMES, ORDER_ROWS)}}
MANY_ORDERS = {"relations": [ORDERS], "related": {"past_orders": rows_of(ORDER_NAMES, ORDER_ROWS, total=53)}}
CARDS = {
    "found": shown(NAMES, ADA),
    "found_orders": shown(NAMES, ADA, **WITH_ORDERS),
    "found_two": shown(NAMES, ADA, BOB),
    "found_cut": builtin.found(*make(NAMES, ADA), truncated=True),
    "found_display": shown(
        NAMES,
        ADA,
        **MANY_ORDERS,
        columns=("status", "past_orders.total", "past_orders.NUMBER", "id", "Plan", "gone", "past_orders.gone"),
        titles=(("STATUS", "Standing <now>"), ("past_orders", "Orders"), ("past_orders.total", "Sum")),
        links=(
            ("id", "https://crm.example/{id}?v={Web site}"),
            ("past_orders.number", "https://shop.example/{number}"),
        ),
        url_column="web site",
    ),
    "found_by": builtin.found_by([("order number", "1234<56"), ("licence", "AB")]) + shown(NAMES, BOB),
    "unknown": builtin.unknown(["ann@example.com"]),
    "unknown_two": builtin.unknown(["ann@example.com", "o'neil@example.com"], truncated=True),
    "unknown_named": builtin.unknown(["ann@example.com"], matches=[("order number", "1234<56")]),
    "no_address": builtin.no_address(),
    "no_address_named": builtin.no_address([("order number", "123456")]),
    "draft": builtin.draft(),
    "not_loaded": builtin.not_loaded(),
}


@pytest.mark.parametrize("name", CARDS)
def test_golden(name):
    """One file a card; a change of a card is a change of its file, read by a person."""
    assert CARDS[name].replace("><", ">\n<") + "\n" == (GOLDEN / f"{name}.html").read_text("utf-8")


@pytest.mark.parametrize("name", CARDS)
def test_only_the_style_guide(name):
    assert seen(CARDS[name]).wrong == []


# What is recognised


@pytest.mark.parametrize(
    ("column", "value", "html"),
    [
        (
            "x",
            "https://x.example/?b=c&d",
            '<a href="https://x.example/?b=c&amp;d" target="_blank">https://x.example/?b=c&amp;d</a>',
        ),
        ("x", "HTTP://X.EXAMPLE", '<a href="HTTP://X.EXAMPLE" target="_blank">HTTP://X.EXAMPLE</a>'),
        ("x", "ann@example.com", '<a href="mailto:ann@example.com">ann@example.com</a>'),
        ("x", "a&b%c?d#e@x.example", '<a href="mailto:a%26b%25c%3Fd%23e@x.example">a&amp;b%c?d#e@x.example</a>'),
        (
            "x",
            "a@example.com; b@example.com",
            '<a href="mailto:a@example.com">a@example.com</a>, <a href="mailto:b@example.com">b@example.com</a>',
        ),
        ("x", "see https://example.com", "see https://example.com"),
        ("x", "ftp://example.com", "ftp://example.com"),
        ("x", "https://", "https://"),
        ("x", "@handle", "@handle"),
        ("x", "ann@example.com, call first", "ann@example.com, call first"),
        ("x", "2026-05-01", "1 May 2026"),
        ("x", "2026-05-01 22:30:00", "1 May 2026"),
        ("x", "2026-05-01T22:30:00Z", "2 May 2026"),  # in Berlin
        ("x", "2026-02-30", "2026-02-30"),
        ("x", "20260501", "20260501"),
        ("Since", "1.5.2026", "1 May 2026"),
        ("last seen", "1777674600", "2 May 2026"),
        ("x", "1777674600", "1777674600"),
        ("created_at", "05/01/2026", "05/01/2026"),
        ("last order", "#20481", "#20481"),
        ("x", "TRUE", "Yes"),
        ("x", "no", "No"),
        ("isActive", "0", "No"),
        ("x", "0", "0"),
        ("status", "Active", '<span class="badge green">Active</span>'),
        ("Subscription state", "past_due", '<span class="badge red">past_due</span>'),
        ("status", "not active", '<span class="badge">not active</span>'),
        ("status", "trial - overdue", '<span class="badge red">trial - overdue</span>'),
        ("plan", "Pro", '<span class="badge">Pro</span>'),
        ("plan", "x" * 31, "x" * 31),
        ("customerStatus", "active", '<span class="badge green">active</span>'),
        ("estate", "active", "active"),
        ("balance", "-1234.5", "-1,234.50"),
        ("LTV", "1.234,5", "1,234.50"),
        ("total", "1.234", "1.234"),  # 1,234 or 1.234?
        ("total", "49,90", "49.90"),
        ("total", "€49.90", "€49.90"),
        ("total orders", "1200", "1,200"),
        ("order number", "1200", "1200"),
        ("phone", "0123456789", "0123456789"),
        ("notes", "a\r\nb <c>", "a<br>b &lt;c&gt;"),
    ],
)
def test_recognises(column, value, html):
    assert f'<span class="c-sb-list-item__text">{html}</span>' in shown(("name", column), ("Ann", value))


@pytest.mark.parametrize(
    ("names", "values", "heading"),
    [
        (("id", "name"), ("1", "Ann"), "Ann"),
        (("id", "name", "company"), ("1", "  ", "Acme"), "Acme"),
        (("id", "First Name", "last_name"), ("1", "Ann", "Lee"), "Ann Lee"),
        (("id", "fname", "lname"), ("1", "", "Lee"), "Lee"),
        (("id", "firstName", "lastName"), ("1", "Ann", "Lee"), "Ann Lee"),
        (("id", "x"), ("", "7"), "7"),
        (("id",), ("",), "Customer"),
    ],
)
def test_heading(names, values, heading):
    assert shown(names, values).startswith(f"<h4>{heading}</h4>")


def test_a_currency_stands_with_its_amounts_or_for_itself():
    assert "Currency" not in shown(("name", "total", "currency"), ("Ann", "5", "EUR"))
    assert "Currency" in shown(("name", "currency"), ("Ann", "EUR"))


@pytest.mark.parametrize(
    ("column", "title"),
    [
        ("last_order", "Last order"),
        ("id", "ID"),
        ("customer_id", "Customer ID"),
        ("Last Order", "Last Order"),
        ("größe", "Größe"),
        ("-", "-"),
    ],
)
def test_titles(column, title):
    assert f'__label">{title}<' in shown(("name", column), ("Ann", "7"))


@pytest.mark.parametrize(
    ("url", "links"),
    [
        ("https://crm.example/1", ["https://crm.example/1"]),
        ("javascript:alert(1)", []),
        ("", []),
    ],
)
def test_the_heading_leads_to_the_page_of_the_customer(url, links):
    looked = seen(shown(("name", "page"), ("Ann", url), url_column="Page"))
    assert (looked.links, looked.text) == (links, "Ann")


@pytest.mark.parametrize(
    ("pattern", "values", "links"),
    [
        ("https://x.example/{id}", ("Ann", "a/b?c=d&#", ""), ["https://x.example/a%2Fb%3Fc%3Dd%26%23"]),
        ("https://x.example/{ID}/{Last order}", ("Ann", "1", "2"), ["https://x.example/1/2"]),
        ("https://x.example/{id}/{last order}", ("Ann", "1", ""), []),
        ("https://x.example/{nothing}", ("Ann", "1", ""), []),
        ("mailto:{id}", ("Ann", "a@example.com", ""), ["mailto:a@example.com"]),
        ("https://x.example/{id}", ("Ann", "é", ""), ["https://x.example/%C3%A9"]),
        ("https://x.example/{id}/delete", ("Ann", "..", ""), []),
        ("https://x.example/c/{id}", ("Ann", ".", ""), []),
        ("https://x.example/c/{id}", ("Ann", "...", ""), ["https://x.example/c/..."]),
    ],
)
def test_patterns_of_links(pattern, values, links):
    html = shown(("name", "id", "Last order"), values, links=(("id", pattern),))
    assert seen(html).links == links


# What is hostile

EVERY_KIND = (
    *("name", "email", "Web site", "status", "since", "balance", "currency", "seats", "is_active", "notes"),
    "page",
)


def card_with(value):
    """Return a card with the value in every column, the header, a related row, a link's pattern and a title."""
    names = (*EVERY_KIND, clean_name(value) or "x")
    related = {"past_orders": rows_of(ORDER_NAMES, [[value] * len(ORDER_NAMES)])}
    display = {"links": (("notes", "https://x.example/{notes}"),), "titles": (("since", value),), "url_column": "page"}
    return shown(names, [value] * len(names), relations=[ORDERS], related=related, **display)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(card_with, id="a customer"),
        pytest.param(lambda value: builtin.unknown([value], matches=[(value, value)]), id="nobody with an address"),
        pytest.param(lambda value: builtin.no_address([(value, value)]), id="nobody without an address"),
        pytest.param(lambda value: builtin.found_by([(value, value)]), id="found by the subject"),
    ],
)
def test_hostile_values_stay_text(make):
    def wrong(value):
        looked = seen(make(value))
        return looked.wrong or ([] if _plain(value) in _plain(looked.text) else ["not shown"])

    assert first_wrong(wrong) is None


def _plain(text):
    """Return a text without what a browser does not show, or shows as a line end."""
    return "".join(text.replace("\ufffd", "").replace("\x00", "").split())


@given(st.lists(st.text(min_size=1, max_size=40), min_size=3, max_size=3))
def test_any_value_stays_text(values):
    looked = seen(shown(("a", "name", "status"), values))
    assert looked.wrong == []


@pytest.mark.parametrize(
    ("now", "zone", "text"),
    [
        ("2026-03-29T12:00", "UTC", "last updated yesterday at 22:30."),
        ("2026-03-28T23:59", "UTC", "last updated today at 22:30."),
        ("2026-03-29T12:00", "Europe/Berlin", "last updated yesterday at 23:30."),
        ("2026-03-29T12:00", "Asia/Tokyo", "last updated today at 07:30."),
        ("2026-04-02T12:00", "UTC", "last updated on 28 March 2026 at 22:30, 5 days ago."),
        ("2027-04-02T12:00", "UTC", "last updated on 28 March 2026 at 22:30, 370 days ago."),
    ],
)
def test_age(now, zone, text):
    read = datetime.fromisoformat("2026-03-28T22:30+00:00").timestamp()
    seconds = datetime.fromisoformat(f"{now}+00:00").timestamp()
    assert text in seen(builtin.stale(read, seconds, ZoneInfo(zone))).text


@pytest.mark.parametrize(
    ("names", "row", "heading"),
    [
        (
            ("Customer ID", "Billing First Name", "Billing Last Name", "email"),
            ("7", "Ada", "Lovelace", "a@b.c"),
            "Ada Lovelace",
        ),
        (("id", "billing_first_name", "billing_last_name"), ("7", "Ada", "Lovelace"), "Ada Lovelace"),
        (("id", "shipping_last_name", "shipping_first_name"), ("7", "Lovelace", "Ada"), "Ada Lovelace"),
        (("id", "Billing Name"), ("7", "Ada Lovelace"), "Ada Lovelace"),
        (("id", "display_name", "username"), ("7", "Ada Lovelace", "ada"), "Ada Lovelace"),
        (("id", "username"), ("7", "ada"), "ada"),
        (("id", "givenName", "familyName"), ("7", "Ada", "Lovelace"), "Ada Lovelace"),
        (("id", "Forename", "Surname"), ("7", "Ada", "Lovelace"), "Ada Lovelace"),
        (("id", "First", "Last"), ("7", "Ada", "Lovelace"), "Ada Lovelace"),
        (("company", "first_name", "last_name"), ("Engines", "Ada", "Lovelace"), "Ada Lovelace"),
        (("company", "first_name", "last_name"), ("Engines", "", " "), "Engines"),
        (("company", "billing first name", "billing last name"), ("Engines", "Ada", ""), "Ada"),
        (("id", "organization"), ("7", "Engines"), "Engines"),
        (("id", "first name", "billing first name"), ("7", "", "Ada"), "Ada"),
        (("email", "plan name"), ("a@b.c", "Pro"), "a@b.c"),
        (("email", "product name", "account manager name"), ("a@b.c", "Pro", "Bob"), "a@b.c"),
        (("email", "billing country name"), ("a@b.c", "Italy"), "a@b.c"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_the_heading_is_the_persons_name(names, row, heading):
    assert re.search(rf"<h4>(<a href=[^>]*>)?{re.escape(heading)}(</a>)?</h4>", shown(names, row))
