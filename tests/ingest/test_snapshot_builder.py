"""Related rows, joined to their customers."""

import pytest

from appliance.customers.snapshot import MAX_JOIN_KEYS
from tests.factory import import_spec, open_snapshot, related_spec, run_import, write_csv


def test_related_rows_are_joined_by_addresses_without_dots(folder, tmp_path):
    source = write_csv(tmp_path / "c.csv", [("email",), ("ada.l@gmail.com",)])
    orders = write_csv(
        tmp_path / "o.csv", [("mail", "number"), ("a.d.a.l@googlemail.com", "1"), ("adal@gmail.com", "2")]
    )
    related = related_spec(name="orders", source=orders, table="", key="mail", on="email")
    spec = import_spec(source=source, related=(related,), gmail_dots=True)
    run_import(spec, folder)
    (ada,) = open_snapshot(folder, spec).find(("adal@gmail.com",))
    assert [order.number for order in ada.orders] == ["1", "2"]


ORDERS = [
    ("number", "customer_id", "date", "total"),
    ("1", "7", "2026-01-02", "9"),
    ("2", "7", "2026-03-01", "100"),
    ("3", " 7 ", "", "20"),
    ("4", "8", "2026-02-02", "5"),
    ("5", "", "2026-02-03", "5"),
    ("6", "7", "2025-12-31", "-3"),
    ("7", "999", "2026-02-03", "5"),
]


@pytest.mark.parametrize(
    ("order_by", "limit", "numbers"),
    [
        ("", 10, ["1", "2", "3", "6"]),
        ("date", 10, ["6", "1", "2", "3"]),
        ("-date", 10, ["2", "1", "6", "3"]),
        ("-Date", 2, ["2", "1"]),
        ("total", 10, ["6", "1", "3", "2"]),
        ("-total", 1, ["2"]),
    ],
    ids=["in order", "by date", "newest first", "the newest two", "by number", "the largest"],
)
def test_related_rows(order_by, limit, numbers, tmp_path, folder):
    """Those of a customer, in order: numbers by size, empty ones last, no more than the limit."""
    customers = write_csv(tmp_path / "c.csv", [("ID", "email"), ("7", "ann@example.com"), ("9", "bob@example.com")])
    orders = related_spec(
        name="orders",
        source=write_csv(tmp_path / "o.csv", ORDERS),
        table="orders",
        key="Customer_ID",
        on="id",
        order_by=order_by,
        limit=limit,
    )
    spec = import_spec(source=customers, related=(orders,))
    assert run_import(spec, folder).related == {"orders": 7}
    snapshot = open_snapshot(folder, spec)
    ann, bob = snapshot.find(("ann@example.com", "bob@example.com"))
    assert [order.number for order in ann.orders] == numbers
    assert bob.orders == ()
    snapshot.close()


def test_related_by_address(tmp_path, folder):
    """Rows that name an address are matched in its normal form."""
    customers = write_csv(tmp_path / "c.csv", [("email", "name"), ("Ann@Example.com", "Ann")])
    tickets = write_csv(tmp_path / "t.csv", [("mail", "text"), ("ANN@example.com", "one"), ("bob@example.com", "two")])
    related = related_spec(name="tickets", source=tickets, table="", key="mail", on="email")
    spec = import_spec(source=customers, related=(related,))
    run_import(spec, folder)
    snapshot = open_snapshot(folder, spec)
    (ann,) = snapshot.find(("ann@example.com",))
    assert [ticket.text for ticket in ann.tickets] == ["one"]
    snapshot.close()


def test_related_by_any_of_several_addresses(tmp_path, folder):
    customers = write_csv(tmp_path / "c.csv", [("email", "name"), ("ann+x@example.com; a.lee@example.org", "Ann")])
    tickets = write_csv(
        tmp_path / "t.csv", [("mail", "text"), ("A.Lee@example.org", "one"), ("ann@example.com", "two")]
    )
    related = related_spec(name="tickets", source=tickets, table="", key="mail", on=" Email ")
    spec = import_spec(source=customers, related=(related,), plus_addressing=True)
    run_import(spec, folder)
    snapshot = open_snapshot(folder, spec)
    (ann,) = snapshot.find(("ann@example.com",))
    assert ([ticket.text for ticket in ann.tickets], ann.tickets.total) == (["two", "one"], 2)
    snapshot.close()


def test_a_cell_of_very_many_addresses_has_a_bounded_card(tmp_path, folder):
    """A card of 16 MB took 0.8 s, in which the worker answered nobody."""
    addresses = [f"a{number}@example.com" for number in range(MAX_JOIN_KEYS + 1)]
    customers = write_csv(tmp_path / "c.csv", [("email",), (" ".join(addresses),)])
    tickets = write_csv(tmp_path / "t.csv", [("mail",), *((address,) for address in addresses)])
    related = related_spec(name="tickets", source=tickets, table="", key="mail", on="email")
    spec = import_spec(source=customers, related=(related,))
    run_import(spec, folder)
    snapshot = open_snapshot(folder, spec)
    (found,) = snapshot.find((addresses[-1],))
    assert [ticket.mail for ticket in found.tickets] == addresses[:MAX_JOIN_KEYS]
    snapshot.close()
