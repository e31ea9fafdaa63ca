"""What `survey` sees in a source that no config describes."""

from contextlib import closing
from sqlite3 import connect

import pytest

from appliance.ingest.sources.base import SourceError
from appliance.ingest.survey import survey, survey_beside

NO_SETTINGS: dict[str, object] = {"table": ""}
ROWS = b"ann@example.com,Ann\nbob@example.com,Bob\n"

TEXTS = {
    "plain": (b"email,name\n" + ROWS, ("email", "name"), {}),
    "semicolons": (b"email;name\nann@example.com;Ann, A.\n", ("email", "name"), {}),
    "more commas than semicolons below": (b"email;name\nann@example.com;a,b,c\n", ("email", "name"), {}),
    "cp1252": ("email,name\nann@example.com,Änne\n".encode("cp1252"), ("email", "name"), {"encoding": "cp1252"}),
    "UTF-16": ("email,name\nann@example.com,Änne\n".encode("utf-16"), ("email", "name"), {}),
    "UTF-16 without a mark": (
        "email,name\nann@example.com,Ann\n".encode("utf-16-le"),
        ("email", "name"),
        {"encoding": "utf-16-le"},
    ),
    "no last line end": (b"email,name\nann@example.com,Ann", ("email", "name"), {"lacks_last_end": True}),
    "no last line end, UTF-16": ("mail\na@b.example".encode("utf-16"), ("mail",), {"lacks_last_end": True}),
    "an end of CP/M": (b"email,name\n" + ROWS + b"\x1a", ("email", "name"), {}),
    "a title": (b"Customers\n\nemail,name\n" + ROWS, ("email", "name"), {"skip_lines": 2}),
    "a title as wide": (b"Customers,2026\nemail,name\n" + ROWS, ("email", "name"), {"skip_lines": 1}),
    "a title, and another name": (b"Customers\ncontact,name\n" + ROWS, ("contact", "name"), {"skip_lines": 1}),
    "an address in the title": (b"of boss@example.com\nemail,name\n" + ROWS, ("email", "name"), {"skip_lines": 1}),
    "an odd first customer": (b"contact,name\nno email,Carl\n" + ROWS, ("contact", "name"), {}),
    "first customers without": (b"email,name\n,Carl\nunknown,Dora\n" + ROWS, ("email", "name"), {}),
    "sep=": (b"sep=;\nemail;name\nann@example.com;Ann\n", ("email", "name"), {}),
    "numbers of rows": (b",email,name\n0,ann@example.com,Ann\n", ("email", "name"), {}),
    "no rows": (b"email,name\n", ("email", "name"), {}),
    "no addresses": (b"id,name\n1,Ann\n", ("id", "name"), {}),
}


@pytest.mark.parametrize(("content", "columns", "seen"), TEXTS.values(), ids=TEXTS)
def test_how_a_text_file_is_written(content, columns, seen, tmp_path):
    file = tmp_path / "c.csv"
    file.write_bytes(content)
    (table,) = survey(str(file), file, NO_SETTINGS)
    assert table.columns == columns
    wanted = {"encoding": "", "skip_lines": 0, "lacks_last_end": False, **seen}
    assert {name: getattr(table, name) for name in wanted} == wanted
    assert all(len(row) == len(columns) for row in table.rows)


def test_only_the_first_rows_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr("appliance.ingest.survey.ROWS", 3)
    file = tmp_path / "c.csv"
    file.write_bytes(b"email\n" + b"".join(b"a%d@example.com\n" % number for number in range(5)))
    (table,) = survey(str(file), file, NO_SETTINGS)
    assert (len(table.rows), table.whole) == (3, False)


@pytest.fixture
def database(tmp_path):
    file = tmp_path / "c.db"
    with closing(connect(file)) as made, made:
        made.execute("CREATE TABLE people(id, contact)")
        made.execute("INSERT INTO people VALUES(1, 'ann@example.com')")
        made.execute("CREATE TABLE orders(person_id, note)")
        made.execute("CREATE VIEW broken AS SELECT * FROM gone")
    return file


def test_every_table_that_can_be_read(database):
    found = survey(str(database), database, NO_SETTINGS)
    assert [(table.name, table.columns, table.rows) for table in found] == [
        ("orders", ("person_id", "note"), ()),
        ("people", ("id", "contact"), (("1", "ann@example.com"),)),
    ]


def test_a_table_by_its_name(database):
    assert survey(str(database), database, {"table": "People"})[0].name == "people"
    with pytest.raises(SourceError, match='no table or view "customers" that can be read, only "orders", "people"'):
        survey(str(database), database, {"table": "customers"})


def test_what_is_beside_a_file(tmp_path):
    (tmp_path / "c.csv").write_bytes(b"email\n")
    (tmp_path / "orders.csv").write_bytes(b"email,total\nann@example.com,9\n")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "pipe.csv").mkdir()
    (tmp_path / "notes.txt").write_bytes(b"email\n")
    assert [table.columns for table in survey_beside(tmp_path / "c.csv")] == [("email", "total")]


def test_a_file_is_called_what_it_is(tmp_path):
    file = tmp_path / "c.csv"
    for content, name in ((b'[{"email": "ann@example.com"}]', "JSON"), (b"\x89PNG\r\n\x1a\n", "a picture")):
        file.write_bytes(content)
        with pytest.raises(SourceError, match=f"this is {name}; "):
            survey(str(file), file, NO_SETTINGS)
