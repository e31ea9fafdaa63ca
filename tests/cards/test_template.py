"""The operator's own card."""

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from appliance.cards import builtin
from appliance.cards.markup import Markup
from appliance.cards.template import CardTemplate, TemplateError, escape
from appliance.customers.record import Columns, Record, Rows
from appliance.outcomes import Outcome
from appliance.sidebar.protocols.base import Message
from tests.cards.hostile import first_wrong
from tests.factory import NOW, body_for, make_app, make_snapshot, sign

ORDER = Record(Columns(["total"]), ["<9>"])
ANN = Record(Columns(["name", "Last order"]), ["Ann & <Co>", "#1"], {"orders": Rows([ORDER, ORDER])})
BOB = Record(Columns(["name", "Last order"]), ["Bob", ""])
AS_OF = datetime.fromtimestamp(NOW, UTC)


def render(text, *customers):
    return CardTemplate(text, "card.html").render(customers or (ANN, BOB), ("ann@example.com",), AS_OF, lambda: AS_OF)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<b>{{ customer.name }}</b>", "<b>Ann &amp; &lt;Co&gt;</b>"),
        ('{{ customer["LAST ORDER"] }} {{ customer.last_order }}', "#1 #1"),
        ("{% for one in customers %}{{ one.name }};{% end %}", "Ann &amp; &lt;Co&gt;;Bob;"),
        ("{% for order in customer.orders %}{{ order.total }}{% end %}", "&lt;9&gt;&lt;9&gt;"),
        ("{{ addresses[0] }} {{ as_of.year }} {{ len(customers) }}", "ann@example.com 2026 2"),
        ("{# nothing #}é", "é"),
    ],
)
def test_renders(text, html):
    assert render(text) == html


def test_hostile_values_stay_text():
    columns = Columns(["name"])
    wrong = first_wrong(lambda value: {*"<>\"'"} & {*render("{{ customer.name }}", Record(columns, [value]))})
    assert wrong is None


def test_what_a_helper_made_is_not_escaped_again():
    assert escape(Markup(b"<b>")) == b"<b>"
    assert escape(b"<b>") == b"&lt;b&gt;"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a\n{{ customer.pln }}", 'card.html:2: there is no column "pln"'),
        ("{{ custmer.name }}", "card.html:1: name 'custmer' is not defined; did you mean customer?"),
        ("a\n\n{% if customer %}", "card.html:3: Missing {% end %} block for if"),
        ("{{ customer.name", "card.html:1: Missing end expression }}"),
        ("{% fly %}", "card.html:1: unknown operator: 'fly'"),
        ("{{ float(customer.name) }}", "card.html:1: ValueError"),
        ("{{ customer['x'] }}", "card.html:1: KeyError"),
        ("{{ user.role }}", 'card.html:1: user.role is not named in vary; add "user.role" to vary of this [[app]]'),
        (
            "a\n{{ section('Orders') }}",
            "card.html:2: a section stands around HTML: {% apply section(...) %} ... {% end %}",
        ),
        (
            "{{ timeline([customer.name]) }}",
            'card.html:1: timeline takes a list of pairs: timeline([("Label", text), ("Label", text)])',
        ),
        ("{% include other.html %}", "card.html: a template cannot include or extend another"),
        ("{% extends other.html %}", "card.html: a template cannot include or extend another"),
    ],
)
def test_a_fault_says_where_and_holds_no_value(text, sentence):
    with pytest.raises(TemplateError) as caught:
        render(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("value", "shown", "raw"),
    [
        ("<é&>", "&lt;é&amp;&gt;", "<é&>"),
        ("\"'", "&quot;&#x27;", "\"'"),
        (b"<b>", "&lt;b&gt;", "<b>"),
        (Markup(b"<b>"), "<b>", "<b>"),
        (None, "None", "None"),
        (["<"], "[&#x27;&lt;&#x27;]", "['<']"),
        (1.5, "1.5", "1.5"),
    ],
    ids=["text", "quotes", "bytes", "markup", "None", "list", "number"],
)
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "{{% if 1 %}}{}{{% end %}}",
        "{{% if 0 %}}{{% else %}}{}{{% end %}}",
        "{{% apply bytes %}}{}{{% end %}}",
        "{{% for x in [1] %}}{}{{% end %}}",
        "{{% try %}}{}{{% finally %}}{{% end %}}",
        "{{% try %}}{{{{ 1 / 0 }}}}{{% except ZeroDivisionError %}}{}{{% end %}}",
    ],
    ids=["plain", "if", "else", "apply", "for", "try", "except"],
)
def test_every_kind_of_value_is_shown_as_tornado_shows_it(value, shown, raw, around):
    """Also within blocks, where the code that shows it is replaced as well."""
    template = CardTemplate(around.format("{{ addresses }}|{% raw addresses %}"), "card.html")
    assert template.render((ANN,), value, AS_OF, lambda: AS_OF) == f"{shown}|{raw}"
    assert "_tt_tmp" not in template._code.co_varnames


