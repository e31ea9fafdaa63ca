"""Databases that are refused, each with the sentence that says why, where, and what to do."""

import sqlite3
from contextlib import closing

import pytest

from tests.ingest.bad_csv_files import BAD_ROWS, GOOD, TABLE, csv_case, damaged, folder, nothing


def sqlite_case(name, statements, sentence, **spec):
    def write(file):
        with closing(sqlite3.connect(file)) as database, database:
            for statement in statements:
                database.execute(statement)
        database.close()

    return pytest.param("c.db", write, spec, sentence, id=name)


DAMAGED = "c.db cannot be read as an SQLite database ({}); restore it, or export it again"


DATABASES = [
    # SQLite
    csv_case(
        "SQLite missing", nothing, "c.db does not exist; put the file there, or correct its name in the config", "c.db"
    ),
    csv_case("SQLite folder", folder, "c.db is not a regular file; name a customers file", "c.db"),
    csv_case("SQLite empty", b"", "c.db is empty; export it again", "c.db"),
    csv_case(
        "CSV named .db",
        GOOD,
        "c.db: this is text, not an SQLite database; if it is CSV, give it the ending .csv here and in the config",
        "c.db",
    ),
    csv_case("SQLite magic alone", b"SQLite format 3\0", DAMAGED.format("file is not a database"), "c.db"),
    csv_case("SQLite header overwritten", damaged(16, b"\xff" * 84), DAMAGED.format("file is not a database"), "c.db"),
    csv_case("SQLite cut", damaged(20_000, None), DAMAGED.format("database disk image is malformed"), "c.db"),
    csv_case(
        "SQLite schema overwritten",
        damaged(100, b"\xff" * 1000),
        "c.db is damaged; restore it, or export it again",
        "c.db",
    ),
    csv_case(
        "SQLite rows overwritten",
        damaged(12_300, b"\xff" * 300),
        "c.db is damaged; restore it, or export it again",
        "c.db",
    ),
    sqlite_case(
        "SQLite without tables",
        ["PRAGMA user_version = 1"],
        'c.db has no table or view "customers"; the database has no tables',
    ),
    sqlite_case(
        "no such table",
        ["CREATE TABLE people(email)", "CREATE VIEW v AS SELECT 1"],
        'c.db has no table or view "customers", only "people", "v"; correct the key "table"',
    ),
    sqlite_case(
        "no such column",
        ["CREATE TABLE customers(mail, name)"],
        'c.db, "customers": there is no column "email", only "mail", "name"; correct customers.addresses, or the header',
    ),
    sqlite_case(
        "clash of columns",
        ['CREATE TABLE customers(email, "a b", "a-b")'],
        'c.db, "customers": columns "a b" and "a-b" would both be "a_b" in a card; rename one of them',
    ),
    sqlite_case("no rows", [TABLE], "c.db contains no customers; export it again"),
    sqlite_case(
        "broken view", ["CREATE VIEW customers AS SELECT email FROM gone"], DAMAGED.format("no such table: main.gone")
    ),
    sqlite_case(
        "view that fails",
        [
            TABLE,
            "INSERT INTO customers VALUES('a', 'b')",
            "CREATE VIEW v AS SELECT email, abs(-9223372036854775807 - 1) AS name FROM customers",
        ],
        DAMAGED.format("integer overflow"),
        table="v",
    ),
    sqlite_case(
        "not UTF-8",
        [TABLE, "INSERT INTO customers VALUES('a@example.com', CAST(x'ff' AS TEXT))"],
        BAD_ROWS.format(1, 1, "1: this row has text that is not UTF-8; correct it in the database").replace(
            ".csv", ".db"
        ),
    ),
    sqlite_case(
        "NUL in text",
        [TABLE, "INSERT INTO customers VALUES('a@example.com', 'a' || char(0) || 'b')"],
        BAD_ROWS.format(1, 1, "1: this row has a NUL character; correct it in the database").replace(".csv", ".db"),
    ),
    sqlite_case(
        "a view that needs a function of its program",
        [TABLE, "CREATE VIEW v AS SELECT email, decrypt(name) AS name FROM customers"],
        "c.db: the table or view needs the function decrypt, which only the program that writes the file has; name a"
        " table or view without it",
        table="v",
    ),
    sqlite_case(
        "a view with a function that reads files",
        [TABLE, "CREATE VIEW v AS SELECT email, load_extension(name) AS name FROM customers"],
        "c.db: the table or view needs the function load_extension, which only the program that writes the file has; name"
        " a table or view without it",
        table="v",
    ),
    sqlite_case(
        "no address in a row",
        [TABLE, "INSERT INTO customers VALUES('none', 'A')"],
        BAD_ROWS.format(1, 1, '1: "email" contains a value that is not an email address').replace("c.csv", "c.db"),
    ),
]
