"""Texts that mean nothing: the cells that hold one are empty, wherever a cell counts."""

import sqlite3
from contextlib import closing

import pytest

from appliance.customers.record import fields_of
from appliance.ingest import dry_run
from appliance.ingest.spec import ImportRefused
from tests.factory import NOW, Timer, import_spec, open_snapshot, related_spec, run_import, write_csv

NULLS = ("NULL", "\\N", "(none)")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


CELLS = {
    "MySQL's": ("\\N", ""),
    "in words": ("NULL", ""),
    "with spaces around": (" NULL\t", ""),
    "with a line end behind": ("NULL\n", ""),
    "with a no-break space behind": ("NULL\u00a0", ""),
    "with brackets": ("(none)", ""),
    "another case": ("null", "null"),
    "within a text": ("NULL and void", "NULL and void"),
    "twice": ("NULL NULL", "NULL NULL"),
    "a name of the kind": ("Null", "Null"),
    "nothing": ("", ""),
    "a space": (" ", " "),
}


@pytest.mark.parametrize("suffix", [".csv", ".db"])
@pytest.mark.parametrize(("cell", "shown"), CELLS.values(), ids=CELLS.keys())
def test_a_cell_of_such_a_text_alone_is_empty(cell, shown, suffix, folder):
    source = folder.parent / f"c{suffix}"
    if suffix == ".csv":
        write_csv(source, [("email", "plan"), ("ann@example.com", cell)])
    else:
        with closing(sqlite3.connect(source)) as database, database:
            database.execute("CREATE TABLE customers(email, plan)")
            database.execute("INSERT INTO customers VALUES('ann@example.com', ?)", (cell,))
    spec = import_spec(source=source, null_values=NULLS)
    run_import(spec, folder)
    (ann,) = open_snapshot(folder, spec).find(("ann@example.com",))
    assert dict(fields_of(ann)) == {"email": "ann@example.com", "plan": shown}


def test_an_address_cell_may_hold_one(folder):
    rows = [("email", "mail"), ("ann@example.com", "NULL"), ("\\N", "bob@example.com"), (" NULL ", "\\N")]
    source = write_csv(folder.parent / "c.csv", rows)
    report = run_import(import_spec(source=source, addresses=("email", "mail"), null_values=NULLS), folder)
    counts = (report.rows, report.addresses, report.without_address, report.bad_rows, report.unclear_rows)
    assert counts == (2, 2, 0, 0, 0)  # the last row is an empty one
    with pytest.raises(ImportRefused, match="1 of 3 rows are bad"):
        run_import(import_spec(source=source, addresses=("email", "mail")), folder)


def test_they_are_empty_cells_beyond_the_header_too(folder):
    source = folder.parent / "c.csv"
    source.write_bytes(b'email,name\nann@example.com,"NULL\n",NULL\nbob@example.com,Bob,x\n')
    with pytest.raises(ImportRefused, match=r"1 of 2 rows are bad, .*c\.csv:4: 3 cells"):
        run_import(import_spec(source=source, null_values=NULLS), folder)


def test_a_header_is_a_header(folder):
    source = write_csv(folder.parent / "c.csv", [("email", "NULL"), ("ann@example.com", "x")])
    spec = import_spec(source=source, null_values=NULLS)
    run_import(spec, folder)
    assert open_snapshot(folder, spec).metadata.columns == ("email", "NULL")


def test_nobody_is_joined_or_found_by_one(folder):
    """Else everyone without a number would have the orders of all who have none."""
    customers = write_csv(
        folder.parent / "c.csv", [("id", "email"), ("NULL", "ann@example.com"), ("7", "bob@example.com")]
    )
    orders = write_csv(folder.parent / "o.csv", [("id", "number"), ("NULL", "1"), ("7", "NULL"), ("7", "3")])
    related = related_spec(name="orders", source=orders, table="", key="id", on="id", order_by="number")
    spec = import_spec(source=customers, related=(related,), keys=("id", "orders.number"), null_values=NULLS)
    run_import(spec, folder)
    snapshot = open_snapshot(folder, spec)
    (ann,), (bob,) = snapshot.find(("ann@example.com",)), snapshot.find(("bob@example.com",))
    assert ([order.number for order in ann.orders], [order.number for order in bob.orders]) == ([], ["3", ""])
    assert snapshot.find_by_keys([("id", "null"), ("orders.number", "null")]) == ()
    assert [record.email for record in snapshot.find_by_keys([("orders.number", "3")])] == ["bob@example.com"]


def test_a_large_file_is_tried_out_with_them(folder, monkeypatch):
    monkeypatch.setattr(dry_run, "WHOLE", -1)
    source = write_csv(folder.parent / "c.csv", [("email", "name"), ("NULL", "Ann"), ("bob@example.com", "NULL")])
    tried = dry_run.dry_run(import_spec(source=source, null_values=NULLS), folder, clock=lambda: NOW, timer=Timer())
    assert (tried.rows, tried.with_address, tried.bad_rows) == (2, 1, 0)
    assert [list(map(str, (record.email, record.name))) for record in tried.sample] == [
        ["", "Ann"],
        ["bob@example.com", ""],
    ]


def test_other_texts_are_another_spec(folder):
    source = folder / "c.csv"
    assert import_spec(source=source).digest() != import_spec(source=source, null_values=("NULL",)).digest()
