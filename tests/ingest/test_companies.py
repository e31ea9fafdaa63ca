"""Customers of one company: what a snapshot has of them together, and by which addresses it is found."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from appliance.customers.record import fields_of, related_of
from appliance.customers.snapshot import SnapshotError
from appliance.ingest.spec import ImportRefused
from tests.factory import import_spec, open_snapshot, related_spec, run_import, write_csv

HEADER = ("email", "name", "company", "plan", "site")
ROWS = (
    ("ann@example.com", "Ann", "Example Ltd", "Pro", "https://www.example.com/"),
    ("bob@example.com", "Bob", "Example Ltd ", "Free", "Example.com"),
    ("", "Cleo", "Example Ltd", "Pro", "@example.com"),
    ("dan@elsewhere.net", "Dan", "One Person", "Pro", "exämple.org"),
    ("eve@gmail.com", "Eve", "Eve", "Free", "gmail.com"),
    ("fay@known.example", "Fay", "Fay", "Free", ""),
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


def make(folder, rows=ROWS, header=HEADER, **more):
    source = write_csv(folder.parent / "c.csv", [header, *rows])
    spec = import_spec(source=source, **{"company_domain": "site", **more})
    report = run_import(spec, folder)
    return report, open_snapshot(folder, spec)


def shown(company):
    return {name: value for name, value in fields_of(company.record) if value}


def test_several_rows_give_what_they_have_in_common(folder):
    report, snapshot = make(folder)
    assert report.companies == 2
    company = snapshot.find_company(("stranger@example.com",))
    assert (company.domain, company.members, shown(company)) == ("example.com", 3, {"company": "Example Ltd"})


def test_one_row_gives_all_of_it(folder):
    _, snapshot = make(folder)
    company = snapshot.find_company(("stranger@xn--exmple-cua.org",))
    assert (company.members, shown(company)) == (1, dict(zip(HEADER, ROWS[3], strict=True)))


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("stranger@known.example", id="a domain of addresses alone"),
        pytest.param("stranger@elsewhere.net", id="a domain of an address whose row names another"),
        pytest.param("stranger@gmail.com", id="public mail, though a row names it"),
        pytest.param("stranger@mail.example.com", id="a subdomain"),
        pytest.param("stranger@com", id="the ending"),
        pytest.param("stranger@www.example.com", id="its web server"),
        pytest.param("stranger@nowhere.example", id="no company's"),
    ],
)
def test_other_domains_find_nobody(address, folder):
    _, snapshot = make(folder)
    assert snapshot.find_company((address,)) is None


def test_the_first_address_of_a_company_decides(folder):
    _, snapshot = make(folder)
    addresses = ("x@nowhere.example", "x@xn--exmple-cua.org", "y@example.com")
    assert snapshot.find_company(addresses).domain == "xn--exmple-cua.org"
    assert snapshot.find_company(()) is None


def test_without_the_key_there_are_none(folder):
    report, snapshot = make(folder, company_domain="")
    assert (report.companies, snapshot.find_company(("x@example.com",))) == (None, None)


def test_a_large_file_gives_the_same(folder, monkeypatch):
    monkeypatch.setattr("appliance.ingest.snapshot_builder._LARGE", -1)
    monkeypatch.setattr("appliance.ingest.sources.csv_reader.BATCH", 2)
    _, snapshot = make(
        folder, [*ROWS, *((f"u{n}@example.com", "", "Example Ltd", "", "example.com") for n in range(500))]
    )
    company = snapshot.find_company(("x@example.com",))
    assert (company.members, shown(company)) == (503, {"company": "Example Ltd"})


COMMON = {
    "one that differs by the case": (("Pro", "pro"), ""),
    "one that differs by white space around": ((" Pro", "Pro\u00a0"), " Pro"),
    "one that is empty in a row": (("Pro", "", "Pro"), ""),
    "one of another row alone": (("", "Pro"), ""),
    "one that differs in the last row": (("Pro", "Pro", "Free"), ""),
    "one that comes back": (("Pro", "Free", "Pro"), ""),
}


@pytest.mark.parametrize(("values", "value"), COMMON.values(), ids=COMMON.keys())
def test_a_value_must_be_in_every_row(values, value, folder):
    _, snapshot = make(folder, [("", value, "example.com") for value in values], ("email", "plan", "site"))
    assert dict(fields_of(snapshot.find_company(("x@example.com",)).record))["plan"] == value


def test_a_cell_of_several_domains_and_a_row_that_repeats_one(folder):
    rows = [("", "1", "example.com, www.example.com, example.org"), ("", "1", "example.org")]
    _, snapshot = make(folder, rows, ("email", "number", "site"))
    assert [snapshot.find_company((f"x@example.{top}",)).members for top in ("com", "org")] == [1, 2]


def test_what_is_no_domain_is_reported_and_finds_nobody(folder):
    rows = [
        ("ann@example.com", "Example Ltd"),
        ("bob@example.com, Bob", "bob@example.com"),
        ("cleo@example.com, Cleo", "example.org"),
        ("dan@example.com", "gmail.com"),
        ("eve@example.com", ""),
        ("fay@example.com", "NULL"),
    ]
    report, snapshot = make(folder, rows, ("email", "site"), null_values=("NULL",))
    assert (report.companies, report.bad_rows, report.unclear_rows) == (1, 0, 3)
    assert [(row.line, row.why.partition(";")[0]) for row in report.unclear] == [
        (2, '"site" contains a value that is not a domain'),
        (3, '"email" contains a value beside an email address that is not one'),
        (4, '"email" contains a value beside an email address that is not one'),
    ]
    assert snapshot.find_company(("x@example.com",)) is None


def test_a_bad_row_names_no_company(folder):
    rows = [("nobody", "a"), *(("", "b") for _ in range(200))]
    rows = [(*row, f"example{number}.com") for number, row in enumerate(rows)]
    report, snapshot = make(folder, rows, ("email", "name", "site"))
    assert (report.bad_rows, report.companies) == (1, 200)
    assert snapshot.find_company(("x@example0.com",)) is None
    assert snapshot.find_company(("x@example1.com",)).record.name == "b"
    assert snapshot.find_company(("x@example200.com",)).record.name == "b"


def test_a_list_without_any_address_may_be_one_of_companies(folder):
    report, _ = make(folder, [("", "Example Ltd", "example.com")], ("email", "company", "site"))
    assert (report.rows, report.companies) == (1, 1)
    with pytest.raises(ImportRefused, match="nobody could be found"):
        make(folder, [("", "Example Ltd", "gmail.com")], ("email", "company", "site"))


def test_the_column_must_be_there(folder):
    with pytest.raises(
        ImportRefused, match=r'no column "web", only .*; correct customers\.company_domain, or the header'
    ):
        make(folder, company_domain="web")
    report, _ = make(folder, company_domain="SITE")
    assert report.companies == 2


def test_related_rows_are_those_of_all_members(folder):
    orders = write_csv(folder.parent / "o.csv", [("account", "number"), ("7", "1"), ("7", "2"), ("8", "3")])
    related = related_spec(name="orders", source=orders, table="", key="account", on="account")
    rows = [("ann@a.example", "7", "one.com"), ("bob@a.example", "7", "one.com, two.com"), ("", "8", "two.com")]
    _, snapshot = make(folder, rows, ("email", "account", "site"), related=(related,))
    one, two = (snapshot.find_company((f"x@{domain}",)).record for domain in ("one.com", "two.com"))
    assert [order.number for order in related_of(one, "orders")] == ["1", "2"]
    assert related_of(two, "orders") == ()


def test_a_database(folder):
    source = folder.parent / "c.db"
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("CREATE TABLE customers(email, name, site)")
        database.execute("INSERT INTO customers VALUES('ann@example.com', 'Ann', 'https://Example.com')")
        database.execute("INSERT INTO customers VALUES(NULL, 'Ann', 'example.com'), (NULL, 'Ann', NULL)")
    spec = import_spec(source=source, company_domain="site")
    assert run_import(spec, folder).companies == 1
    company = open_snapshot(folder, spec).find_company(("x@example.com",))
    assert (company.members, shown(company)) == (2, {"name": "Ann"})


def test_another_column_is_another_spec(folder):
    spec = import_spec(folder / "c.csv")
    assert spec.digest() != replace(spec, company_domain="site").digest()


def test_damage_is_a_fault_of_the_snapshot(folder):
    _, snapshot = make(folder)
    with closing(sqlite3.connect(folder / "00000001.db")) as database, database:
        database.execute("UPDATE company SET record = 'x'")
    with pytest.raises(SnapshotError, match="is damaged"):
        snapshot.find_company(("x@example.com",))
