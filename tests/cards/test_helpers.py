"""The helpers of templates: the table in docs/cards.md is the table of their tests."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cards.helpers import HELPERS, Clock
from appliance.cards.markup import Markup
from appliance.cards.template import CardTemplate
from appliance.customers.record import Columns, Record
from tests.cards.hostile import first_wrong
from tests.cards.html5 import seen

DOCS = (Path(__file__).parents[2] / "docs" / "cards.md").read_text("utf-8")
NOW = datetime(2026, 5, 3, 12, 0, tzinfo=ZoneInfo("Europe/Berlin"))
DOCUMENTED = re.findall(r"^\| `([a-z_]+)` \| `(.+?)` \| `(.*?)` \|", DOCS, re.M)


def render(text, **columns):
    record = Record(Columns([*columns, "name"]), [*columns.values(), "Ann"])
    return CardTemplate(text, "card.html").render((record,), (), NOW, lambda: NOW)


@pytest.mark.parametrize(("helper", "example", "html"), DOCUMENTED, ids=[example for _, example, _ in DOCUMENTED])
def test_as_documented(helper, example, html):
    assert helper in example
    assert render(example) == html


def test_every_helper_is_documented():
    assert {helper for helper, _, _ in DOCUMENTED} == {*HELPERS, "date", "ago"}


EVERY = {
    "badge": "{{ badge(customer.x) }}{{ badge('a', customer.x) }}{{ badge(customer.x, 'red') }}",
    "link": (
        "{{ link(customer.x) }}{{ link(customer.x, customer.x) }}{{ link('https://example.com/' + customer.x, 'a') }}"
        "{{ link('mailto:' + customer.x) }}"
    ),
    "url_escape": "{{ link('https://example.com/?q=' + url_escape(customer.x), 'b') }}",
    "amounts": "{{ money(customer.x) }}{{ money('1', customer.x) }}{{ number(customer.x) }}",
    "times": "{{ date(customer.x) }}{{ ago(customer.x) }}",
    "copyable": "{{ copyable(customer.x) }}",
    "section": (
        "{% apply section(customer.x, open=True) %}{{ customer.x }}{% end %}"
        "{{ section(customer.x, count=1)(customer.x) }}"
    ),
    "two_line_list": (
        "{{ two_line_list([(customer.x, customer.x), ('a', badge(customer.x))]) }}"
        "{{ two_line_list([('b', 'x' + badge('a') + customer.x)]) }}"
    ),
    "timeline": "{{ timeline([(customer.x, customer.x), (link(customer.x), '')]) }}",
}


@pytest.mark.parametrize("text", EVERY.values(), ids=EVERY)
def test_hostile_values_stay_text(text):
    template = CardTemplate(text, "card.html")
    columns = Columns(["x"])
    wrong = first_wrong(lambda value: seen(template.render((Record(columns, [value]),), (), NOW, lambda: NOW)).wrong)
    assert wrong is None


@given(st.text(max_size=60))
def test_no_value_fails(value):
    assert seen(render("".join(EVERY.values()), x=value)).wrong == []


@pytest.mark.parametrize("value", [None, 7, 1.5, True, b"<b>", Markup(b"<strong>x</strong>"), NOW, NOW.date()])
def test_a_value_of_another_type_is_shown(value):
    clock = Clock(lambda: NOW)
    helpers: list[Any] = [*(HELPERS[name] for name in ("badge", "link", "money", "number")), clock.date, clock.ago]
    for helper in helpers:
        assert seen(helper(value).decode()).wrong == []


@pytest.mark.parametrize(
    ("value", "html"),
    [
        ("2026-05-03", "today"),
        ("2026-05-02", "yesterday"),
        ("2026-05-04", "tomorrow"),
        ("2026-05-05", "in 2 days"),
        ("2026-04-03", "30 days ago"),
        ("2026-02-03", "3 months ago"),
        ("2025-05-03", "12 months ago"),
        ("2023-05-02", "3 years ago"),
        ("2030-05-04", "in 4 years"),
        ("2026-05-03 11:59:30", "just now"),
        ("2026-05-03 11:30", "30 minutes ago"),
        ("2026-05-03T09:00:00Z", "1 hour ago"),
        ("2026-05-03T09:00:00+00:00", "1 hour ago"),
        ("2026-05-03 14:30", "in 2 hours"),
        ("2026-05-02 11:00", "yesterday"),
        ("1777798800", "1 hour ago"),
        ("soon", "soon"),
        ("", ""),
        ("0001-01-01T00:00:00+14:00", "2025 years ago"),
        ("9999-12-31T23:59:59-14:00", "in 7973 years"),
    ],
)
def test_ago(value, html):
    assert render("{{ ago(customer.x) }}", x=value) == html


@pytest.mark.parametrize(
    ("zone", "html"), [(UTC, "1 May 2026"), (ZoneInfo("Asia/Tokyo"), "2 May 2026")], ids=["UTC", "Tokyo"]
)
def test_a_day_is_that_of_the_zone(zone, html):
    now = NOW.astimezone(zone)
    template = CardTemplate('{{ date("2026-05-01T22:30:00Z") }}', "card.html")
    assert template.render((Record(Columns(["x"]), [""]),), (), now, lambda: now) == html


@pytest.mark.parametrize(
    ("call", "html"),
    [
        ('money("49,90", "€")', "€49.90"),
        ('money("1,234,567.891", "$")', "$1,234,567.89"),
        ('money("1.234,5")', "1,234.50"),
        ('money("-0.001", "$")', "$0.00"),
        ('money("1e5")', "1e5"),
        ('money("1234.5", "JPY", 0)', "1,235\N{NO-BREAK SPACE}JPY"),
        ('number("-1234567")', "-1,234,567"),
        ("number(len(addresses))", "0"),
        ('number("0.00000001")', "0.00000001"),
        ('number("-0.0000000")', "-0.0000000"),
        ('badge("x", "pink")', '<span class="badge">x</span>'),
        ('badge("active", "grey")', '<span class="badge">active</span>'),
        ('badge("")', ""),
        ('two_line_list([("a", ""), ("b", None)])', ""),
        ("timeline([])", ""),
        ('badge("a") + " & " + badge("b")', '<span class="badge">a</span> &amp; <span class="badge">b</span>'),
    ],
)
def test_more_of_them(call, html):
    assert render(f"{{{{ {call} }}}}") == html
