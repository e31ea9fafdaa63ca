"""What Help Scout removes from a card is known, said with its line, and left out of what is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cards.help_scout_html import KEPT, Removal, clean, instead, removals_of, sentences
from appliance.sidebar.protocols.base import Message
from appliance.sidebar.protocols.helpscout_app import HelpScoutApp
from tests.factory import body_for, make_app, make_snapshot, sign

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("html", "left", "removed"),
    [
        pytest.param("<h4>A</h4>", "<h4>A</h4>", [], id="nothing"),
        pytest.param("<p style='color: red'>A</p>", "<p>A</p>", ["style=…"], id="style"),
        pytest.param("<style>p { color: red }</style>A", "A", ["<style>"], id="style element"),
        pytest.param("<script>alert('<p>')</script>A", "A", ["<script>"], id="script"),
        pytest.param('<p onclick="x()" class="muted">A</p>', '<p class="muted">A</p>', ["onclick=…"], id="event"),
        pytest.param('<a href="javascript:x()">A</a>', "<a>A</a>", ["href=javascript:…"], id="script in a link"),
        pytest.param('<a href=" JavaScript :x()">A</a>', "<a>A</a>", ["href=JavaScript:…"], id="script, spaced"),
        pytest.param(
            '<a href="mailto:a@b.c?x=1&amp;y" target="_blank">A</a>',
            '<a href="mailto:a@b.c?x=1&amp;y" target="_blank">A</a>',
            [],
            id="link",
        ),
        pytest.param('<a href="#" class="toggleBtn">A</a>', '<a href="#" class="toggleBtn">A</a>', [], id="toggle"),
        pytest.param("<iframe src=x>y</iframe>A", "A", ["<iframe>"], id="iframe"),
        pytest.param("<img src=x onerror=y>A", "A", ["<img>"], id="picture"),
        pytest.param("<form><button>A</button></form>", "A", ["<form>", "<button>"], id="form"),
        pytest.param(
            "<table><tr><td>A</td><td>B</td></tr></table>",
            "AB",
            ["<table>"],
            id="table",
        ),
        pytest.param("<td>A</td>", "A", ["<td>"], id="cell alone"),
        pytest.param("<svg><svg></svg><text>B</text></svg>A", "A", ["<svg>"], id="nested in its like"),
        pytest.param("<svg/>A", "A", ["<svg>"], id="closed at once"),
        pytest.param("<h1 id=x>A</h1>", "A", ["<h1>"], id="heading"),
        pytest.param("<div id=x data-y>A</div>", "<div>A</div>", ["id=…", "data-y=…"], id="other attributes"),
        pytest.param("A<br/>B<br></br>", "A<br>B<br>", [], id="void"),
        pytest.param("<!-- c --><!DOCTYPE html>A &lt; B", "A &lt; B", [], id="comment"),
        pytest.param("<style>p {", "", ["<style>"], id="never closed"),
        pytest.param("a < b & c", "a &lt; b &amp; c", [], id="text"),
        pytest.param('<P CLASS="muted">A</P>', '<p class="muted">A</p>', [], id="upper case"),
    ],
)
def test_what_is_left(html: str, left: str, removed: list[str]) -> None:
    cleaned = clean(html)
    assert (cleaned.html, [removal.what for removal in cleaned.removals]) == (left, removed)
    assert clean(left).html == left
    assert clean(left).removals == ()


@given(st.text(alphabet="<>/ap'\"= hrefstyl\n!-", max_size=60))
def test_whatever_is_left_is_kept(html: str) -> None:
    left = clean(html).html
    assert clean(left).removals == ()
    assert set(re.findall(r"<(\w+)", left)) <= set(KEPT)


TEMPLATE = """<h4>{{ customer.name }}</h4>
<p style="color: {{ "red" if customer.plan > "a" else 'blue' }}">x</p>
{% if customer.vip %}
<img src="{{ customer.picture }}">
{% end %}
{# <table>
   in a comment #}
<div class="{% if customer.vip %}green{% end %}"
     id="vip"
     onclick='go("{{ customer.id }}")'>
<h{{ customer.level }}>of a level</h{{ customer.level }}>
<p {% if customer.vip %}style="x"{% end %}>y</p>
{% apply section("<script>") %}<p>z</p>{% end %}
{{! not a value }} <p style="x"></p>
<a href="{{ link }}">a</a> 1 < 2 {{ 1 < 2 }}
{% raw customer.html %}
"""


def test_a_template_says_its_lines() -> None:
    assert removals_of(TEMPLATE) == (
        Removal(2, "style=…"),
        Removal(4, "<img>"),
        Removal(9, "id=…"),
        Removal(10, "onclick=…"),
        Removal(12, "style=…"),
        Removal(14, "style=…"),
    )
    assert list(sentences("card.html", removals_of(TEMPLATE))) == [
        "card.html:2: Help Scout removes style=… (also on lines 12, 14); use classes, such as muted, badge or green",
        "card.html:4: Help Scout removes <img>; leave it out",
        "card.html:9: Help Scout removes id=…; leave it out",
        "card.html:10: Help Scout removes onclick=…; nothing runs in a card there, and only links can be clicked",
    ]


def test_many_lines_are_not_all_listed() -> None:
    (said,) = sentences("c.html", removals_of("<b>x</b>\n" * 9))
    assert said == "c.html:1: Help Scout removes <b> (also on lines 2, 3, 4, …); write <strong>"


@pytest.mark.parametrize(
    ("what", "todo"),
    [
        ("<table>", "use a list"),
        ("<h1>", "write <h4>"),
        ("<hgroup>", "leave it out"),
        ("<button>", "nothing runs"),
        ("<b>", "write <strong>"),
        ("<blockquote>", "leave it out"),
        ("<style>", "use classes"),
    ],
)
def test_what_to_do_instead(what: str, todo: str) -> None:
    assert instead(what).startswith(todo)


@pytest.mark.parametrize(
    ("header", "cleaned"),
    [("X-HelpScout-Signature", True), ("X-HELPSCOUT-SIGNATURE", True), ("X-FreeScout-Signature", False)],
)
def test_who_cleans(header: str, cleaned: bool) -> None:
    assert HelpScoutApp([b"secret"], header=header).removes_html is cleaned


@pytest.mark.parametrize("html", ["", " \n", "<p></p>", "<!-- x -->", "<script>x</script>", "<img src=x>", "<hr>"])
def test_what_shows_nothing(html: str) -> None:
    assert clean(html).is_blank


def test_what_shows_something() -> None:
    assert not clean("<p>&amp;</p>").is_blank


# What is ours stays whole.


def test_the_built_in_card_and_its_notes_are_kept(tmp_path: Path) -> None:
    app = make_app(make_snapshot(tmp_path))
    for body in (body_for("ann@example.com", "jackie.chan@example.com"), body_for("x@example.com"), body_for()):
        assert clean(json.loads(app.answer(Message(body, sign(body))).response.body)["html"]).removals == ()


@pytest.mark.parametrize("name", ["saas", "shop", "licences"])
def test_the_examples_are_kept(name: str) -> None:
    assert removals_of((ROOT / "conf" / "cards" / name / "card.html").read_text("utf-8")) == ()


def test_the_docs_show_only_what_is_kept() -> None:
    text = (ROOT / "docs" / "cards.md").read_text("utf-8")
    shown = re.findall(r"\| `(<[^`]+>)` \|", text) + re.findall(r"```html\n(.*?)```", text, re.DOTALL)
    assert len(shown) > 10
    assert [html for html in shown if removals_of(html)] == []


def test_the_docs_name_what_is_kept() -> None:
    text = " ".join((ROOT / "docs" / "cards.md").read_text("utf-8").split())
    named = [element for element in KEPT if element != "a"]
    assert f"It keeps {', '.join(f'`{element}`' for element in named)} and `a`, with `class`" in text
    assert "`href` and `target` of a link" in text
    assert KEPT["a"] == {"class", "href", "target"}
    assert all(KEPT[element] == {"class"} for element in named)
