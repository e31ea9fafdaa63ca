"""Title lines above the header, which `skip_lines` counts, and the header that is seen where none was looked for."""

import pytest

from appliance.customers.record import fields_of
from appliance.ingest import dry_run
from appliance.ingest.spec import ImportRefused
from tests.factory import NOW, Timer, import_spec, open_snapshot, related_spec, run_import

TITLED = b"Customers of 2026,,\n\nemail,name,plan\nann@example.com,Ann,Pro\nbob@example.com,Bob,Free\n"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


def refusal(content, folder, name="c.csv", **spec):
    source = folder.parent / name
    source.write_bytes(content)
    with pytest.raises(ImportRefused) as caught:
        run_import(import_spec(source=source, **spec), folder)
    return str(caught.value).replace(f"{folder.parent}/", "")


READ = {
    "one title line": (b"Customers\n" + b"email,name\nann@example.com,Ann\n", 1),
    "a title and an empty line": (b"Customers\n\nemail,name\nann@example.com,Ann\n", 2),
    "titles with delimiters": (b"Customers,2026,,,\nby,the,shop\nemail,name\nann@example.com,Ann\n", 2),
    "line ends of Windows": (b"Customers\r\n\r\nemail,name\r\nann@example.com,Ann\r\n", 2),
    "line ends of an old Mac": (b"Customers\r\remail,name\rann@example.com,Ann\r", 2),
    "a byte order mark": (b"\xef\xbb\xbfCustomers\nemail,name\nann@example.com,Ann\n", 1),
    "two byte order marks": (b"\xef\xbb\xbf\xef\xbb\xbfCustomers\nemail,name\nann@example.com,Ann\n", 1),
    "a mark at the header": ("Customers\n\ufeffemail,name\nann@example.com,Ann\n".encode(), 1),
    "UTF-16": ("Customers\nemail,name\nann@example.com,Ann\n".encode("utf-16"), 1),
    "another delimiter": (b"Customers, all of them\nemail;name\nann@example.com;Ann\n", 1),
    "an open quote in the title": (b'Customers of "Old\nemail,name\nann@example.com,Ann\n', 1),
    "an address in the title": (b"ask boss@example.com\nboss@example.com\nemail,name\nann@example.com,Ann\n", 2),
    "a NUL in the title": (b"\0\nemail,name\nann@example.com,Ann\n", 1),
    "a long title": (b"x" * 300_000 + b"\nemail,name\nann@example.com,Ann\n", 1),
    "sep= above the titles": (b"sep=;\nCustomers\nemail;name\nann@example.com;Ann\n", 2),
    "sep= counted": (b"sep=;\nemail;name\nann@example.com;Ann\n", 1),
    "sep= not counted": (b"sep=;\nemail;name\nann@example.com;Ann\n", 0),
    "none": (b"email,name\nann@example.com,Ann\n", 0),
}


@pytest.mark.parametrize(("content", "skip"), READ.values(), ids=READ.keys())
def test_lines_above_the_header_are_skipped(content, skip, folder):
    source = folder.parent / "c.csv"
    source.write_bytes(content)
    spec = import_spec(source=source, skip_lines=skip)
    report = run_import(spec, folder)
    (ann,) = open_snapshot(folder, spec).find(("ann@example.com",))
    assert (report.rows, dict(fields_of(ann))) == (1, {"email": "ann@example.com", "name": "Ann"})


SEEN = {
    "a title": (b"Customers\nemail,name\na@b.example,A\n", 0, 2),
    "a title with empty cells": (TITLED, 0, 3),
    "an empty line": (b"\nemail,name\na@b.example,A\n", 0, 2),
    "only empty cells": (b",,\nemail,name\na@b.example,A\n", 0, 2),
    "an address in the title": (b"boss@example.com\nemail,name\na@b.example,A\n", 0, 2),
    "too few skipped": (b"1\n2\n3\nemail,name\na@b.example,A\n", 2, 4),
    "too many skipped": (b"1\nemail,name\na@b.example,A\n", 2, 2),
    "all skipped": (b"email,name\na@b.example,A\n", 9, 1),
    "an open quote in the title": (b'"Customers\nemail,name\na@b.example,A\n', 0, 2),
    "sep= above": (b"sep=;\nCustomers\nemail;name\na@b.example;A\n", 0, 3),
    "spelled otherwise": (b"Customers\nname, E-Mail\xc2\xa0\nA,a@b.example\n", 0, 2),
    "in quotes": (b'Customers\n"email","name"\n"a@b.example","A"\n', 0, 2),
    "a very long title": (b"x" * 300_000 + b"\nemail,name\na@b.example,A\n", 0, 2),
    "in UTF-16": ("Customers\nemail,name\na@b.example,A\n".encode("utf-16"), 0, 2),
}


