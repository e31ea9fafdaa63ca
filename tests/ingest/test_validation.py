"""When a source that could be read is refused."""

import sqlite3
from contextlib import closing

import pytest

from appliance.customers.snapshot_store import newest
from appliance.ingest.spec import ImportRefused
from tests.factory import import_spec, related_spec, run_import, write_csv
from tests.ingest.imports import write


def test_bad_rows_of_a_related_file_count_too(tmp_path, folder):
    customers = write_csv(tmp_path / "c.csv", [("id", "email"), ("7", "ann@example.com")])
    orders = write_csv(tmp_path / "o.csv", [("id",), ("7", "two cells")])
    spec = import_spec(
        source=customers, related=(related_spec(name="orders", source=orders, table="", key="id", on="id"),)
    )
    with pytest.raises(ImportRefused, match=r"1 of 1 rows are bad.*o\.csv:2: 2 cells"):
        run_import(spec, folder)


@pytest.mark.parametrize(
    ("orders", "sentence"),
    [
        pytest.param([("1",)] * 99 + [("x", "y")] * 2, r"2 of 101 rows are bad", id="bad rows"),
        pytest.param([("1",)] * 79, r"o\.csv shrank by 21%, from 100 to 79 rows", id="shrunk"),
        pytest.param([], r"o\.csv shrank by 100%, from 100 to 0 rows", id="emptied"),
    ],
)
def test_a_related_file_is_guarded_by_itself(orders, sentence, tmp_path, folder):
    """However many customers there are: cards would say in silence that somebody has no orders."""
    source = write_csv(tmp_path / "c.csv", [("id", "email"), *((str(n), f"a{n}@example.com") for n in range(20_000))])
    related = related_spec(
        name="orders", source=write_csv(tmp_path / "o.csv", [("id",), *[("1",)] * 100]), table="", key="id", on="id"
    )
    spec = import_spec(source=source, related=(related,))
    assert run_import(spec, folder).related == {"orders": 100}
    write_csv(tmp_path / "o.csv", [("id",), *orders])
    with pytest.raises(ImportRefused, match=sentence):
        run_import(spec, folder)


def test_tables_of_one_file_are_guarded_each_by_itself(tmp_path, folder):
    """Bad customers are not bad orders, though both stand in one database."""
    source = tmp_path / "c.db"
    with closing(sqlite3.connect(source)) as database, database:
        database.execute("CREATE TABLE customers(id, email)")
        database.executemany("INSERT INTO customers VALUES(?, ?)", ((n, f"a{n}@example.com") for n in range(1000)))
        database.executemany("INSERT INTO customers VALUES(?, 'none')", ((n,) for n in range(5)))
        database.execute("CREATE TABLE orders(id)")
        database.executemany("INSERT INTO orders VALUES(?)", ((n,) for n in range(20)))
    database.close()
    related = related_spec(name="orders", source=source, table="orders", key="id", on="id")
    report = run_import(import_spec(source=source, related=(related,)), folder)
    assert (report.rows, report.bad_rows, report.related) == (1000, 5, {"orders": 20})


def test_good_related_rows_outweigh_few_bad_ones(tmp_path, folder):
    source = write_csv(tmp_path / "c.csv", [("id", "email"), ("1", "a@example.com")])
    rows = [("id",), *[("1",)] * 1000, ("x", "y")]
    related = related_spec(name="orders", source=write_csv(tmp_path / "o.csv", rows), table="", key="id", on="id")
    report = run_import(import_spec(source=source, related=(related,)), folder)
    assert (report.bad_rows, report.related) == (1, {"orders": 1000})


def test_a_few_bad_rows_are_left_out_and_reported(spec, folder):
    rows = [("email", "name"), *((f"a{n}@example.com", "A") for n in range(5000)), *(("none", "X") for _ in range(30))]
    report = run_import(write(spec, rows), folder)
    assert (report.rows, report.bad_rows, len(report.bad)) == (5000, 30, 20)
    assert (report.bad[0].line, report.bad[0].why) == (5002, '"email" contains a value that is not an email address')


@pytest.mark.parametrize(("rows", "refused"), [(80, False), (79, True), (1, True)])
def test_shrinking(rows, refused, spec, folder):
    def some(count):
        return [("email", "name"), *((f"a{n}@example.com", "A") for n in range(count))]

    run_import(write(spec, some(100)), folder)
    write(spec, some(rows))
    if refused:
        with pytest.raises(
            ImportRefused, match=rf"shrank by {100 - rows}%, from 100 to {rows} customers, and .* allows 20%"
        ):
            run_import(spec, folder)
        assert newest(folder, spec.digest()).rows == 100
        assert run_import(import_spec(source=spec.source.path, max_shrink=1.0), folder).rows == rows
    else:
        assert run_import(spec, folder).rows == rows


def test_a_shrunk_file_without_a_last_line_end_is_called_cut(spec, folder):
    run_import(spec, folder)
    spec.source.path.write_bytes(b"email,name,plan\nann@example.com,Ann,Pro")
    with pytest.raises(ImportRefused, match="may be cut short"):
        run_import(spec, folder)
    with pytest.raises(ImportRefused, match="shrank by"):
        run_import(import_spec(spec.source.path, unterminated_last_line="accept"), folder)
