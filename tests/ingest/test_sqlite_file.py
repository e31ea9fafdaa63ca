"""Any sound database is read, whatever stands in it beside what was asked for."""

import sqlite3
from contextlib import closing

import pytest

from appliance.customers.record import fields_of, values_of
from appliance.customers.snapshot_store import open_newest
from appliance.ingest.spec import ImportRefused
from tests.factory import CUSTOMERS, import_spec, open_snapshot, run_import
from tests.ingest.imports import make_database, names

TABLE = "CREATE TABLE customers(email, name)"
ADA = "INSERT INTO customers VALUES('ada@example.com', 'Ada')"
BOB = "INSERT INTO customers VALUES('bob@example.com', 'Bob')"


def make(file, *statements):
    """Write a database as a program does that has its own collation and function."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.create_collation("LOCALIZED", lambda one, other: (one > other) - (one < other))
        database.create_function("slug", 1, str.lower, deterministic=True)
        for statement in statements:
            database.execute(statement)
    return file


def read(file, folder, table="customers", *addresses):
    """Import, and return the report and the values of who is found."""
    spec = import_spec(source=file, table=table)
    report = run_import(spec, folder)
    snapshot = open_newest(folder, spec.digest())
    assert snapshot is not None
    with closing(snapshot):
        return report, [tuple(values_of(one)) for one in snapshot.find(addresses or ("ada@example.com",))]


BESIDE = {
    "an index on JSON": ["CREATE TABLE other(doc)", "CREATE INDEX i ON other(json_extract(doc, '$.a'))"],
    "a generated column of JSON": ["CREATE TABLE other(doc, plan AS (doc ->> '$.plan'))"],
    "a stored column of JSON": ["CREATE TABLE other(doc, plan AS (json_extract(doc, '$.plan')) STORED)"],
    "a check of JSON": ["CREATE TABLE other(doc CHECK (json_valid(doc)))"],
    "a view of JSON": ["CREATE TABLE other(doc)", "CREATE VIEW v AS SELECT doc -> '$.a' FROM other"],
    "a collation in another table": ["CREATE TABLE other(a COLLATE LOCALIZED UNIQUE)", "INSERT INTO other VALUES('x')"],
    "a function in an index": ["CREATE TABLE other(a)", "CREATE INDEX i ON other(slug(a))"],
    "a function in a trigger": ["CREATE TRIGGER t AFTER INSERT ON customers BEGIN SELECT slug(new.name); END"],
    "a view of a table that is gone": ["CREATE VIEW v AS SELECT * FROM gone"],
    "a view with an unknown function": ["CREATE VIEW v AS SELECT slug(name) FROM customers"],
    "full-text search": ["CREATE VIRTUAL TABLE f USING fts5(a)", "INSERT INTO f VALUES('x')"],
    "an r-tree": ["CREATE VIRTUAL TABLE r USING rtree(id, a, b)", "INSERT INTO r VALUES(1, 2, 3)"],
    "a large picture": ["CREATE TABLE other(a)", "INSERT INTO other VALUES(zeroblob(3000000))"],
    "a NULL where there must be none": [
        "CREATE TABLE other(a, b)",
        "INSERT INTO other VALUES(NULL, 1)",
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = 'CREATE TABLE other(a NOT NULL, b)' WHERE name = 'other'",
    ],
    "a value that a check forbids": [
        "CREATE TABLE other(a CHECK (a > 0))",
        "PRAGMA ignore_check_constraints = ON",
        "INSERT INTO other VALUES(-1)",
    ],
}


@pytest.mark.parametrize("statements", BESIDE.values(), ids=BESIDE.keys())
def test_what_stands_beside_the_table_does_not_matter(statements, tmp_path):
    source = make(tmp_path / "c.db", TABLE, ADA, BOB, *statements)
    report, found = read(source, tmp_path / "state")
    assert (report.rows, report.bad_rows, found) == (2, 0, [("ada@example.com", "Ada")])


DOCUMENT = '{"plan": "Pro", "seats": [1, 2]}'
TABLES = {
    "a view of JSON": (
        ["CREATE TABLE t(email, doc)", "CREATE VIEW customers AS SELECT email, doc ->> '$.plan' AS plan FROM t"],
        ("ada@example.com", "Pro"),
    ),
    "a view that opens a list": (
        [
            "CREATE TABLE t(email, doc)",
            "CREATE VIEW customers AS SELECT email, (SELECT count(*) FROM json_each(doc, '$.seats')) AS seats FROM t",
        ],
        ("ada@example.com", "2"),
    ),
    "a generated column of JSON": (
        [
            "CREATE TABLE t(email, doc, plan AS (doc ->> '$.plan'))",
            "CREATE VIEW customers AS SELECT email, plan FROM t",
        ],
        ("ada@example.com", "Pro"),
    ),
    "a recursive view": (
        [
            "CREATE TABLE t(email, doc)",
            "CREATE VIEW customers AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3)"
            " SELECT email, (SELECT max(i) FROM n) AS top FROM t",
        ],
        ("ada@example.com", "3"),
    ),
    "a view with dates and windows": (
        [
            "CREATE TABLE t(email, doc)",
            "CREATE VIEW customers AS SELECT email, strftime('%Y', '2026-01-05') || row_number() OVER () AS a FROM t",
        ],
        ("ada@example.com", "20261"),
    ),
}


@pytest.mark.parametrize(("statements", "values"), TABLES.values(), ids=TABLES.keys())
def test_a_view_may_compute(statements, values, tmp_path):
    source = make(tmp_path / "c.db", *statements, f"INSERT INTO t(email, doc) VALUES('ada@example.com', '{DOCUMENT}')")
    assert read(source, tmp_path / "state")[1] == [values]


@pytest.mark.parametrize(
    "table",
    [
        "CREATE TABLE customers(email, name COLLATE LOCALIZED UNIQUE)",
        "CREATE TABLE customers(email COLLATE LOCALIZED PRIMARY KEY, name)",
        "CREATE TABLE customers(email COLLATE LOCALIZED PRIMARY KEY, name) WITHOUT ROWID",
        "CREATE TABLE customers(email, name, slug AS (slug(name)) VIRTUAL, UNIQUE(name COLLATE LOCALIZED))",
    ],
    ids=["a unique column", "a key", "a key that is the table", "a hidden function"],
)
def test_a_table_needs_no_order(table, tmp_path):
    if "AS (slug" in table:
        source = make(tmp_path / "c.db", table, "INSERT INTO customers(email, name) VALUES('ada@example.com', 'Ada')")
        with pytest.raises(
            ImportRefused, match="needs the function slug, which only the program that writes the file has"
        ):
            read(source, tmp_path / "state")
        return
    assert read(make(tmp_path / "c.db", table, ADA, BOB), tmp_path / "state")[1] == [("ada@example.com", "Ada")]


def test_a_view_that_compares_by_an_unknown_order_is_refused(tmp_path):
    """Which rows it has depends on that."""
    view = "CREATE VIEW v AS SELECT * FROM customers WHERE name < 'b' COLLATE LOCALIZED"
    with pytest.raises(
        ImportRefused, match="needs the collation LOCALIZED, which only the program that writes the file has"
    ):
        read(make(tmp_path / "c.db", TABLE, ADA, view), tmp_path / "state", "v")


def test_a_column_that_compares_by_an_unknown_order_is_refused(tmp_path):
    table = "CREATE TABLE customers(email, name, is_ada AS (name = 'Ada' COLLATE LOCALIZED))"
    source = make(tmp_path / "c.db", table, "INSERT INTO customers(email, name) VALUES('ada@example.com', 'Ada')")
    with pytest.raises(ImportRefused, match="depend on a collation of the program that writes it"):
        read(source, tmp_path / "state")


LARGE = {
    "a picture": ("zeroblob(2000000)", "(2,000,000 bytes)"),
    "a picture at the limit": ("zeroblob(1048576)", "(1,048,576 bytes)"),
    "one byte more": ("zeroblob(1048577)", "(1,048,577 bytes)"),
    "a text": ("printf('%.*c', 2000000, 'x')", "(2,000,000 characters)"),
    "bytes that are text": ("CAST('Ada' AS BLOB)", "Ada"),
    "a small picture": ("x'ff00'", "(2 bytes)"),
}


@pytest.mark.parametrize(("value", "shown"), LARGE.values(), ids=LARGE.keys())
@pytest.mark.parametrize("table", ["customers", "v"])
def test_a_large_cell_is_shown_by_its_size(value, shown, table, tmp_path):
    source = make(
        tmp_path / "c.db",
        TABLE,
        BOB,
        f"INSERT INTO customers VALUES('ada@example.com', {value})",
        "CREATE VIEW v AS SELECT * FROM customers",
    )
    report, found = read(source, tmp_path / "state", table)
    assert (report.rows, report.bad_rows, found) == (2, 0, [("ada@example.com", shown)])


@pytest.mark.parametrize("place", [1, 1999, 2000, 2001, 4500])
@pytest.mark.parametrize("kind", ["large", "not text", "NUL"])
@pytest.mark.parametrize("table", ["customers", "v"])
def test_one_odd_row_leaves_all_others_as_they_are(place, kind, table, tmp_path):
    """It is read in batches of 2,000: none is lost or read twice where the reading changes."""
    odd = {"large": "zeroblob(1048577)", "not text": "CAST(x'41ff' AS TEXT)", "NUL": "'a' || char(0)"}[kind]
    source = make(
        tmp_path / "c.db",
        "CREATE TABLE customers(email, name)",
        "CREATE VIEW v AS SELECT * FROM customers",
        "INSERT INTO customers WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
        f" SELECT 'a' || i || '@example.com', CASE i WHEN {place} THEN {odd} ELSE i END FROM n",
    )
    report, found = read(source, tmp_path / "state", table, *(f"a{n}@example.com" for n in (1, 2, 5000)))
    bad = 0 if kind == "large" else 1
    assert (report.rows, report.bad_rows, report.addresses) == (5000 - bad, bad, 5000 - bad)
    assert [row.line for row in report.bad] == [place] * bad
    good = [n for n in (1, 2, 5000) if not (bad and n == place)]
    shown = [(f"a{n}@example.com", "(1,048,577 bytes)" if n == place else str(n)) for n in good]
    assert found == shown


def test_damage_in_another_table_is_damage(tmp_path):
    """A page of the file that nobody can vouch for may be one of the customers'."""
    source = make(
        tmp_path / "c.db", "PRAGMA page_size = 512", TABLE, ADA, "CREATE TABLE other(a)",
        *["INSERT INTO other VALUES(printf('%.400c', 'x'))"] * 40,
    )  # fmt: skip
    content = bytearray(source.read_bytes())
    content[-512:] = b"\xff" * 512
    source.write_bytes(content)
    with pytest.raises(ImportRefused, match="is damaged; restore it"):
        read(source, tmp_path / "state")


