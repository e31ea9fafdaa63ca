"""From a file to a snapshot: what is found afterwards, and what is left when something stops it."""

import csv
import io
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from appliance.customers.address import normalise
from appliance.customers.record import fields_of
from appliance.customers.snapshot import MAX_JOIN_KEYS, Snapshot, SnapshotFault, file_of, generation_of, generations
from appliance.customers.snapshot_store import newest
from appliance.ingest.fingerprint import fingerprint
from appliance.ingest.importer import STEPS, import_customers
from appliance.ingest.spec import ImportRefused, ImportSpec, RelatedSpec
from tests.factory import CUSTOMERS, NOW, Timer, open_snapshot, run_import, write_csv


@pytest.fixture
def spec(tmp_path):
    return ImportSpec(source=write_csv(tmp_path / "customers.csv"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"


def names(folder, spec, *addresses):
    """Give the names of the customers that are found by each address."""
    snapshot = open_snapshot(folder, spec)
    found = [record.name for record in snapshot.find(addresses)]
    snapshot.close()
    return found


def write(spec, rows):
    write_csv(spec.source, rows)
    return spec


# What is found


def test_every_row_and_nothing_else(spec, folder):
    report = run_import(spec, folder)
    assert (report.generation, report.rows, report.addresses, report.bad_rows) == (1, 6, 6, 0)
    snapshot = open_snapshot(folder, spec)
    for row in CUSTOMERS[1:]:
        (record,) = snapshot.find((normalise(row[0]) or "",))
        assert list(fields_of(record)) == list(zip(CUSTOMERS[0], row, strict=True))
    assert snapshot.find(("nobody@example.com", "a_b_c@example.com", "%", "")) == ()
    assert (snapshot.facts.as_of, snapshot.facts.rows) == (NOW, 6)
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
    spec = ImportSpec(source=write(spec, rows).source, addresses=("Email", "other"))
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


def test_tags_are_other_people_unless_the_operator_says_so(folder, spec):
    rows = [("email", "name"), ("ann+shop@example.com", "Ann"), ("ann@example.com", "Other Ann")]
    run_import(write(spec, rows), folder)
    assert names(folder, spec, "ann@example.com") == ["Other Ann"]
    folded = ImportSpec(source=spec.source, plus_addressing=True)
    run_import(folded, folder)
    assert names(folder, folded, "ann@example.com") == ["Ann", "Other Ann"]


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "cp1252"]


def encode(text, encoding):
    return b"\xff\xfe" + text.encode("utf-16-le") if encoding == "utf-16-le-bom" else text.encode(encoding)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "bar"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_every_dialect(encoding, delimiter, line_end, suffix, tmp_path):
    rows = [["email", "name", "x,;|\t"], ["jürgen@example.com", 'Jürgen "J" Müller', "a,b;c|d\te"]]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=line_end).writerows(rows)
    for begin in ("", f"sep={delimiter}{line_end}"):
        source = tmp_path / f"c{suffix}"
        source.write_bytes(encode(begin + text.getvalue(), encoding))
        spec = ImportSpec(source=source, encoding="cp1252" if encoding == "cp1252" else "")
        run_import(spec, tmp_path / "state")
        snapshot = open_snapshot(tmp_path / "state", spec)
        (record,) = snapshot.find(("jürgen@example.com",))
        assert [value for _, value in fields_of(record)] == rows[1]
        snapshot.close()


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
ADDRESSES = st.from_regex(r"[a-z0-9_%+-]{1,4}(\.[a-z0-9_%+-]{1,4})?@[a-z0-9]{1,6}\.(com|org)", fullmatch=True)


