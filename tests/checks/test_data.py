"""The checks of the customers and of the cards over them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.checks.context import CheckContext
from appliance.checks.finding import Status
from appliance.checks.registry import all_checks, run_checks
from appliance.config.loader import load
from appliance.ingest import dry_run
from tests.checks.running import context, only, run_check, settings, told, write_home
from tests.factory import CUSTOMERS, write_csv


@pytest.mark.parametrize(
    ("text", "status", "sentence"),
    [
        pytest.param(None, "fault", "customers.csv does not exist; put the file there", id="missing"),
        pytest.param("", "fault", "customers.csv:1: the file is empty; add a header", id="empty"),
        pytest.param(
            "mail,name\na@b.example,A\n",
            "fault",
            'customers.csv:1: there is no column "email", only "mail", "name"; correct customers.addresses',
            id="missing column",
        ),
        pytest.param("email,name\na@b.example,A\nc@b.exam", "fault", "customers.csv:3: ", id="cut in a row"),
        pytest.param(
            "email,name\na@b.example,A\nc@b.example,C", "fault", "the last line has no line end", id="cut at the end"
        ),
        pytest.param(
            'email,name\na@b.example,"A\nc@b.example,C\n',
            "fault",
            "customers.csv:2: a quoted field begins here",
            id="open quote",
        ),
        pytest.param("email,name\n" + "x\n" * 5, "fault", "5 of 5 rows are bad", id="bad rows"),
        pytest.param(
            "email,name\n" + "a@b.example,A\n" * 300 + "x\n", "warning", "customers.csv:302: 1 cells", id="one bad row"
        ),
        pytest.param("email,name\n,A\n", "fault", 'no customer with an address in "email"', id="no address"),
        pytest.param("email,name\na@b.example,A\n,B\n", "ok", "2 customers, 1 with an address", id="good"),
    ],
)
def test_customers(text: str | None, status: str, sentence: str, tmp_path: Path) -> None:
    where = context(tmp_path)
    (tmp_path / "customers.csv").unlink()
    if text is not None:
        (tmp_path / "customers.csv").write_text(text)
    _judged(where, status, sentence)


def test_a_database_is_left_alone_in_the_unit(tmp_path: Path) -> None:
    """One that is away must not stop a reload, for the service goes on with its last copy."""
    config = write_home(tmp_path)
    address = 'source = "postgresql://reader@127.0.0.1:1/shop"\ntable = "users"'
    config.write_text(config.read_text().replace('source = "customers.csv"', address))
    reload, by_hand = (CheckContext(load(config, {}), environ) for environ in ({"INVOCATION_ID": "a"}, {}))
    [customers] = told(run_check("customers", reload))
    assert customers == (
        "not_checked",
        "postgresql://reader@127.0.0.1:1/shop (customers): not contacted during a reload; see fetch in /healthz",
    )
    assert [status for status, _ in told(run_check("card", reload))] == ["not_checked"]
    assert [status for status, _ in told(run_check("customers", by_hand))] == ["fault"]


@pytest.mark.parametrize(
    ("text", "status", "sentence"),
    [
        pytest.param(None, "fault", "customers.csv does not exist; put the file there", id="missing"),
        pytest.param("mail,name\na@b.example,A\n", "fault", 'there is no column "email"', id="missing column"),
        pytest.param(
            "email,name\na@b.example,A\nc@b.exam", "fault", "the last line has no line end", id="cut in a row"
        ),
        pytest.param("email\r\nx@b.example", "fault", "the last line has no line end", id="cut at the end"),
        pytest.param("email,name\n" + "x\n" * 5, "warning", "bad rows, which would be left out: 5", id="bad rows"),
        pytest.param("email,name\n,A\n", "warning", 'no customer has an email address in "email"', id="no address"),
        pytest.param("email,name\n", "ok", "the first 0 customers", id="no customers"),
        pytest.param(
            "email,name\na@b.example,A\n,B\n",
            "ok",
            "the first 2 customers and the end of the file are good. The file is large, so the rest was neither read",
            id="good",
        ),
    ],
)
def test_customers_in_a_large_file(
    text: str | None, status: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "WHOLE", -1)
    test_customers(text, status, sentence, tmp_path)


def test_the_end_of_a_large_file_in_utf_16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "WHOLE", -1)
    where = context(tmp_path)
    for text, status in (("email\na@b.example\n", "ok"), ("email\na@b.example", "fault")):
        (tmp_path / "customers.csv").write_text(text, "utf-16")
        assert run_check("customers", CheckContext(where.settings, {})).status.value == status


def _judged(where: CheckContext, status: str, sentence: str) -> None:
    result = run_check("customers", where)
    said = " ".join(said for _, said in told(result))
    assert (result.status.value, sentence in said) == (status, True), said


def test_related_files_are_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    related = '[related.orders]\nsource = "orders.csv"\nkey = "email"\non = "email"\norder_by = "-date"'
    write_csv(tmp_path / "orders.csv", [("mail", "date"), ("ann@example.com", "2026-01-01")])
    for size in (dry_run.WHOLE, -1):
        monkeypatch.setattr(dry_run, "WHOLE", size)
        said = only(run_check("customers", context(tmp_path, more=related))).sentence
        assert 'orders.csv:1: there is no column "email", only "mail", "date"; correct related.orders' in said
    write_csv(tmp_path / "orders.csv", [("email", "date"), ("ann@example.com", "2026-01-01")])
    assert run_check("customers", context(tmp_path, more=related)).status is Status.OK
    with open(tmp_path / "orders.csv", "a") as text:
        text.write("ann@example.com,2026")
    assert (
        "orders.csv: the last line has no line end"
        in only(run_check("customers", context(tmp_path, more=related))).sentence
    )


def test_a_large_database_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "WHOLE", -1)
    with closing(sqlite3.connect(tmp_path / "customers.db")) as database, database:
        database.execute("CREATE TABLE customers(email)")
    config = settings(tmp_path).file
    assert config is not None
    config.write_text(config.read_text().replace("customers.csv", "customers.db"))
    where = CheckContext(load(config, {}), {})
    assert only(run_check("customers", where)).status is Status.NOT_CHECKED
    assert (
        only(run_check("card", where)).sentence == "helpscout: the customers were not read, so the card was not tried"
    )


def test_the_operators_own_marks_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (dry_run.WHOLE, -1):
        monkeypatch.setattr(dry_run, "WHOLE", size)
        said = only(run_check("customers", context(tmp_path, customers='ready_file = "ready"'))).sentence
        assert "ready is not there yet" in said


def test_a_trial_leaves_nothing_behind(tmp_path: Path) -> None:
    where = context(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert list(run_checks(where, all_checks()))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "status", "sentence"),
    [
        ("{{ customer.name }}", "ok", f"tried on {len(CUSTOMERS) - 1} customers"),
        ("{{ customer.nmae }}", "fault", 'card.html:1: there is no column "nmae"'),
        ("{% if %}", "fault", "card.html:1"),
        ("{{ date(customer.name }}", "fault", "card.html:1: this is not Python: '(' was never closed; correct the"),
        (None, "fault", "card.html: cannot be read: No such file"),
    ],
)
def test_cards(text: str | None, status: str, sentence: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "card.html").write_text(text)
    finding = only(run_check("card", context(tmp_path, app='card = "card.html"')))
    assert (finding.status.value, sentence in finding.sentence) == (status, True), finding.sentence


def test_a_column_that_the_built_in_card_is_to_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (dry_run.WHOLE, -1):
        monkeypatch.setattr(dry_run, "WHOLE", size)
        result = run_check("card", context(tmp_path, app='[app.display]\ncolumns = ["plan", "nmae"]'))
        assert [status for status, _ in told(result)] == ["ok", "warning"]
        assert '"nmae" is not a column of the customers; did you mean "name"?' in told(result)[1][1]


def test_a_card_with_related_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_csv(tmp_path / "orders.csv", [("mail", "total"), ("nobody@example.com", "1")])
    (tmp_path / "card.html").write_text("{% for order in customer.orders %}{{ order.totla }}{% end %}")
    related = '[related.orders]\nsource = "orders.csv"\nkey = "mail"\non = "email"'
    for size in (dry_run.WHOLE, -1):
        monkeypatch.setattr(dry_run, "WHOLE", size)
        said = only(run_check("card", context(tmp_path, more=related, app='card = "card.html"'))).sentence
        assert 'card.html:1: there is no column "totla"; did you mean "total"?' in said


def test_a_card_without_customers(tmp_path: Path) -> None:
    (tmp_path / "card.html").write_text("{{ customer.name }}")
    where = context(tmp_path, app='card = "card.html"')
    (tmp_path / "customers.csv").unlink()
    assert only(run_check("card", where)).status is Status.NOT_CHECKED


def test_an_unterminated_last_line_says_what_accepts_it(tmp_path: Path) -> None:
    where = context(tmp_path)
    (tmp_path / "customers.csv").write_text("email,name\na@b.example,A")
    said = only(run_check("customers", where)).sentence
    accepts = 'if the program that writes it always leaves it out, set unterminated_last_line = "accept"'
    assert f"everything else is complete; {accepts}" in said
    where = context(tmp_path, customers='unterminated_last_line = "accept"')
    (tmp_path / "customers.csv").write_text("email,name\na@b.example,A")
    assert only(run_check("customers", where)).sentence.endswith("1 customer, 1 with an address")