def test_a_table_and_a_view(tmp_path, folder):
    view = """CREATE VIEW "paying customers" AS SELECT email AS "E-Mail", name FROM customers WHERE plan = 'Pro'"""
    source = make_database(tmp_path / "c.sqlite3", CUSTOMERS, view)
    spec = import_spec(source=source, table="Customers")
    assert run_import(spec, folder).rows == 6
    paying = import_spec(source=source, table="paying customers", addresses=("e-mail",))
    assert run_import(paying, folder).rows == 3
    assert names(folder, paying, "ann@example.com", "jackie.chan@example.com") == ["Ann Lee"]
    assert sorted(file.name for file in folder.iterdir()) == ["00000001.db", "00000002.db", "lock"]


def test_values_become_texts(tmp_path, folder):
    source = tmp_path / "c.db"
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("CREATE TABLE customers(email, a, b, c, d, e, f, g)")
        values = ("x@example.com", 7, 7.0, 0.1, None, "Jürgen".encode(), -(2**63), b"\xff" * 2000)
        database.execute("INSERT INTO customers VALUES(?, ?, ?, ?, ?, ?, ?, ?)", values)
    database.close()
    spec = import_spec(source=source)
    run_import(spec, folder)
    snapshot = open_snapshot(folder, spec)
    (record,) = snapshot.find(("x@example.com",))
    assert [value for _, value in fields_of(record)][1:] == [
        *("7", "7", "0.1", "", "Jürgen", "-9223372036854775808", "(2,000 bytes)")
    ]
    snapshot.close()
