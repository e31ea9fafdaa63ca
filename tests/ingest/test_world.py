"""What programs and people really write: no sound file is refused, and nobody is lost in silence.

Each case begins with the kind of fault that somebody reported of a program that reads customers; its neighbours follow.
"""

from __future__ import annotations

import html
import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.ingest.spec import ImportRefused
from appliance.sidebar.app import Rules
from tests.factory import body_for, import_spec, make_app, open_snapshot, run_import, signed

ADA = "ada@example.com"
HEADER = "email,name\n"
ROW = f"{ADA},Ada\n"
Content = str | bytes | Callable[[Path], None]


@dataclass
class Case:
    """A file; whom to ask for, and what the card says then in this order; or why the file is refused."""

    content: Content
    says: str = "Ada"
    asked: str = ADA
    refused: str = ""
    unclear: int = 0
    bad: int = 0
    file: str = "c.csv"


def read(content: Content, says: str = "Ada", **more: object) -> tuple[Case, dict[str, object]]:
    return _case(content, {"says": says, **more})


def refused(content: Content, sentence: str, **more: object) -> tuple[Case, dict[str, object]]:
    return _case(content, {"refused": sentence, **more})


def _case(content: Content, more: dict[str, Any]) -> tuple[Case, dict[str, object]]:
    own = {name: more.pop(name) for name in list(more) if name in Case.__dataclass_fields__}
    return Case(content, **own), more


def database(*statements: str, encoding: str = "UTF-8") -> Callable[[Path], None]:
    """Make a database as a program does that has a collation and a function of its own."""

    def write(file: Path) -> None:
        with closing(sqlite3.connect(file, isolation_level=None)) as made:
            made.execute(f"PRAGMA encoding = '{encoding}'")
            made.create_collation("LOCALIZED", lambda one, other: (one > other) - (one < other))
            made.create_function("fold", 1, str.lower, deterministic=True)
            for statement in statements:
                made.execute(statement)

    return write


def sqlite(*statements: str, says: str = "Ada", **more: object) -> tuple[Case, dict[str, object]]:
    encoding = str(more.pop("encoding", "UTF-8"))
    return read(database(*statements, encoding=encoding), says, file="c.db", **more)


TABLE = "CREATE TABLE customers(email, name)"
INSERT = f"INSERT INTO customers VALUES('{ADA}', 'Ada')"