@given(
    rows=st.lists(st.tuples(ADDRESSES, CELLS, CELLS), min_size=1, max_size=12),
    delimiter=st.sampled_from(",;\t|"),
    line_end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_rows_are_found_again(rows, delimiter, line_end, encoding, quoting, tmp_path):
    """Whatever Python's csv module writes is found by each of its addresses, and by no other."""
    # Between LF line ends Python's writer leaves a lone CR unquoted, and so two files of different rows are the same.
    assume(line_end == "\r\n" or quoting != csv.QUOTE_MINIMAL or "\r" not in "".join(map("".join, rows)))
    source = tmp_path / "any.csv"
    with open(source, "w", encoding=encoding, newline="") as text:
        writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
        writer.writerows([("email", "name", "note"), *rows])
    spec = ImportSpec(source=source, max_shrink=1.0)
    report = run_import(spec, tmp_path / "any")
    assert report.rows == len(rows)
    snapshot = open_snapshot(tmp_path / "any", spec)
    expected = {}
    for row in rows:
        expected.setdefault(normalise(row[0]), []).append(row)
    for address, wanted in expected.items():
        found = [tuple(value for _, value in fields_of(record)) for record in snapshot.find((address,))]
        assert found == wanted
        assert snapshot.find((address + "x", "x" + address)) == () or {address + "x", "x" + address} & expected.keys()
    snapshot.close()


def many(count):
    return [("email", "name"), *((f"a{n}@example.com", f"Name {n}") for n in range(count))]


def test_a_large_file_gives_what_a_small_one_does(spec, folder, tmp_path, monkeypatch):
    """It is read in another process, with bad rows and several addresses in some of its many portions."""
    rows = many(9000)
    rows[7000] = ("none", "No Address")
    rows[8000] = ("x@example.com y@example.com", "Two")
    write(spec, rows)
    reports = []
    for large, state in ((-1, folder), (1 << 40, tmp_path / "other")):
        monkeypatch.setattr("appliance.ingest.snapshot_builder._LARGE", large)
        reports.append(run_import(spec, state))
        assert names(state, spec, "a17@example.com", "y@example.com", "a8998@example.com") == [
            "Name 17",
            "Two",
            "Name 8998",
        ]
    assert reports[0] == reports[1]
    assert (reports[0].rows, reports[0].addresses, reports[0].bad[0].line) == (8999, 9000, 7001)


def test_the_reading_process_is_killed(spec, folder, monkeypatch):
    monkeypatch.setattr("appliance.ingest.snapshot_builder._LARGE", -1)

    def killed(spec, copy):
        yield os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("appliance.ingest.snapshot_builder.read_customers", killed)
    with pytest.raises(ImportRefused, match="the process that reads the file was ended") as caught:
        run_import(spec, folder)
    assert caught.value.transient


# SQLite


def make_database(file, rows=CUSTOMERS, *more):
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE customers(email, name, plan)")
        database.executemany("INSERT INTO customers VALUES(?, ?, ?)", rows[1:])
        for statement in more:
            database.execute(statement)
    database.close()
    return file


def test_a_table_and_a_view(tmp_path, folder):
    view = """CREATE VIEW "paying customers" AS SELECT email AS "E-Mail", name FROM customers WHERE plan = 'Pro'"""
    source = make_database(tmp_path / "c.sqlite3", CUSTOMERS, view)
    spec = ImportSpec(source=source, table="Customers")
    assert run_import(spec, folder).rows == 6
    paying = ImportSpec(source=source, table="paying customers", addresses=("e-mail",))
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
    spec = ImportSpec(source=source)
    run_import(spec, folder)
    snapshot = open_snapshot(folder, spec)
    (record,) = snapshot.find(("x@example.com",))
    assert [value for _, value in fields_of(record)][1:] == [
        *("7", "7", "0.1", "", "Jürgen", "-9223372036854775808", "(2,000 bytes)")
    ]
    snapshot.close()


def test_a_database_in_use(tmp_path, folder):
    """In WAL mode what is committed is seen, whatever its writer is doing; nothing is left beside the file."""
    source = make_database(tmp_path / "c.db")
    spec = ImportSpec(source=source)
    writer = sqlite3.connect(source, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("INSERT INTO customers VALUES('new@example.com', 'New', '')")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO customers VALUES('later@example.com', 'Later', '')")
    run_import(spec, folder)
    assert names(folder, spec, "new@example.com", "later@example.com") == ["New"]
    writer.execute("COMMIT")
    writer.close()
    assert not list(tmp_path.glob("c.db-*"))
    run_import(spec, folder)
    assert names(folder, spec, "later@example.com") == ["Later"]
    assert not list(tmp_path.glob("c.db-*"))


def test_a_link_to_a_database_in_use(tmp_path, folder):
    """SQLite keeps the log beside the file, not beside the link; looked for there, it would be missed in silence."""
    (tmp_path / "elsewhere").mkdir()
    source = make_database(tmp_path / "elsewhere" / "real.db")
    (tmp_path / "c.db").symlink_to(source)
    spec = ImportSpec(source=tmp_path / "c.db")
    writer = sqlite3.connect(source, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    before = fingerprint(spec)
    writer.execute("INSERT INTO customers VALUES('new@example.com', 'New', '')")
    assert fingerprint(spec) != before
    run_import(spec, folder)
    assert names(folder, spec, "new@example.com") == ["New"]
    writer.close()


def test_a_locked_database(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("appliance.ingest.sources.sqlite_copy._PATIENCE", 1)
    source = make_database(tmp_path / "c.db")
    writer = sqlite3.connect(source, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ImportRefused, match=r"c\.db is locked by what writes it; it will be looked at again") as caught:
        run_import(ImportSpec(source=source), folder)
    assert caught.value.transient
    writer.close()
    assert run_import(ImportSpec(source=source), folder).rows == 6


AS_NOBODY = """
import os, sys, tests.factory
from pathlib import Path
from appliance.ingest.fingerprint import fingerprint
from appliance.customers.address import normalise
from appliance.ingest.spec import ImportSpec, ImportRefused
normalise("x@exämple.com")  # loads what nobody may not be able to read
os.setgid(65534); os.setuid(65534)
try:
    tests.factory.run_import(ImportSpec(source=Path(sys.argv[1])), Path(sys.argv[2]))
except ImportRefused as refused:
    print(refused)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
@pytest.mark.parametrize(
    ("leave", "sentence"),
    [
        ("wal", "has a -wal file beside it that cannot be read; let sidebard write its folder"),
        ("closed", ""),
        (
            "unreadable",
            "c.db cannot be opened: Permission denied; let the user nobody read it, and enter the folders above it",
        ),
    ],
)
def test_a_folder_that_may_not_be_written(leave, sentence, tmp_path_factory):
    """As the service's own user: a file in WAL mode is read as it lies if its writer is gone."""
    with_permissions = tmp_path_factory.mktemp("data")
    for parent in (with_permissions, *with_permissions.parents[:3]):  # also that of a worker of pytest-xdist
        parent.chmod(0o755)
    state = tmp_path_factory.mktemp("mine")
    os.chown(state, 65534, 65534)
    source = make_database(with_permissions / "c.db")
    writer = sqlite3.connect(source, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("INSERT INTO customers VALUES('new@example.com', 'New', '')")
    if leave == "wal":
        (with_permissions / "copy.db").write_bytes(source.read_bytes())
        (with_permissions / "copy.db-wal").write_bytes((with_permissions / "c.db-wal").read_bytes())
        source = with_permissions / "copy.db"
    writer.close()
    source.chmod(0o600 if leave == "unreadable" else 0o644)
    result = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(source), str(state)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"]},  # nobody can write what coverage measures
        check=False,
    )
    assert result.stderr == "", result.stderr
    assert sentence in result.stdout
    assert bool(sentence) is bool(result.stdout)


# Related rows

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
)
def test_related_rows(order_by, limit, numbers, tmp_path, folder):
    """Those of a customer, in order: numbers by size, empty ones last, no more than the limit."""
    customers = write_csv(tmp_path / "c.csv", [("ID", "email"), ("7", "ann@example.com"), ("9", "bob@example.com")])
    orders = RelatedSpec(
        name="orders",
        source=write_csv(tmp_path / "o.csv", ORDERS),
        table="orders",
        key="Customer_ID",
        on="id",
        order_by=order_by,
        limit=limit,
    )
    spec = ImportSpec(source=customers, related=(orders,))
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
    related = RelatedSpec(name="tickets", source=tickets, table="", key="mail", on="email")
    spec = ImportSpec(source=customers, related=(related,))
    run_import(spec, folder)
    snapshot = open_snapshot(folder, spec)
    (ann,) = snapshot.find(("ann@example.com",))
    assert [ticket.text for ticket in ann.tickets] == ["one"]
    snapshot.close()


def test_bad_rows_of_a_related_file_count_too(tmp_path, folder):
    customers = write_csv(tmp_path / "c.csv", [("id", "email"), ("7", "ann@example.com")])
    orders = write_csv(tmp_path / "o.csv", [("id",), ("7", "two cells")])
    spec = ImportSpec(
        source=customers, related=(RelatedSpec(name="orders", source=orders, table="", key="id", on="id"),)
    )
    with pytest.raises(ImportRefused, match=r"1 of 1 rows are bad.*o\.csv:2: 2 cells"):
        run_import(spec, folder)


def test_related_by_any_of_several_addresses(tmp_path, folder):
    customers = write_csv(tmp_path / "c.csv", [("email", "name"), ("ann+x@example.com; a.lee@example.org", "Ann")])
    tickets = write_csv(
        tmp_path / "t.csv", [("mail", "text"), ("A.Lee@example.org", "one"), ("ann@example.com", "two")]
    )
    related = RelatedSpec(name="tickets", source=tickets, table="", key="mail", on=" Email ")
    spec = ImportSpec(source=customers, related=(related,), plus_addressing=True)
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
    related = RelatedSpec(name="tickets", source=tickets, table="", key="mail", on="email")
    spec = ImportSpec(source=customers, related=(related,))
    run_import(spec, folder)
    snapshot = open_snapshot(folder, spec)
    (found,) = snapshot.find((addresses[-1],))
    assert [ticket.mail for ticket in found.tickets] == addresses[:MAX_JOIN_KEYS]
    snapshot.close()


# Guards


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
    related = RelatedSpec(
        name="orders", source=write_csv(tmp_path / "o.csv", [("id",), *[("1",)] * 100]), table="", key="id", on="id"
    )
    spec = ImportSpec(source=source, related=(related,))
    assert run_import(spec, folder).related == {"orders": 100}
    write_csv(related.source, [("id",), *orders])
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
    related = RelatedSpec(name="orders", source=source, table="orders", key="id", on="id")
    report = run_import(ImportSpec(source=source, related=(related,)), folder)
    assert (report.rows, report.bad_rows, report.related) == (1000, 5, {"orders": 20})


def test_good_related_rows_outweigh_few_bad_ones(tmp_path, folder):
    source = write_csv(tmp_path / "c.csv", [("id", "email"), ("1", "a@example.com")])
    rows = [("id",), *[("1",)] * 1000, ("x", "y")]
    related = RelatedSpec(name="orders", source=write_csv(tmp_path / "o.csv", rows), table="", key="id", on="id")
    report = run_import(ImportSpec(source=source, related=(related,)), folder)
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
        assert run_import(ImportSpec(source=spec.source, max_shrink=1.0), folder).rows == rows
    else:
        assert run_import(spec, folder).rows == rows


def test_no_room(spec, folder, monkeypatch):
    monkeypatch.setattr("appliance.ingest.validation._ROOM", 1 << 62)
    with pytest.raises(ImportRefused, match=r"has [\d,]+ MiB free, and the import needs [\d,]+ MiB; make room there"):
        run_import(spec, folder)


def test_a_file_that_changes_while_it_is_read(spec, folder):
    def append(rows, share):
        with open(spec.source, "a") as text:
            text.write("late@example.com,Late,\n")

    with pytest.raises(ImportRefused, match="changed while it was read") as caught:
        run_import(spec, folder, progress=append)
    assert caught.value.transient
    assert newest(folder, spec.digest()) is None


def test_ready_file(spec, folder, tmp_path):
    ready = tmp_path / "customers.ok"
    spec = ImportSpec(source=spec.source, ready_file=ready)
    with pytest.raises(ImportRefused, match="is not there yet"):
        run_import(spec, folder)
    ready.touch()
    os.utime(ready, (1, 1))
    with pytest.raises(ImportRefused, match=r"customers\.csv is newer than .*customers\.ok"):
        run_import(spec, folder)
    os.utime(spec.source, (1, 1))
    assert run_import(spec, folder).rows == 6


@pytest.mark.parametrize("binary", [" ", "*"])
def test_checksum_file(binary, spec, folder, tmp_path):
    sums = tmp_path / "SHA256SUMS"
    spec = ImportSpec(source=spec.source, checksum_file=sums)
    digest = subprocess.run(["sha256sum", spec.source], capture_output=True, check=True).stdout[:64].decode()
    sums.write_text(f"{'0' * 64}  other.csv\n{digest.upper()} {binary}customers.csv\n")
    assert run_import(spec, folder).rows == 6
    content = spec.source.read_bytes()
    spec.source.write_bytes(content.replace(b"Ann Lee", b"Ann Lea"))
    with pytest.raises(ImportRefused, match="does not have the checksum"):
        run_import(spec, folder)
    sums.write_text("nonsense\n")
    with pytest.raises(ImportRefused, match=r"has no line for customers\.csv"):
        run_import(spec, folder)


@pytest.mark.parametrize("proof", ["ready_file", "checksum_file"])
def test_a_proven_file_needs_no_last_line_end(proof, spec, folder, tmp_path):
    content = spec.source.read_bytes().removesuffix(b"\r\n")
    spec.source.write_bytes(content)
    with pytest.raises(ImportRefused, match="may be cut short"):
        run_import(spec, folder)
    mark = tmp_path / "mark"
    sums = subprocess.run(["sha256sum", spec.source], capture_output=True, check=True).stdout
    mark.write_bytes(sums)
    assert run_import(ImportSpec(source=spec.source, **{proof: mark}), folder).rows == 6


# Generations


def test_two_generations_are_kept(spec, folder):
    for generation in (1, 2, 3, 4):
        assert run_import(spec, folder).generation == generation
        assert generations(folder) == [generation, generation - 1][:generation]


def test_a_folder_that_is_none_holds_nothing(spec, tmp_path):
    """Nor does one that cannot be read: who asks for the newest snapshot is told that there is none."""
    (tmp_path / "state").touch()
    for folder in (tmp_path / "state", tmp_path / "state" / "customers"):
        assert (generations(folder), newest(folder, spec.digest())) == ([], None)
        with pytest.raises(
            ImportRefused, match=r"cannot be written: (Not a directory|File exists); correct server\.state"
        ):
            run_import(spec, folder)


def test_what_becomes_of_the_folder_during_an_import_is_a_refusal(spec, folder, tmp_path):
    def replace_folder(step):
        if step == "sync":
            folder.rename(tmp_path / "elsewhere")
            folder.touch()

    with pytest.raises(ImportRefused) as caught:
        run_import(spec, folder, at_step=replace_folder)
    assert caught.value.transient


def test_what_is_left_over_and_cannot_be_removed_is_a_refusal(spec, folder):
    (folder / "left.tmp").mkdir(parents=True)
    with pytest.raises(ImportRefused, match=r"left\.tmp: Is a directory"):
        run_import(spec, folder)


@pytest.mark.parametrize(
    ("name", "generation"),
    [
        ("00000001.db", 1),
        ("99999999.db", 99_999_999),
        ("100000000.db", 100_000_000),
        ("999999999999999999.db", 10**18 - 1),
        ("000000001.db", None),
        ("0000001.db", None),
        ("1000000000000000000.db", None),
        ("٠٠٠٠٠٠٠١.db", None),
        ("00000001.db.tmp", None),
    ],
)
def test_a_snapshot_has_its_number_for_a_name_and_no_other(name, generation):
    assert generation_of(Path(name)) == generation
    if generation is not None:
        assert file_of(Path(), generation).name == name


def test_the_next_after_99999999_is_used(spec, folder):
    run_import(spec, folder)
    file_of(folder, 1).rename(file_of(folder, 99_999_999))
    run_import(spec, folder)
    assert generations(folder) == [100_000_000, 99_999_999]
    assert open_and_close(folder, spec) == 100_000_000


def open_and_close(folder, spec):
    snapshot = open_snapshot(folder, spec)
    snapshot.close()
    return snapshot.generation


@pytest.mark.parametrize("done", ["nothing", "removed", "made anew", "folder removed"])
def test_a_snapshot_knows_whether_its_path_is_still_its_own(done, spec, folder, tmp_path):
    run_import(spec, folder)
    snapshot = open_snapshot(folder, spec)
    if done == "folder removed":
        folder.rename(tmp_path / "removed")
    elif done != "nothing":
        file_of(folder, 1).unlink()
    if done == "made anew":
        run_import(spec, folder)
    assert snapshot.in_place() is (done == "nothing")
    assert snapshot.find(("ann@example.com",))
    snapshot.close()


def test_no_data_is_from_the_future(spec, folder):
    """A clock that was set back: unchanged files were read now at the latest."""
    run_import(spec, folder)
    run_import(spec, folder, clock=lambda: NOW - 5000)
    assert newest(folder, spec.digest()).as_of == NOW - 5000


def test_unchanged_data_does_not_grow_younger(spec, folder):
    run_import(spec, folder)
    run_import(spec, folder, clock=lambda: NOW + 1000)
    assert newest(folder, spec.digest()).as_of == NOW
    write(spec, [*CUSTOMERS, ("new@example.com", "New", "")])
    run_import(spec, folder, clock=lambda: NOW + 2000)
    assert newest(folder, spec.digest()).as_of == NOW + 2000


def test_the_oldest_file_decides_the_age(tmp_path, folder):
    """Neither a new file of orders nor another setting makes old customers young."""
    source = write_csv(tmp_path / "c.csv", [("id", "email"), ("1", "a@example.com")])
    related = RelatedSpec(
        name="orders", source=write_csv(tmp_path / "o.csv", [("id",), ("1",)]), table="", key="id", on="id"
    )
    spec = ImportSpec(source=source, related=(related,))
    run_import(spec, folder)
    write_csv(related.source, [("id",), ("1",), ("1",)])
    run_import(spec, folder, clock=lambda: NOW + 1000)
    assert newest(folder, spec.digest()).as_of == NOW
    other = ImportSpec(source=source, related=(related,), plus_addressing=True)
    run_import(other, folder, clock=lambda: NOW + 2000)
    assert newest(folder, other.digest()).as_of == NOW


def test_a_snapshot_of_other_settings_is_not_used(spec, folder, tmp_path):
    run_import(spec, folder)
    for other in (
        ImportSpec(source=write_csv(tmp_path / "other.csv")),
        ImportSpec(source=spec.source, addresses=("name",)),
        ImportSpec(source=spec.source, plus_addressing=True),
    ):
        assert open_snapshot(folder, other) is None
    assert newest(folder, ImportSpec(source=spec.source, max_shrink=0.5).digest()) is not None


def test_a_damaged_snapshot_is_passed_over(spec, folder):
    run_import(spec, folder)
    run_import(spec, folder)
    file = file_of(folder, 2)
    for damage in (b"", file.read_bytes()[:-4096], b"x" * 8192, b"SQLite format 3\0" + bytes(4080)):
        file.write_bytes(damage)
        with pytest.raises(SnapshotFault):
            Snapshot(file, 2)
        assert open_snapshot(folder, spec).generation == 1
    assert run_import(spec, folder).generation == 3


def test_a_snapshot_of_another_version_is_imported_anew(spec, folder, monkeypatch):
    monkeypatch.setattr("appliance.ingest.snapshot_builder.FORMAT", 999)
    with pytest.raises(ImportRefused, match="format of another version"):  # it reads back what it wrote
        run_import(spec, folder)


def test_one_import_at_a_time(spec, folder):
    with pytest.raises(ImportRefused, match="another import is running") as caught:
        run_import(spec, folder, progress=lambda rows, share: run_import(spec, folder))
    assert caught.value.transient


def test_the_folder_cannot_be_made(spec, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ImportRefused, match=r"cannot be written: File exists; correct server\.state"):
        run_import(spec, tmp_path / "file" / "state")


def test_nobody_else_can_read_it(spec, folder):
    run_import(spec, folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_imports_belongs_to_the_folders_owner(spec, folder):
    folder.mkdir()
    os.chown(folder, 12345, 12346)
    run_import(spec, folder)
    assert {(file.stat().st_uid, file.stat().st_gid) for file in folder.iterdir()} == {(12345, 12346)}


# Killed, and out of room


def in_child(function):
    """Run a function in a forked child; give how the child ended."""
    child = os.fork()
    if child == 0:
        try:
            function()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("step", STEPS)
def test_killed_before_a_step(step, spec, folder):
    """The next start finds the old snapshot or the new one, whole, and the next import leaves nothing behind."""
    run_import(spec, folder)
    write(spec, [*CUSTOMERS, ("new@example.com", "New", "")])

    def kill(reached):
        if reached == step:
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(lambda: run_import(spec, folder, at_step=kill)) == -signal.SIGKILL
    snapshot = open_snapshot(folder, spec)
    snapshot.check()
    renamed = STEPS.index(step) > STEPS.index("rename")
    assert (snapshot.generation, snapshot.facts.rows) == ((2, 7) if renamed else (1, 6))
    snapshot.close()
    assert run_import(spec, folder).rows == 7
    assert {file.suffix for file in folder.iterdir()} == {".db", ""}
    assert len(generations(folder)) == 2


@pytest.mark.parametrize("limit", [1, 4096, 20_000, 60_000])
def test_a_limit_on_file_size(limit, spec, folder):
    """As a full disk, for any user: the old data stays, the sentence says why, and it heals by itself."""
    run_import(spec, folder)
    write(spec, [CUSTOMERS[0], *((f"a{n}@example.com", "Some Name", "Pro") for n in range(2000))])

    def limited():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            run_import(spec, folder)
        except ImportRefused as refused:
            os._exit(7 if "make room there" in str(refused) and refused.transient else 8)

    assert in_child(limited) == 7
    assert newest(folder, spec.digest()).rows == 6
    assert {file.suffix for file in folder.iterdir()} == {".db", ""}
    assert run_import(spec, folder).rows == 2000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_full_disk(spec, folder, tmp_path, monkeypatch):
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "tmpfs", folder], check=True)
    monkeypatch.setattr("appliance.ingest.validation._ROOM", 0)
    try:
        run_import(spec, folder)
        filler = folder / "filler"
        filler.write_bytes(b"x" * 300_000)
        write(spec, [CUSTOMERS[0], *((f"a{n}@example.com", "Some Name " * 20, "Pro") for n in range(500))])
        with pytest.raises(ImportRefused, match="make room there") as caught:
            run_import(spec, folder)
        assert caught.value.transient
        assert names(folder, spec, "ann@example.com") == ["Ann Lee"]
        filler.unlink()
        assert run_import(spec, folder).rows == 500
    finally:
        subprocess.run(["umount", folder], check=True)


def test_progress_and_rate(spec, folder):
    seen = []
    timer = Timer()

    def progress(rows, share):
        seen.append((rows, share))
        timer.now += 2.0

    report = import_customers(spec, folder, clock=lambda: NOW, timer=timer, progress=progress)
    assert seen == [(6, 1.0)]
    assert (report.seconds, report.rows_per_second) == (2.0, 3)


HEADERS = {
    "two byte order marks": (b"\xef\xbb\xbf\xef\xbb\xbfemail,name\nann@example.com,Ann\n", ("email", "name")),
    "a second mark before a quote": (
        b'\xef\xbb\xbf\xef\xbb\xbf"email","name"\nann@example.com,Ann\n',
        ("email", "name"),
    ),
    "a zero-width space": ("email\u200b,name\nann@example.com,Ann\n".encode(), ("email", "name")),
    "a no-break space": ("email\u00a0,full\u00a0name\nann@example.com,Ann\n".encode(), ("email", "full name")),
    "a line end in it": (b'email,"full\nname"\nann@example.com,Ann\n', ("email", "full name")),
    "a delimiter at the end of each row": (b"email,name\nann@example.com,Ann,\n", ("email", "name")),
    "delimiters at the end of some rows": (
        b"email,name\nann@example.com,Ann, ,,\nbob@example.com,Bob\n",
        ("email", "name"),
    ),
    "empty columns at the end": (b"email,name,,\nann@example.com,Ann,,\n", ("email", "name")),
    "white columns at the end": ("email,name, ,\u00a0\nann@example.com,Ann,,\n".encode(), ("email", "name")),
    "an empty column that some rows do not have": (b"email,name,\nann@example.com,Ann\n", ("email", "name")),
    "numbers of rows": (b",email,name\n0,ann@example.com,Ann\n1,bob@example.com,Bob\n", ("email", "name")),
    "numbers of rows, and empty columns": (b",email,name,\n0,ann@example.com,Ann,\n", ("email", "name")),
    "sep= in quotes": (b'"sep=;"\nemail;name\nann@example.com;Ann\n', ("email", "name")),
}


@pytest.mark.parametrize(("content", "names"), HEADERS.values(), ids=HEADERS.keys())
def test_headers_of_common_programs(content, names, tmp_path, folder):
    source = tmp_path / "customers.csv"
    source.write_bytes(content)
    report = run_import(ImportSpec(source=source), folder)
    snapshot = open_snapshot(folder, ImportSpec(source=source))
    assert (snapshot.facts.columns, report.bad_rows) == (names, 0)
    (ann,) = snapshot.find(("ann@example.com",))
    assert [value for _, value in fields_of(ann)] == ["ann@example.com", "Ann"]
    snapshot.close()


@pytest.mark.parametrize(
    "content",
    [
        b"email,name\nann@example.com,Ann,Pro\n",
        b"email,name,\nann@example.com,Ann,Pro\n",
        b",email,name\n0,ann@example.com,Ann,1\n",
    ],
    ids=["no name", "a name that is empty", "numbers of rows"],
)
def test_a_value_under_no_name_is_never_dropped(content, tmp_path, folder):
    source = tmp_path / "customers.csv"
    source.write_bytes(content)
    with pytest.raises(ImportRefused, match="name the other columns there, or quote a cell that contains a delimiter"):
        run_import(ImportSpec(source=source), folder)
