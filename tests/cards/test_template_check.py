"""What `check` says of a template: every column that is not there, by line."""

from datetime import UTC, datetime

import pytest

from appliance.cards.template import CardTemplate
from appliance.cards.template_check import MAX_FAULTS, faults_of
from appliance.cards.vary import Vary
from appliance.customers.record import Columns, Record, Rows
from appliance.customers.snapshot import Relation

COLUMNS = Columns(["Name", "plan", "Last order"])
ORDER_COLUMNS = Columns(["number", "total"])
RELATIONS = [Relation("orders", ORDER_COLUMNS.names, on="Name", by_address=False, key="number")]
ORDERS = Rows([Record(ORDER_COLUMNS, ("7", "1.50"))])
ANN = Record(COLUMNS, ("Ann Secret", "Pro", ""), {"orders": ORDERS})
BOB = Record(COLUMNS, ("Bob Secret", "", "#1"), {"orders": Rows(())})
PLN = 'there is no column "pln"; did you mean "plan"?'
NOW = datetime(2026, 5, 3, tzinfo=UTC)


def faults(text, *records, vary=()):
    template = CardTemplate(text, "card.html")
    return faults_of(template, records or (ANN, BOB), RELATIONS, vary=Vary(vary), as_of=NOW, now=NOW)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            "{{ customer.name }}{{ customer['last ORDER'] }}{% for one in customer.orders %}{{ one.total }}{% end %}"
            "{{ customers[0].plan }} {{ customer.orders.total }} {{ as_of }} {{ addresses[0] }}",
            [],
        ),
        (
            "{{ customer.nam }}\n{{ customer['pln'] }}\n{{ customers[0].zzz }}",
            [
                'card.html:1: there is no column "nam"; did you mean "name"?',
                'card.html:2: there is no column "pln"; did you mean "plan"?',
                'card.html:3: there is no column "zzz"; there are name, plan, last_order, orders',
            ],
        ),
        (
            "{% for one in customer.ordrs %}{{ one.x }}{% end %}",
            ['card.html:1: there is no column "ordrs"; did you mean "orders"?'],
        ),
        (
            "{% for one in customer.orders %}\n{{ one.totl }}{% end %}",
            ['card.html:2: there is no column "totl"; did you mean "total"?'],
        ),
        (
            "{{ badge(customer.stat) }}{{ two_line_list([\n('x', customer.plam)]) }}",
            [
                'card.html:1: there is no column "stat"; there are name, plan, last_order, orders',
                'card.html:1: there is no column "plam"; did you mean "plan"?',
            ],
        ),
        ("{% apply section('x') %}{{ customer.pln }}{% end %}", [f"card.html:1: {PLN}"]),
        ("{% if customer.plan == 'Pro' %}\n{{ customer.pln }}{% end %}", [f"card.html:2: {PLN}"]),
        ("{{ custmer.name }}", ["card.html:1: name 'custmer' is not defined; did you mean customer?"]),
        ("\n{{ float(customer.name) }}", ["card.html:2: ValueError"]),
        ("{{ float(customer.pln) }}", ['card.html:1: there is no column "pln"; did you mean "plan"?']),
        ("{{ user.role }}", ['card.html:1: user.role is not named in vary; add "user.role" to vary of this [[app]]']),
    ],
)  # fmt: skip
def test_names_every_column_that_is_not_there(text, sentences):
    assert list(faults(text)) == sentences


def test_looks_into_rows_that_nobody_has():
    """And takes nothing else amiss that they lack."""
    text = "{% for one in customer.orders %}{{ one.totl }}{{ int(one.number) }}{% end %}"
    assert faults(text, BOB) == ('card.html:1: there is no column "totl"; did you mean "total"?',)
    assert faults("{% for one in customer.orders %}{{ int(one.number) }}{% end %}", BOB) == ()


def test_looks_as_every_role():
    text = "{% if user.role == 'owner' %}{{ customer.pln }}{% end %}{{ mailbox.id }}"
    assert len(faults(text, vary=("user.role", "mailbox.id"))) == 1


def test_holds_no_value():
    assert "Secret" not in str(faults("{{ [].index(customer.name) }}{{ customer.x }}"))


def test_says_no_more_than_can_be_read():
    assert len(faults("".join(f"{{{{ customer.x{number} }}}}\n" for number in range(99)))) == MAX_FAULTS