KINDS: dict[str, dict[str, tuple[Case, dict[str, object]]]] = {
    "addresses as links and lists": {
        "mailto": read(HEADER + f"mailto:{ADA},Ada\n"),
        "mailto in capitals, with a subject": read(HEADER + f"MAILTO:{ADA}?subject=Hi,Ada\n"),
        "mailto in brackets": read(HEADER + f"Ada <mailto:{ADA}>,Ada\n"),
        "Exchange's proxyAddresses": read(HEADER + f'"SMTP:{ADA};smtp:a@example.org",Ada\n', asked="a@example.org"),
        "Exchange's with another kind": read(HEADER + f'"X500:/o=Org/cn=ada;SMTP:{ADA}",Ada\n', unclear=1),
        "a name and brackets": read(HEADER + f"Ada Lovelace <{ADA}>,Ada\n"),
        "a quoted name with a comma": read(HEADER + f'"""Lovelace, Ada"" <{ADA}>",Ada\n'),
        "a name behind, in brackets": read(HEADER + f"{ADA} (Ada),Ada\n"),
        "a remark beside it": read(HEADER + f'"{ADA}, wrong number",Ada\n', unclear=1),
        "two with a bar between": refused(HEADER + f"{ADA}|a@example.org,Ada\n", "1 of 1 rows are bad"),
        "a remark alone": refused(HEADER + "(none),Ada\n", "1 of 1 rows are bad"),
        "a URL": refused(HEADER + f"https://{ADA},Ada\n", "1 of 1 rows are bad, .*c.csv:2: .*not an email address"),
        "a dot before": refused(HEADER + f".{ADA},Ada\n", "1 of 1 rows are bad"),
        "nobody has any": refused(HEADER + ",Ada\n,Bob\n", "no customer with an address .* nobody could be found"),
    },
    "JSON in a database": {
        "in a view": sqlite(
            "CREATE TABLE t(email, doc)",
            f"INSERT INTO t VALUES('{ADA}', '{{\"plan\": \"Pro\"}}')",
            "CREATE VIEW customers AS SELECT email, doc->>'$.plan' AS plan FROM t",
            says="Plan Pro",
        ),
        "in a view, by its function": sqlite(
            "CREATE TABLE t(email, doc)",
            f"INSERT INTO t VALUES('{ADA}', '{{\"plan\": \"Pro\"}}')",
            "CREATE VIEW customers AS SELECT email, json_extract(doc, '$.plan') AS plan FROM t",
            says="Plan Pro",
        ),
        "in an index beside": sqlite(
            TABLE, INSERT, "CREATE TABLE o(doc)", "CREATE INDEX i ON o(json_extract(doc, '$.a'))"
        ),
        "in a generated column beside": sqlite(TABLE, INSERT, "CREATE TABLE o(doc, a AS (doc->>'$.a'))"),
        "in a generated column of the table": sqlite(
            "CREATE TABLE customers(email, doc, plan AS (doc->>'$.plan'))",
            f"INSERT INTO customers(email, doc) VALUES('{ADA}', '{{\"plan\": \"Pro\"}}')",
            says="Plan Pro",
        ),
        "that is broken, in a view": _case(
            database(
                "CREATE TABLE t(email, doc)",
                f"INSERT INTO t VALUES('{ADA}', '{{')",
                "CREATE VIEW customers AS SELECT email, doc->>'$.plan' AS plan FROM t",
            ),
            {"file": "c.db", "refused": "malformed JSON"},
        ),
    },
    "what only the writing program knows": {
        "a collation of a unique column": sqlite(
            "CREATE TABLE customers(email text, name text COLLATE LOCALIZED, UNIQUE(name))", INSERT
        ),
        "a collation of an index": sqlite(TABLE, INSERT, "CREATE INDEX i ON customers(name COLLATE LOCALIZED)"),
        "a collation in another table": sqlite(TABLE, INSERT, "CREATE TABLE o(a COLLATE LOCALIZED UNIQUE)"),
        "a function in an index": sqlite(TABLE, INSERT, "CREATE INDEX i ON customers(fold(name))"),
        "a function in a trigger": sqlite(
            TABLE, INSERT, "CREATE TRIGGER t AFTER INSERT ON customers BEGIN SELECT fold(new.name); END"
        ),
        "a NULL where there must be none": sqlite(
            TABLE,
            INSERT,
            "CREATE TABLE o(a)",
            "INSERT INTO o VALUES(NULL)",
            "PRAGMA writable_schema = ON",
            "UPDATE sqlite_schema SET sql = 'CREATE TABLE o(a NOT NULL)' WHERE name = 'o'",
        ),
        "UTF-16 inside": sqlite(
            TABLE, f"INSERT INTO customers VALUES('{ADA}', 'Ädä')", says="Ädä", encoding="UTF-16le"
        ),
        "a strict table without row numbers": sqlite(
            "CREATE TABLE customers(email TEXT PRIMARY KEY, name TEXT) STRICT, WITHOUT ROWID", INSERT
        ),
        "an odd name of the table": sqlite(
            'CREATE TABLE "all ""our"" people"(email, name)',
            f'INSERT INTO "all ""our"" people" VALUES(\'{ADA}\', \'Ada\')',
            table='all "our" people',
        ),
    },
    "large cells in a database": {
        "a picture of 2 MB": sqlite(
            "CREATE TABLE customers(email, photo)",
            f"INSERT INTO customers VALUES('{ADA}', zeroblob(2000000))",
            says=r"Photo \(2,000,000 bytes\)",
        ),
        "a text of 2 MB": sqlite(
            "CREATE TABLE customers(email, notes)",
            f"INSERT INTO customers VALUES('{ADA}', printf('%.*c', 2000000, 'x'))",
            says=r"Notes \(2,000,000 characters\)",
        ),
        "a small picture": sqlite(
            "CREATE TABLE customers(email, photo)",
            f"INSERT INTO customers VALUES('{ADA}', x'ff00ff')",
            says=r"Photo \(3 bytes\)",
        ),
        "a picture in another row": sqlite(
            TABLE, INSERT, "INSERT INTO customers VALUES('b@example.com', zeroblob(2000000))"
        ),
        "a picture in another table": sqlite(
            TABLE, INSERT, "CREATE TABLE o(a)", "INSERT INTO o VALUES(zeroblob(2000000))"
        ),
    },
    "no line end at the end": {
        "Google Sheets": refused(
            HEADER + ROW[:-1], "no line end, .* everything else is complete; .*unterminated_last_line"
        ),
        "accepted": read(HEADER + ROW[:-1], unterminated_last_line="accept"),
        "accepted, with Windows' line ends": read(
            (HEADER + ROW)[:-1].replace("\n", "\r\n"), unterminated_last_line="accept"
        ),
        "accepted, but half a row": refused(HEADER + ROW + "b@exa", "cut short", unterminated_last_line="accept"),
        "accepted, an open quote": refused(
            HEADER + ROW + 'b@exa.com,"B', "never ends", unterminated_last_line="accept"
        ),
        "a line end, then the end mark of DOS": read((HEADER + ROW).replace("\n", "\r\n") + "\x1a"),
        "the end mark of DOS within a row": refused(HEADER + ROW + "b@example.com,B\x1a", "no line end"),
        "accepted, with white space at the end": read(HEADER + ROW + "  ", unterminated_last_line="accept"),
        "white space at the end": refused(HEADER + ROW + "  ", "no line end"),
        "an empty line at the end": read(HEADER + ROW + "\n\n"),
    },
    "headers that look right": {
        "two byte order marks": read(b"\xef\xbb\xbf\xef\xbb\xbf" + (HEADER + ROW).encode()),
        "a zero-width space": read("email\u200b,name\n" + ROW),
        "a no-break space": read("\u00a0email,name\n" + ROW),
        "two spaces within": read(f"e-mail  address,name\n{ROW}", addresses=("e-mail address",)),
        "a line end within": read(f'"e-mail\naddress",name\n{ROW}', addresses=("e-mail address",)),
        "an accent in two pieces": read(f"adre\u0301ss,name\n{ROW}", addresses=("adréss",)),
        "an accent in one piece": read(f"adréss,name\n{ROW}", addresses=("adre\u0301ss",)),
        "another case": read("EMAIL,Name\n" + ROW),
        "another alphabet": refused("еmail,name\n" + ROW, r'only "еmail" \(U\+0435\)'),
        "in a database": sqlite(
            'CREATE TABLE customers("email\u200b", name)',
            INSERT,
        ),
    },
    "cells beyond the header": {
        "a delimiter at the end of each row": read(HEADER + f"{ADA},Ada,\n"),
        "several of them, with spaces": read(HEADER + f"{ADA},Ada, ,\t,\n"),
        "of some rows": read(HEADER + ROW + "b@example.com,Bob,\n"),
        "semicolons": read(f"email;name\n{ADA};Ada;\n"),
        "something in one": refused(HEADER + f"{ADA},Ada,Pro\n", "3 cells, but the header has 2 names"),
        "empty columns at the end": read(f"email,name,,\n{ADA},Ada,,\n"),
        "empty columns at the end of the header alone": read(f"email,name,,\n{ADA},Ada\n"),
        "a value in an empty column": refused(f"email,name,\n{ADA},Ada,Pro\n", "name the other columns"),
        "pandas' row numbers": read(f",email,name\n0,{ADA},Ada\n"),
        "R's row numbers": read(f'"","email","name"\n"1","{ADA}","Ada"\n'),
        "no name in between": refused(f"email,,name\n{ADA},x,Ada\n", "column 2 of the header has no name"),
    },
    "dates of common programs": {
        name: read(f"email,name,created_at\n{ADA},Ada,{text}\n", "Created at 5 Jan 2026")
        for name, text in {
            "milliseconds since 1970": "1767605400000",
            "seconds with a fraction": "1767605400.123",
            "microseconds since 1970": "1767605400000000",
            "a fraction of seven digits": "2026-01-05T09:30:00.1234567Z",
            "a fraction of nine digits": "2026-01-05 09:30:00.123456789+00:00",
            "UTC at the end": "2026-01-05 09:30:00 UTC",
            "slashes": "2026/01/05",
            "the month's name": '"Jan 5, 2026"',
            "JavaScript's": "2026-01-05T09:30:00.000Z",
        }.items()
    }
    | {"of two readings": read(f"email,name,created_at\n{ADA},Ada,03/04/2026\n", "Created at 03/04/2026")},
    "names of people": {
        "WooCommerce": read(
            f"Customer ID,Billing First Name,Billing Last Name,email\n7,Ada,Lovelace,{ADA}\n", "^Ada Lovelace"
        ),
        "display_name": read(f"id,display_name,email\n7,Ada Lovelace,{ADA}\n", "^Ada Lovelace"),
        "username": read(f"id,username,email\n7,ada,{ADA}\n", "^ada"),
        "given and family name": read(f"id,given_name,family_name,email\n7,Ada,Lovelace,{ADA}\n", "^Ada Lovelace"),
        "Shopify": read(f"First Name,Last Name,email,Company\nAda,Lovelace,{ADA},Engines\n", "^Ada Lovelace"),
        "a company's, where there is no person's": read(f"id,company,email\n7,Engines,{ADA}\n", "^Engines"),
    },
    "lines above and below": {
        "two titles": refused(
            f"Customers,\n2026,\n{HEADER}{ROW}", r'line 3 has the column "email": set .*skip_lines = 2'
        ),
        "two titles, skipped": read(f"Customers,\n2026,\n{HEADER}{ROW}", skip_lines=2),
        "a title without delimiters": read(f"Customers of 2026\n{HEADER}{ROW}", skip_lines=1),
        "a title and an empty line": read(f"Customers\n\n{HEADER}{ROW}", skip_lines=2),
        "a total below": read(HEADER + ROW * 200 + "Total: 200\n", bad=1, says="20 customers match|More than 20"),
        "empty lines between": read(f"{HEADER}\n{ROW}\n,\n"),
    },
    "texts for nothing": {
        "NULL for an address": read(
            f"email,mail,name\nNULL,{ADA},Ada\n", addresses=("email", "mail"), null_values=("NULL",)
        ),
        "NULL for a name": read(f"name,email,plan\nNULL,{ADA},Pro\n", f"^{ADA}", null_values=("NULL",)),
        "MySQL's": read(HEADER + ROW + "\\N,Bob\n", null_values=("\\N",)),
        "in quotes, with spaces": read(HEADER + ROW + '" NULL ",Bob\n', null_values=("NULL",)),
        "of another case": refused(HEADER + ROW + "null,Bob\n", "1 of 2 rows are bad", null_values=("NULL",)),
        "not named": refused(HEADER + ROW + "NULL,Bob\n", "1 of 2 rows are bad"),
        "in a database": sqlite(TABLE, INSERT, "INSERT INTO customers VALUES('NULL', 'Bob')", null_values=("NULL",)),
    },
    "encodings": {
        "UTF-16 without a mark": refused((HEADER + ROW).encode("utf-16-le"), 'UTF-16 .*encoding = "utf-16-le"'),
        "UTF-16 of the other kind": refused((HEADER + ROW).encode("utf-16-be"), 'UTF-16 .*encoding = "utf-16-be"'),
        "UTF-16 without a mark, named": read((HEADER + ROW).encode("utf-16-le"), encoding="utf-16-le"),
        "an .xlsx named .csv": refused(b"PK\x03\x04" + bytes(26) + b"xl/workbook.xml", "an Excel workbook"),
        "an .xls named .csv": refused(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "an old Excel workbook"),
        "gzip": refused(b"\x1f\x8b\x08\0", "compressed with gzip"),
        "cp1252": refused(f"{HEADER}{ADA},Adä\n".encode("cp1252"), r'c\.csv:2: .*encoding = "cp1252"'),
        "cp1252, named": read(f"{HEADER}{ADA},Adä\n".encode("cp1252"), "Adä", encoding="cp1252"),
        "Shift-JIS": refused(f"{HEADER}{ADA},エイダ\n".encode("shift_jis"), r"c\.csv:2: this is not UTF-8 text"),
        "Mac Roman": refused(f"{HEADER}{ADA},Adä\n".encode("mac_roman"), r"c\.csv:2: this is not UTF-8 text"),
        "Shift-JIS, named": read(f"{HEADER}{ADA},エイダ\n".encode("shift_jis"), "エイダ", encoding="shift_jis"),
        "Mac Roman, named": read(
            f"{HEADER}{ADA},Adä\r".replace("\n", "\r").encode("mac_roman"), "Adä", encoding="mac_roman"
        ),
        "Excel's Unicode text": read((HEADER + ROW).replace(",", "\t").encode("utf-16")),
        "sep=": read("sep=;\r\n" + (HEADER + ROW).replace(",", ";").replace("\n", "\r\n")),
        "sep= behind a mark": read(b"\xef\xbb\xbfsep=;\r\n" + (HEADER + ROW).replace(",", ";").encode()),
        "a tab-separated file named .tsv": read((HEADER + ROW).replace(",", "\t"), file="c.tsv"),
        "sep= in quotes": read('"sep=;"\n' + (HEADER + ROW).replace(",", ";")),
    },
    "quotes and long cells": {
        "MySQL's backslash": refused(HEADER + f'{ADA},"a \\"b\\""\n', r"c\.csv:2: .*write a quote inside .* twice"),
        "a quote doubled": read(HEADER + f'{ADA},"Ada ""the first"""\n', 'Ada "the first"'),
        "a quote within": read(HEADER + f'{ADA},Ada "the first"\n', 'Ada "the first"'),
        "line ends in a cell": read(HEADER + f'{ADA},"Ada\nLovelace"\n', "Ada Lovelace"),
        "200 KiB": refused(HEADER + f"{ADA},{'x' * 204_800}\n", r"c\.csv:2: a field is longer than 128 KiB"),
        "127 KiB": read(HEADER + f"{ADA},{'x' * 130_048}\n", "x{1000}"),
        "a bad row in a database": sqlite(
            TABLE,
            INSERT,
            "INSERT INTO customers VALUES('b@example.com', CAST(x'41ff' AS TEXT))",
            "INSERT INTO customers WITH n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
            " SELECT i || '@example.com', i FROM n",
            bad=1,
        ),
    },
    "one person, several addresses": {
        "Gmail's dots": read(HEADER + "a.da@gmail.com,Ada\n", asked="ada@gmail.com", gmail_dots=True),
        "Gmail's other domain": read(HEADER + "ada@gmail.com,Ada\n", asked="A.da@GoogleMail.com", gmail_dots=True),
        "dots elsewhere": read(HEADER + "a.da@example.com,Ada\n", "Not a customer", gmail_dots=True),
        "Gmail's dots by default": read(HEADER + "a.da@gmail.com,Ada\n", "Not a customer", asked="ada@gmail.com"),
        "a company's domain": read(
            f"email,name,web\n{ADA},Ada,www.Example.com\n",
            "company, not the person.*Ada",
            asked="bob@example.com",
            company_domain="web",
        ),
        "public mail": read(
            "email,name,web\nada@gmail.com,Ada,gmail.com\n",
            "Not a customer",
            asked="bob@gmail.com",
            company_domain="web",
        ),
    },
}


CASES = [pytest.param(*case, id=f"{kind}: {name}") for kind, some in KINDS.items() for name, case in some.items()]


@pytest.mark.parametrize(("case", "options"), CASES)
def test_what_the_world_sends(case: Case, options: dict[str, object], tmp_path: Path) -> None:
    source = tmp_path / case.file
    if callable(case.content):
        case.content(source)
    else:
        source.write_bytes(case.content.encode() if isinstance(case.content, str) else case.content)
    spec = import_spec(source=source, **options)
    if case.refused:
        with pytest.raises(ImportRefused, match=case.refused):
            run_import(spec, tmp_path / "state")
        return
    report = run_import(spec, tmp_path / "state")
    assert (report.unclear_rows, report.bad_rows) == (case.unclear, case.bad)
    rules = Rules(gmail_dots=spec.gmail_dots, address_columns=spec.addresses)
    reply = make_app(open_snapshot(tmp_path / "state", spec), rules=rules).answer(signed(body_for(case.asked)))
    shown = html.unescape(re.sub("<[^>]*>", " ", json.loads(reply.response.body)["html"]))
    assert re.search(case.says, " ".join(shown.split()))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_neighbours(kind: str) -> None:
    assert len(KINDS[kind]) >= 4
