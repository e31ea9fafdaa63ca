"""What an import makes of rows: addresses found, empty rows left out."""

from dataclasses import replace

from appliance.customers.address import normalise
from appliance.customers.record import fields_of
from tests.factory import CUSTOMERS, NOW, import_spec, open_snapshot, run_import
from tests.ingest.imports import names, write


def test_every_row_and_nothing_else(spec, folder):
    report = run_import(spec, folder)
    assert (report.generation, report.rows, report.addresses, report.bad_rows) == (1, 6, 6, 0)
    snapshot = open_snapshot(folder, spec)
    for row in CUSTOMERS[1:]:
        (record,) = snapshot.find((normalise(row[0]) or "",))
        assert list(fields_of(record)) == list(zip(CUSTOMERS[0], row, strict=True))
    assert snapshot.find(("nobody@example.com", "a_b_c@example.com", "%", "")) == ()
    assert (snapshot.metadata.as_of, snapshot.metadata.rows) == (NOW, 6)
    snapshot.check()
    snapshot.close()


def test_several_columns_and_several_addresses_in_a_cell(folder, spec):
    rows = [
        ("email", "name", "other"),
        ("ann@example.com; A.Lee@example.org", "Ann", "ann@example.net"),
        ("bob@example.com,bob@example.org", "Bob", ""),
        ("", "Cy", "cy@example.com\nCY@example.com"),
        ("ann@example.com", "Di", ""),
        ("", "Ed", ""),
    ]
    spec = import_spec(source=write(spec, rows).source.path, addresses=("Email", "other"))
    report = run_import(spec, folder)
    assert (report.rows, report.addresses, report.without_address, report.shared_addresses) == (5, 7, 1, 1)
    assert names(folder, spec, "a.lee@example.org") == names(folder, spec, "ann@example.net") == ["Ann"]
    assert names(folder, spec, "bob@example.org") == ["Bob"]
    assert names(folder, spec, "cy@example.com") == ["Cy"]
    assert names(folder, spec, "ann@example.com") == ["Ann", "Di"]  # in the order of the file
    assert names(folder, spec, "none") == []


def test_a_cell_of_two_lines(folder, spec):
    rows = [("email", "name"), ("ann@example.com\nbob@example.com", "A&B"), ("cy@example.com", "Cy")]
    run_import(write(spec, rows), folder)
    assert names(folder, spec, "ann@example.com") == names(folder, spec, "bob@example.com") == ["A&B"]
    assert names(folder, spec, "cy@example.com") == ["Cy"]


def test_dots_of_gmail_are_other_people_unless_the_operator_says_so(folder, spec):
    rows = [
        ("email", "name"),
        ("A.da@GoogleMail.com", "Ada"),
        ("b.ob@example.com", "Bob"),
        ("ada@gmail.com", "Also Ada"),
    ]
    write(spec, rows)
    run_import(spec, folder)
    assert names(folder, spec, "ada@gmail.com") == ["Also Ada"]
    folded = replace(spec, gmail_dots=True)
    report = run_import(folded, folder)
    assert report.shared_addresses == 1
    assert names(folder, folded, "ada@gmail.com") == ["Ada", "Also Ada"]
    assert names(folder, folded, "a.da@googlemail.com", "bob@example.com") == []  # a request's are folded, too
    assert names(folder, folded, "b.ob@example.com") == ["Bob"]


def test_tags_are_other_people_unless_the_operator_says_so(folder, spec):
    rows = [("email", "name"), ("ann+shop@example.com", "Ann"), ("ann@example.com", "Other Ann")]
    run_import(write(spec, rows), folder)
    assert names(folder, spec, "ann@example.com") == ["Other Ann"]
    folded = import_spec(source=spec.source.path, plus_addressing=True)
    run_import(folded, folder)
    assert names(folder, folded, "ann@example.com") == ["Ann", "Other Ann"]