@pytest.mark.parametrize(("content", "skip", "line"), SEEN.values(), ids=SEEN.keys())
def test_a_refusal_says_where_the_header_is_seen(content, skip, line, folder):
    wanted = "E-mail" if b"E-Mail" in content else "email"
    sentence = refusal(content, folder, skip_lines=skip, addresses=(wanted,))
    assert sentence.endswith(f'; line {line} has the column "{wanted}": set customers.skip_lines = {line - 1}')
    spec = import_spec(source=folder.parent / "c.csv", skip_lines=line - 1, addresses=(wanted,))
    assert run_import(spec, folder).bad_rows == 0


def test_every_wanted_column_must_be_on_the_line(folder):
    content = b"email\nCustomers\nid,email,mail\n1,a@b.example,\n"
    sentence = refusal(content, folder, addresses=("email", "mail"))
    assert sentence.endswith('; line 3 has the columns "email", "mail": set customers.skip_lines = 2')


@pytest.mark.parametrize("line", ["", "boss@example.com"], ids=["empty", "an address"])
def test_a_line_further_down_is_not_called_the_first(line, folder):
    assert refusal(f"Customers\n{line}\n".encode(), folder, skip_lines=1).startswith("c.csv:2: this line ")


def test_nothing_is_said_of_a_header_that_is_nowhere(folder):
    assert refusal(b"Customers\nmail,name\na@b.example,A\n", folder) == (
        'c.csv:1: there is no column "email", only "Customers"; correct customers.addresses, or the header'
    )
    assert "has the column" not in refusal(b"x\n" * 100 + b"email,name\n", folder)  # beyond where titles end
    assert refusal(b"mail,name\n", folder, skip_lines=9) == (
        "c.csv:10: the file has no line 10, though customers.skip_lines = 9 says that the header is there; correct it"
    )


LINES = {
    "a bad row": (b"x,X,\n", "c.csv:6: "),
    "no CSV": (b'c@example.com,"X"x,\n', "c.csv:6: "),
    "no text": (b"c@example.com,\xff,\n", "c.csv:6: "),
    "a NUL": (b"c@example.com,\0,\n", "c.csv:6: "),
    "behind a row of two lines": (b'c@example.com,"1\n2",\nx,X,\n', "c.csv:8: "),
    "no line end": (b"c@example.com,X,", "c.csv:6: "),
    "an open quote": (b'c@example.com,"X\n', "c.csv:6: "),
}


@pytest.mark.parametrize(("more", "where"), LINES.values(), ids=LINES.keys())
def test_lines_are_those_of_the_file(more, where, folder):
    assert where in refusal(TITLED + more, folder, skip_lines=2)


def test_each_related_file_has_its_own(folder):
    customers, orders = folder.parent / "c.csv", folder.parent / "o.csv"
    customers.write_bytes(b"id,email\n1,ann@example.com\n")
    orders.write_bytes(b"Orders\n\ncustomer,number\n1,77\n")
    related = related_spec(name="orders", source=orders, table="", key="customer", on="id")
    with pytest.raises(
        ImportRefused, match=r'o\.csv:1: .*; line 3 has the column "customer": set related\.orders\.skip_lines = 2'
    ):
        run_import(import_spec(source=customers, related=(related,)), folder)
    related = related_spec(name="orders", source=orders, table="", key="customer", on="id", skip_lines=2)
    spec = import_spec(source=customers, related=(related,))
    run_import(spec, folder)
    (ann,) = open_snapshot(folder, spec).find(("ann@example.com",))
    assert [order.number for order in ann.orders] == ["77"]


def test_a_large_file_is_tried_out_with_them(folder, monkeypatch):
    monkeypatch.setattr(dry_run, "WHOLE", -1)
    customers, orders = folder.parent / "c.csv", folder.parent / "o.csv"
    customers.write_bytes(b"a,a\n" + TITLED)
    orders.write_bytes(b"Orders,Orders\nemail,number\nann@example.com,77\n")
    related = related_spec(name="orders", source=orders, table="", key="email", on="email", skip_lines=1)
    spec = import_spec(source=customers, related=(related,), skip_lines=3)
    tried = dry_run.dry_run(spec, folder, clock=lambda: NOW, timer=Timer())
    assert (tried.rows, tried.columns) == (2, ("email", "name", "plan"))


def test_another_number_is_another_spec(folder):
    source = folder / "c.csv"
    one, other = (related_spec(source, "o", key="k", on="o", skip_lines=n) for n in (0, 1))
    digests = {
        import_spec(source, skip_lines=skip, related=(related,)).digest() for skip in (0, 1) for related in (one, other)
    }
    assert len(digests) == 4