@pytest.mark.parametrize("tag", ["{{{{ {} }}}}", "{{% raw {} %}}"], ids=["shown", "raw"])
@pytest.mark.parametrize("line", [1, 2, 4])
def test_a_fault_has_its_line_whichever_way_it_is_shown(tag, line):
    text = "{{ customer.name }}\n" * (line - 1) + tag.format("customer.pln") + "\n{{ customer.name }}"
    with pytest.raises(TemplateError, match=rf'^card\.html:{line}: there is no column "pln"$'):
        render(text)


def test_a_fault_of_python_says_where(logged):
    with pytest.raises(TemplateError, match=r"^card\.html:2: this is not Python: invalid syntax$"):
        render("a\n{{ 1 + }}")
    assert logged.take("library")["library"] == "tornado.application"


@pytest.mark.parametrize("statement", ["global customer", "global seen", "global seen, customer"])
def test_no_value_of_one_card_is_left_for_the_next(statement):
    with pytest.raises(TemplateError, match=r"^card\.html:2: this is not Python: "):
        CardTemplate(f"a\n{{% set {statement} %}}", "card.html")


def test_a_failing_card_gives_the_agent_the_built_in_one(tmp_path):
    app = make_app(make_snapshot(tmp_path), template=CardTemplate("{{ customer.pln }}", "card.html"))
    body = body_for("ann@example.com")
    first, second = (app.answer(Message(body, sign(body))) for _ in range(2))
    assert (first.response.status, first.outcome) == (200, Outcome.CARD_FAULT)
    assert json.loads(first.response.body)["html"].startswith("<h4>Ann Lee</h4>")
    assert first.fault == 'card.html:1: there is no column "pln"'
    assert (second.response.body, second.fault) == (first.response.body, "")


def test_the_card_is_for_customers(tmp_path):
    app = make_app(make_snapshot(tmp_path), template=CardTemplate("<b>{{ customer.name }}</b>", "card.html"))
    body = body_for("ann@example.com")
    assert app.answer(Message(body, sign(body))).response.body == b'{"html":"<b>Ann Lee</b>"}'
    body = body_for("nobody@example.com")
    assert json.loads(app.answer(Message(body, sign(body))).response.body)["html"] == builtin.unknown(
        ["nobody@example.com"]
    )


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ('{{ as_of.strftime("%Y %Z") }}', "2026 CEST"),  # C code that imports a module by the template's namespace
        ("{% import math %}{{ math.floor(2.5) }}", "2"),
        ("{% from math import floor %}{{ floor(2.5) }}", "2"),
        ("{{ len(customers) }} {{ sorted([2, 1]) }}", "1 [1, 2]"),
        ("{% set seen = [] %}{% apply section('A') %}{% set x = seen.append(1) %}{% end %}{{ len(seen) }}", "1"),
    ],
    ids=["strftime", "import", "from import", "built-in functions", "a name within apply"],
)
def test_what_python_needs_is_in_the_namespace_of_each_card(text, html):
    record = Record(Columns(("name",)), ("Ann Lee",), {})
    now = datetime(2026, 5, 3, 12, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    template = CardTemplate(text, "card.html")
    for _ in range(2):
        assert template.render((record,), ("ann@example.com",), now, lambda: now).endswith(html)


def test_one_card_leaves_nothing_for_the_next():
    """Names that a template sets are gone with its rendering."""
    record = Record(Columns(("name",)), ("Ann Lee",), {})
    now = datetime(2026, 5, 3, tzinfo=UTC)
    template = CardTemplate("{% set customer = 7 %}{{ customer }}", "card.html")
    assert [template.render((record,), (), now, lambda: now) for _ in range(2)] == ["7", "7"]
    assert CardTemplate("{{ customer.name }}", "card.html").render((record,), (), now, lambda: now) == "Ann Lee"
