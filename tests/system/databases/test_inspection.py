"""What `sidebard check` says of a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from appliance.ingest.sources import postgres_inspection, postgres_session
from appliance.ingest.sources.base import SourceError
from appliance.ingest.sources.database import Query
from appliance.ingest.sources.postgres import fetch, inspect
from appliance.ingest.sources.postgres_session import quote_name
from tests.system.databases.postgres_server import Postgres, postgres

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as running:
        running.sql(
            """CREATE TABLE customers (id int, email text, "Full Name" text);
            INSERT INTO customers SELECT n, n || '@example.com', 'x' FROM generate_series(1, 5000) AS n;
            CREATE TABLE orders (id int); CREATE SCHEMA crm; CREATE TABLE crm.notes (id int);
            GRANT SELECT ON customers TO reader;"""
        )
        yield running


def said(database: Postgres, folder: Path, *statements: str, user: str = "reader") -> list[str]:
    """Return what is wrong, or could be better."""
    queries = [Query.parse("customers", statement, "", quote_name) for statement in statements]
    files = [folder / f"{number}.csv" for number in range(len(queries))]
    found = inspect(database.server(user), queries, files, 100)
    assert len(found.fetched) == (0 if any(each.level == "fault" for each in found.remarks) else len(queries))
    return [f"{each.level}: {each.sentence.partition('/shop')[2]}" for each in found.remarks if each.level != "ok"]


def test_a_reader_and_a_good_query(database: Postgres, tmp_path: Path) -> None:
    query = Query.parse("customers", "SELECT * FROM customers ORDER BY id -- all", "", quote_name)
    found = inspect(database.server(), [query], [tmp_path / "0.csv"], 100)
    assert [each.level for each in found.remarks] == ["ok", "ok"]
    assert ": PostgreSQL " in found.remarks[0].sentence
    assert found.remarks[1].sentence.endswith('its columns are id int4, email text, "Full Name" text')
    assert [each.rows for each in found.fetched] == [100]
    assert (tmp_path / "0.csv").read_text().startswith("id,email,Full Name\n1,1@example.com,x\n")


def test_every_missing_grant_is_told_at_once(database: Postgres, tmp_path: Path) -> None:
    (fault,) = said(database, tmp_path, "SELECT * FROM customers, orders", "SELECT * FROM crm.notes")
    assert fault == (
        "fault: : reader may not read crm.notes, public.orders; run, as their owner: GRANT USAGE ON SCHEMA crm TO"
        " reader; GRANT SELECT ON crm.notes, public.orders TO reader;"
    )


def test_every_wrong_query_is_told(database: Postgres, tmp_path: Path) -> None:
    first, second = said(database, tmp_path, "SELECT x FROM customers", "SELECT FROM WHERE")
    assert "there is no such column" in first
    assert "not one statement of valid SQL" in second


@pytest.mark.parametrize(
    ("grant", "power"),
    [
        ("ALTER ROLE strong SUPERUSER", "is a superuser"),
        ("ALTER ROLE strong REPLICATION", "may replicate"),
        ("ALTER ROLE strong CREATEROLE", "may create roles"),
        ("GRANT UPDATE ON customers TO strong", "may write public.customers"),
        ("ALTER TABLE orders OWNER TO strong", "may write public.orders"),
        ("GRANT pg_write_all_data TO strong", "is a member of pg_write_all_data"),
    ],
    ids=["superuser", "replication", "roles", "more than SELECT", "owner", "member"],
)
def test_a_role_that_may_do_more_than_read(database: Postgres, tmp_path: Path, grant: str, power: str) -> None:
    database.sql(f"""CREATE ROLE strong LOGIN PASSWORD 'p@ss''word\\'; GRANT SELECT ON customers TO strong; {grant}""")
    try:
        (warning,) = said(database, tmp_path, "SELECT * FROM customers", user="strong")
    finally:
        database.sql("REASSIGN OWNED BY strong TO postgres; DROP OWNED BY strong; DROP ROLE strong")
    assert warning.startswith("warning: : strong may do more than read: it ")
    assert power in warning
    assert warning.endswith(
        "To create a role that may only read: CREATE ROLE sidebard LOGIN PASSWORD '...' CONNECTION LIMIT 3;"
        " GRANT CONNECT ON DATABASE shop TO sidebard; GRANT USAGE ON SCHEMA public TO sidebard;"
        " GRANT SELECT ON public.customers TO sidebard;"
    )


def test_a_database_without_an_encoding(database: Postgres, tmp_path: Path) -> None:
    database.sql("CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0", "postgres")
    query = Query.parse("customers", "SELECT 1 AS one", "", quote_name)
    found = inspect(replace(database.server(), database="bytes"), [query], [tmp_path / "0.csv"], 100)
    (warning,) = [each.sentence for each in found.remarks if each.level == "warning"]
    assert 'set the real one, such as customers.encoding = "cp1252"' in warning
    named = replace(database.server(), database="bytes", encoding="cp1252")
    assert [each.level for each in inspect(named, [query], [tmp_path / "0.csv"], 100).remarks] == ["ok", "ok"]


@pytest.mark.parametrize("question", ["_ROLE", "_WRITES", "_NAMED"])
def test_what_the_catalogues_of_another_server_do_not_know_is_left_out(
    database: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    """It must not end the transaction in which the queries are tried."""
    monkeypatch.setattr(postgres_inspection, question, "SELECT nothing FROM nowhere")
    assert said(database, tmp_path, "SELECT * FROM customers") == []


# A server that refuses COPY, one that keeps no time, and one that falls silent


def test_a_server_that_ends_no_statement_is_left_in_time(
    database: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those do that do not know statement_timeout."""
    monkeypatch.setattr(postgres_session, "_set", lambda _server: "SELECT 1")
    slow = Query.parse("customers", "SELECT pg_sleep(60)::text AS a", "", quote_name)
    with pytest.raises(SourceError, match=r"the query took too long; add an index, or raise customers\.timeout"):
        fetch(replace(database.server(), timeout=0.3), [slow], [tmp_path / "0.csv"])


@pytest.mark.parametrize("error", [asyncpg.FeatureNotSupportedError, asyncpg.InsufficientPrivilegeError])
def test_without_copy_values_are_cast(
    database: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[asyncpg.PostgresError]
) -> None:
    async def refuse(*_: object, **__: object) -> str:
        raise error("COPY")

    monkeypatch.setattr(asyncpg.Connection, "copy_from_query", refuse)
    columns = r"n, true AS yes, NULL AS none, E'a\n\"b' AS text, '\x00'::bytea AS data"
    query = Query.parse("customers", f"SELECT {columns} FROM generate_series(1, 2500) AS n", "", quote_name)
    (found,) = fetch(database.server(), [query], [tmp_path / "0.csv"])
    lines = (tmp_path / "0.csv").read_bytes()
    assert lines.startswith(b'n,yes,none,text,data\r\n1,true,,"a\n""b",(1 bytes)\r\n2,true')
    assert (found.rows, found.size) == (2500, len(lines))


def test_a_server_that_falls_silent_is_left(
    database: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_session, "STALL", 0.3)
    rows = "CASE WHEN n = 90000 THEN pg_sleep(60)::text ELSE repeat('x', 20) END AS a"
    silent = f"SELECT {rows} FROM generate_series(1, 100000) AS n"
    with pytest.raises(SourceError, match="the server stopped sending data") as caught:
        fetch(database.server(), [Query.parse("customers", silent, "", quote_name)], [tmp_path / "0.csv"])
    assert caught.value.transient
