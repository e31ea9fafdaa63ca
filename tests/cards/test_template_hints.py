"""Habits of other template languages get a hint that works here."""

from __future__ import annotations

import re

import pytest

from appliance.cards.template import CardTemplate, TemplateError
from appliance.cards.template_hints import _FILTERS, _OTHER_TAGS, _TAGS, of_filter, of_name, of_tag
from appliance.customers.record import Columns, Record
from tests.cards.test_template import render

ANN = Record(Columns(["name", "Last order", "plan"]), ["Ann", "2026-05-01", "Pro"])


def fault(text: str) -> str:
    with pytest.raises(TemplateError) as caught:
        render(text, ANN)
    assert "Ann" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{% if customer %}\n{% endif %}", "card.html:2: unknown operator: 'endif'; write {% end %}, which ends every"),
        ("{% endfor %}", "write {% end %}"),
        ("{% ENDIF %}", "write {% end %}"),
        ("{% elseif customer.plan %}", "'elseif'; write {% elif … %}"),
        ("{% foreach o in customer.orders %}", "write {% for … in … %}"),
        ("{% assign x = 1 %}", "write {% set name = … %}"),
        ("{% iff customer %}", "did you mean {% if %}?"),
        ("{% esle %}", "did you mean {% else %}?"),
        ("{{ custmer.name }}", "did you mean customer?"),
        ("{{ custumers }}", "did you mean customers?"),
        ("{{ bagde(customer.plan) }}", "did you mean badge?"),
        ("{{ plan }}", "card.html:1: name 'plan' is not defined; write customer.plan"),
        ("{{ last_order }}", "write customer.last_order"),
        ("{% if true %}{% end %}", "write True"),
        ("{{ null }}", "write None"),
        ("{{ customer.name | upper }}", "name 'upper' is not defined; there are no filters; write {{ name.upper() }}"),
        ("{{ customer.name|default('x') }}", 'there are no filters; write {{ name or "…" }}'),
        ("{{ customer.last_order | date }}", "card.html:1: TypeError; there are no filters; write {{ date(name) }}"),
        ("{{ customer.name | escape }}", "{{ name }}, which is escaped already"),
        ("{{ customer.name | truncate }}", "there are no filters; call a helper or a method"),
    ],
)
def test_a_habit_from_elsewhere(text: str, sentence: str) -> None:
    assert sentence in fault(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{% fly %}", "card.html:1: unknown operator: 'fly'"),
        ("{{ zzz }}", "card.html:1: name 'zzz' is not defined"),
        ("{{ customer.name + 1 }}", "card.html:1: TypeError"),
        ("{{ (0 or 1) + '|' }}", "card.html:1: TypeError"),
    ],
)
def test_no_hint_is_made_up(text: str, sentence: str) -> None:
    assert fault(text) == sentence


def test_every_tag_that_is_advised_compiles_here() -> None:
    for tag in _TAGS:
        with pytest.raises(TemplateError) as caught:
            CardTemplate(f"{{% {tag} %}}{{% unclosed", "card.html")
        assert "unknown operator" not in str(caught.value)
    for advised in _OTHER_TAGS.values():
        assert re.sub(r"\W+", " ", advised).split()[0] in _TAGS


def test_every_filter_that_is_advised_renders_here() -> None:
    for advised in _FILTERS.values():
        text = advised.partition("}}, ")[0].partition("%}, ")[0]
        text += "}}" if text.startswith("{{") and not text.endswith("}}") else ""
        text += "%}" if text.startswith("{%") and not text.endswith("%}") else ""
        assert CardTemplate('{% set name = "x" %}{% set names = ["x"] %}' + text, "c").render((ANN,), (), None, None)  # type: ignore[arg-type]


def test_the_hints_are_plain_functions() -> None:
    assert of_tag("Missing {% end %} block for if") == ""
    assert of_name("x", "", (), ()) == ""
    assert of_filter("a || b", ()) == ""
