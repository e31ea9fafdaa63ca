"""What `sidebard check` says of a real MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.ingest.sources import mysql_session
from appliance.ingest.sources.base import SourceError
from appliance.ingest.sources.database import Query
from appliance.ingest.sources.database_remarks import remarks_on_tls
from appliance.ingest.sources.mysql import fetch, inspect
from appliance.ingest.sources.mysql_session import quote_name
from tests.system.databases.mariadb_server import MariaDB

pytestmark = pytest.mark.system
TABLES = """CREATE TABLE customers (id int, email varchar(99), `Full Name` text, photo blob, since date);
INSERT INTO customers SELECT seq, concat(seq, '@example.com'), 'x', 'y', '2024-01-31' FROM seq_1_to_5000;
CREATE TABLE orders (id int); CREATE OR REPLACE DATABASE crm; CREATE TABLE crm.notes (id int);
CREATE OR REPLACE USER few@'%' IDENTIFIED BY 'few'; GRANT SELECT ON shop.customers TO few@'%';"""


@pytest.fixture
def filled(maria: MariaDB) -> Iterator[MariaDB]:
    maria.sql(TABLES)
    yield maria
    maria.sql("DROP USER few@'%'; DROP DATABASE crm")


def said(maria: MariaDB, folder: Path, *statements: str, user: str = "few", tls: str = "") -> list[str]:
    """Return what is wrong, or could be better."""
    queries = [Query.parse("customers", statement, "", quote_name) for statement in statements]
    files = [folder / f"{number}.csv" for number in range(len(queries))]
    server = maria.server(user, password=lambda: user, tls=tls)
    found = inspect(server, queries, files, 100)
    assert len(found.fetched) == (0 if any(each.level == "fault" for each in found.remarks) else len(queries))
    address = str(server)
    return [f"{each.level}: {each.sentence.removeprefix(address)}" for each in found.remarks if each.level != "ok"]


def test_a_reader_and_a_good_query(filled: MariaDB, tmp_path: Path) -> None:
    query = Query.parse("customers", "SELECT * FROM customers ORDER BY id -- all", "", quote_name)
    found = inspect(filled.server("few", password=lambda: "few"), [query], [tmp_path / "0.csv"], 100)
    assert [each.level for each in found.remarks] == ["ok", "ok"]
    assert "/shop: MariaDB 1" in found.remarks[0].sentence
    columns = "its columns are id int, email varchar, `Full Name` text, photo blob, since date"
    assert found.remarks[1].sentence.endswith(columns)
    assert [each.rows for each in found.fetched] == [100]
    assert (tmp_path / "0.csv").read_text().startswith("id,email,Full Name,photo,since\n1,1@example.com,x,(1 bytes),")


def test_every_missing_grant_is_told_at_once(filled: MariaDB, tmp_path: Path) -> None:
    (fault,) = said(filled, tmp_path, "SELECT * FROM customers JOIN `orders`", "SELECT * FROM\ncrm.notes AS n")
    assert fault == (
        "fault: : few may not read crm.notes, shop.orders; run: GRANT SELECT ON crm.notes TO few@'%';"
        " GRANT SELECT ON shop.orders TO few@'%';"
    )


def test_a_user_who_may_not_even_use_the_database(filled: MariaDB, tmp_path: Path) -> None:
    filled.sql("REVOKE SELECT ON shop.customers FROM few@'%'")
    (fault,) = said(filled, tmp_path, "SELECT * FROM customers")
    assert fault == "fault: : few may not read shop.customers; run: GRANT SELECT ON shop.customers TO few@'%';"


def test_a_query_that_names_no_table_of_a_database_that_may_not_be_used(filled: MariaDB, tmp_path: Path) -> None:
    filled.sql("REVOKE SELECT ON shop.customers FROM few@'%'")
    (fault,) = said(filled, tmp_path, "SELECT 1 AS one")
    assert fault == "fault: : few may not read shop.*; run: GRANT SELECT ON shop.* TO few@'%';"


def test_a_database_that_is_not_there(filled: MariaDB, tmp_path: Path) -> None:
    query = Query.parse("customers", "SELECT 1 AS one", "", quote_name)
    server = filled.server("writer", password=lambda: "w", database="nothing", tls="off")
    with pytest.raises(SourceError, match="the server has no such database"):
        inspect(replace(server, host=str(filled.socket), port=0), [query], [tmp_path / "0.csv"], 9)


def test_every_wrong_query_is_told(filled: MariaDB, tmp_path: Path) -> None:
    first, second = said(filled, tmp_path, "SELECT x FROM customers", "SELECT FROM WHERE")
    assert "there is no such column" in first
    assert "not one SELECT of valid SQL" in second


@pytest.mark.parametrize(
    ("grant", "power"),
    [
        ("GRANT ALL ON shop.* TO few@'%'", "ALL PRIVILEGES on shop.*"),
        ("GRANT FILE ON *.* TO few@'%'", "FILE on *.*"),
        ("GRANT SELECT, UPDATE (id), INSERT, DROP, ALTER ON shop.customers TO few@'%'",
         "INSERT, UPDATE, DROP and 1 more on shop.customers"),
        ("GRANT SELECT ON shop.* TO few@'%' WITH GRANT OPTION", "GRANT OPTION on shop.*"),
    ],
    ids=["all", "file", "more than SELECT", "grant"],
)  # fmt: skip
def test_a_user_who_may_do_more_than_read(filled: MariaDB, tmp_path: Path, grant: str, power: str) -> None:
    filled.sql(grant)
    (warning,) = said(filled, tmp_path, "SELECT id, email FROM customers")
    assert warning == (
        f"warning: : few may do more than read: {power}. To create a user who may only read: CREATE USER sidebard@'%'"
        " IDENTIFIED BY '...' WITH MAX_USER_CONNECTIONS 3; GRANT SELECT ON shop.customers TO sidebard@'%';"
    )
    assert "PASSWORD" not in warning


def test_privileges_that_are_harmless(filled: MariaDB, tmp_path: Path) -> None:
    filled.sql("GRANT SHOW VIEW, EXECUTE ON shop.* TO few@'%'; GRANT SELECT (id) ON crm.notes TO few@'%'")
    assert said(filled, tmp_path, "SELECT * FROM customers", "SELECT id FROM crm.notes") == []


def test_tables_of_another_moment(filled: MariaDB, tmp_path: Path) -> None:
    filled.sql("GRANT SELECT ON shop.* TO few@'%'; ALTER TABLE orders ENGINE = MyISAM")
    both = ("SELECT * FROM customers", "SELECT * FROM orders")
    (warning,) = said(filled, tmp_path, *both)
    assert warning.startswith("warning: : orders may not be consistent with the other tables")
    assert said(filled, tmp_path, both[1]) == []


def test_tls_that_trusts_anybody(filled: MariaDB, tmp_path: Path) -> None:
    (warning,) = said(filled, tmp_path, "SELECT * FROM customers", tls="encrypt")
    assert 'the server\'s certificate is not verified, because tls is "encrypt"' in warning


def test_rows_that_cross_a_network_in_clear_text(maria: MariaDB) -> None:
    server = replace(maria.server(), host="db.example.com", tls="off")
    (warning,) = remarks_on_tls(server)
    assert 'rows are sent over the network unencrypted, because tls is "off"; enable TLS on' in warning.sentence
    assert list(remarks_on_tls(replace(server, host="127.0.0.1"))) == []


def test_a_server_that_falls_silent_is_left(maria: MariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql_session, "STALL", 0.3)
    silent = "SELECT IF(seq = 90000, SLEEP(60), repeat('x', 200)) AS a FROM seq_1_to_100000"
    with pytest.raises(SourceError, match="the server stopped sending data") as caught:
        fetch(maria.server(), [Query.parse("customers", silent, "", quote_name)], [tmp_path / "0.csv"])
    assert caught.value.transient


def test_what_comes_slowly_before_the_first_row_is_waited_for(
    maria: MariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql_session, "STALL", 0.2)
    slow = [Query.parse("customers", "SELECT SLEEP(0.5) AS a", "", quote_name)] * 2
    assert [each.rows for each in fetch(maria.server(), slow, [tmp_path / "0.csv", tmp_path / "1.csv"])] == [1, 1]


def test_what_has_not_changed_ends_the_fetch(maria: MariaDB, tmp_path: Path) -> None:
    files = [tmp_path / "0.csv", tmp_path / "1.csv"]
    changed, rows = Query("customers.changed", "SELECT 1 AS a\n"), Query("customers", "SELECT 2 AS a\n")
    mark, _ = fetch(maria.server(), [changed, rows], files)
    files[1].unlink()
    known = Query(changed.section, changed.statement, mark.sha256)
    assert fetch(maria.server(), [known, rows], files) == (mark,)
    assert not files[1].exists()
