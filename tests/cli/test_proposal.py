"""What `init` makes of columns, without any file."""

import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.bootstrap.proposal import Proposal, choose
from appliance.ingest.sources.base import SourceError
from appliance.ingest.table import Table

PEOPLE = [f"p{number}@example.com" for number in range(20)]
STAFF = ["boss@example.com", "aide@example.com"] * 10


def table(source="/data/customers.csv", table="", /, **columns):
    rows = tuple(zip(*columns.values(), strict=True))
    return Table(source=source, name=table, columns=tuple(columns), rows=rows)


def case(addresses, left_out=(), **columns):
    return (columns, addresses, left_out)


ADDRESSES = {
    "by contents": case(("contact",), number=["1"], contact=["a@b.example"]),
    "by name first": case(("mail",), ("boss",), boss=["x@b.example"], mail=["a@b.example"]),
    "several": case(("email", "billing_email"), email=["a@b.example"], billing_email=["c@b.example"]),
    "not mostly addresses": case(
        ("login",), email_consent=["yes"] * 3, login=["a@b.example", "c@b.example", "deleted"]
    ),
    "the staff's": case(("email",), ("manager_email",), email=PEOPLE, manager_email=STAFF),
    "the staff's, by contents": case(("contact",), ("manager",), manager=STAFF, contact=PEOPLE),
    "nothing but the staff's": case(("manager",), manager=STAFF),
    "lists and names": case(("who",), who=["Ann <a@b.example>", "a@b.example; c@b.example"]),
    "mostly empty": case(("email", "mail2"), email=["a@b.example", "c@b.example"], mail2=["", "d@b.example"]),
    "no rows": case(("E-Mail",), **{"id": [], "E-Mail": []}),
}


@pytest.mark.parametrize(("columns", "addresses", "left_out"), ADDRESSES.values(), ids=ADDRESSES)
def test_columns_of_addresses(columns, addresses, left_out):
    choice = choose([table(**columns)])
    assert (choice.addresses, choice.left_out) == (addresses, left_out)


def test_no_column_of_addresses():
    with pytest.raises(SourceError, match=r"^/data/customers\.csv has no column in which most cells are email"):
        choose([table(name=["Ann"])])


IDS = {
    "plain": ("helpscout_id", ["604417723", ""], True),
    "in words": ("Help Scout customer ID", ["604417723", "1"], True),
    "as a spreadsheet writes it": ("helpscout_id", ["6.04E+08", "1"], False),
    "another id": ("stripe_id", ["604417723", "1"], False),
    "something else of it": ("helpscout_status", ["1", "2"], False),
}


@pytest.mark.parametrize(("name", "cells", "is_one"), IDS.values(), ids=IDS)
def test_a_column_of_help_scouts_ids(name, cells, is_one):
    choice = choose([table(**{"email": PEOPLE[:2], name: cells})])
    assert choice.id_column == (name if is_one else "")


CUSTOMERS = table(id=["1", "2", "3"], email=PEOPLE[:3], orders_placed=["1", "0", "2"])
OTHERS = {
    "a key of the customers": (table("/data/orders.csv", customer_id=["1", "1", "2"], total=["9", "8", "7"]), "orders"),
    "the customer alone": (table("/data/orders.csv", customer=["1"], total=["9"]), "orders"),
    "an address": (table("/data/orders.csv", email=PEOPLE[:2], total=["9", "8"]), "orders"),
    "a table of a database": (table("/data/shop.db", "order lines", user_id=["3"]), "order_lines"),
    "others' customers": (table("/data/orders.csv", customer_id=["8", "9", "1"]), ""),
    "an id of its own": (table("/data/orders.csv", id=["1", "2", "3"]), ""),
    "no rows": (table("/data/orders.csv", customer_id=[]), ""),
    "a name of Python's": (table("/data/class.csv", customer_id=["1"]), ""),
    "a name of a column": (table("/data/orders_placed.csv", customer_id=["1"]), ""),
    "no name": (table("/data/2026.csv", customer_id=["1"]), ""),
    "another encoding": (replace(table("/data/orders.csv", customer_id=["1"], who=["Ä"]), encoding="cp1252"), ""),
}


@pytest.mark.parametrize(("other", "name"), OTHERS.values(), ids=OTHERS)
def test_related_tables(other, name):
    assert "".join(each.name for each in choose([CUSTOMERS], [other]).related) == name


def test_the_key_must_tell_customers_apart():
    customers = table(id=["1", "1"], email=PEOPLE[:2])
    assert choose([customers], [table("/data/orders.csv", customer_id=["1"])]).related == ()


def test_the_newest_related_row_comes_first():
    orders = table("/data/orders.csv", customer_id=["1", "2"], placed=["2026-01-05", "2026-02-01T10:00:00Z"])
    assert choose([CUSTOMERS], [orders]).related[0].order_by == "-placed"


def test_the_table_called_customers_is_preferred():
    leads, customers = table("/c.db", "aleads", email=PEOPLE), table("/c.db", "Customers", mail=PEOPLE)
    assert choose([leads, customers]).customers is customers


def test_everything_has_its_key():
    orders = replace(table("/data/orders.csv", customer_id=["1"], placed=["2026-01-05"]), skip_lines=2)
    customers = replace(CUSTOMERS, encoding="cp1252", skip_lines=1, lacks_last_end=True)
    proposal = Proposal(
        choice=choose([customers], [orders]),
        secret="secret",
        state="/state",
        listen="127.0.0.1:8443",
        domains=("sidebar.example.com",),
        card="/cards/shop.html",
        vary=("user.role",),
        admin="",
    )
    assert tomllib.loads(proposal.render({"/data/customers.csv": "customers.csv"})) == {
        "server": {"state": "/state", "listen": ["127.0.0.1:8443"]},
        "acme": {"domains": ["sidebar.example.com"]},
        "customers": {
            "source": "customers.csv",
            "addresses": ["email"],
            "encoding": "cp1252",
            "skip_lines": 1,
            "unterminated_last_line": "accept",
        },
        "related": {
            "orders": {
                "source": "/data/orders.csv",
                "key": "customer_id",
                "on": "id",
                "order_by": "-placed",
                "skip_lines": 2,
            }
        },
        "admin": {"listen": ""},
        "app": [{"secrets": ["file:secret"], "card": "/cards/shop.html", "vary": ["user.role"], "page": {}}],
    }


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(ANY_TEXT, ANY_TEXT)
def test_any_name_is_rendered_as_toml(column, card):
    choice = choose([table(**{column: ["a@b.example"]})])
    tree = tomllib.loads(Proposal(choice=choice, secret="secret", card=card).render())
    assert (tree["customers"]["addresses"], tree["app"][0]["card"]) == ([column], card)
