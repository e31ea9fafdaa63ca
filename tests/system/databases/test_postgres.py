"""Tables fetched from a real PostgreSQL."""

from __future__ import annotations

import hashlib
import html
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.ingest.sources.database import Server
from appliance.ingest.sources.postgres import fetch
from appliance.ingest.sources.remote import Fetched
from tests.system.databases.fetching import (
    fetched,
    kill_while,
    on_the_card,
    orders_of_ann,
    query,
    refusal,
    refused_for_its_certificate,
    table_of,
)
from tests.system.databases.postgres_server import Postgres, pgbouncer, postgres

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as running:
        running.sql(
            """CREATE TABLE customers (id int PRIMARY KEY, email text NOT NULL, plan text);
            INSERT INTO customers VALUES (1, 'ann@example.com', 'Pro'), (2, 'bob@example.com', NULL);
            CREATE TABLE secrets (id int);
            CREATE EXTENSION citext;
            CREATE TYPE mood AS ENUM ('sad', 'very happy');
            GRANT SELECT ON customers TO reader;"""
        )
        yield running


def test_rows_and_what_is_said_of_them(database: Postgres, tmp_path: Path) -> None:
    file = tmp_path / "0.csv"
    (found,) = fetch(database.server(), [query("SELECT * FROM customers ORDER BY id")], [file])
    written = file.read_bytes()
    assert written == b"id,email,plan\n1,ann@example.com,Pro\n2,bob@example.com,\n"
    assert found == Fetched(2, len(written), hashlib.sha256(written).hexdigest())
    assert file.stat().st_mode & 0o777 == 0o600


# What is asked for, and the text that the server writes.
VALUES = {
    "null": ("NULL::text", ""),
    "empty": ("''", ""),
    "true": ("true", "t"),
    "false": ("false", "f"),
    "true as a number": ("true::int", "1"),
    "padded": ("'ab'::char(4)", "ab  "),
    "numeric": ("'12345678901234567890.1234567890'::numeric", "12345678901234567890.1234567890"),
    "not a number": ("'NaN'::numeric", "NaN"),
    "double": ("0.1::float8 + 0.2::float8", "0.30000000000000004"),
    "real": ("0.1::real", "0.1"),
    "infinite": ("'-Infinity'::float8", "-Infinity"),
    "bigint": ("9223372036854775807", "9223372036854775807"),
    "date": ("'2024-02-29'::date", "2024-02-29"),
    "infinite date": ("'infinity'::date", "infinity"),
    "date before Christ": ("'0044-03-15 BC'::date", "0044-03-15 BC"),
    "date after 9999": ("'10000-01-01'::date", "10000-01-01"),
    "timestamp": ("'2024-01-01 09:00:03.5'::timestamp", "2024-01-01 09:00:03.5"),
    "timestamp with a zone": ("'2024-01-01 09:00:03+09'::timestamptz", "2024-01-01 00:00:03+00"),
    "interval": ("'1 year 2 days 03:04:05'::interval", "1 year 2 days 03:04:05"),
    "array": ("ARRAY['a,b', NULL, 'c']", '{"a,b",NULL,c}'),
    "json": ("""'{"a": [1, null]}'::jsonb""", '{"a": [1, null]}'),
    "uuid": ("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "enum": ("'very happy'::mood", "very happy"),
    "citext": ("'Ann@Example.com'::citext", "Ann@Example.com"),
    "binary": (r"'\x00ff'::bytea", "(2 bytes)"),
    "large binary": ("repeat('x', 1234567)::bytea", "(1,234,567 bytes)"),
    "binary null": ("NULL::bytea", ""),
    "lines and quotes": ("E'a\"b\\r\\nc,d'", 'a"b\r\nc,d'),
    "emoji": ("'Zoë 🐘'", "Zoë 🐘"),
    "end of a copy": (r"'\.'", r"\."),
    "semicolon": ("';'", ";"),
    "placeholder": ("'$1 {0} %s'", "$1 {0} %s"),
}


@pytest.mark.parametrize("value", VALUES)
def test_value(database: Postgres, tmp_path: Path, value: str) -> None:
    expression, text = VALUES[value]
    ((header, row),) = fetched(database.server(), tmp_path, f'SELECT {expression} AS "The Value", 7 AS last')
    assert (header, row) == (["The Value", "last"], [text, "7"])


# What the built-in card shows of them, where that is not the text itself.
ON_THE_CARD = {
    "null": None,
    "empty": None,
    "binary null": None,
    "padded": "ab",
    "date": "29 Feb 2024",
    "timestamp": "1 Jan 2024",
    "timestamp with a zone": "1 Jan 2024",
    "citext": '<a href="mailto:Ann@Example.com">Ann@Example.com</a>',
    "lines and quotes": "a&quot;b<br>c,d",
}


def test_values_on_the_card(database: Postgres, tmp_path: Path) -> None:
    columns = ", ".join(f'{expression} AS "{name}"' for name, (expression, _) in VALUES.items())
    statement = f"SELECT 'ann@example.com' AS email, {columns}"
    shown = on_the_card(table_of(database.server(), statement), tmp_path)
    assert shown == {
        name.lower(): text
        for name, (_, value) in VALUES.items()
        if (text := ON_THE_CARD.get(name, html.escape(value))) is not None
    }


def test_settings_of_the_role_change_nothing(database: Postgres, tmp_path: Path) -> None:
    database.sql(
        """CREATE ROLE odd LOGIN PASSWORD 'p@ss''word\\';
        ALTER ROLE odd SET datestyle = 'German'; ALTER ROLE odd SET timezone = 'Asia/Tokyo';
        ALTER ROLE odd SET intervalstyle = 'iso_8601'; ALTER ROLE odd SET extra_float_digits = '-15';
        ALTER ROLE odd SET bytea_output = 'escape';"""
    )
    statement = "SELECT '2024-01-01 00:00:03+00'::timestamptz AS a, '1 day'::interval AS b, 0.1::float8 AS c"
    ((_, row),) = fetched(database.server("odd"), tmp_path, statement)
    assert row == ["2024-01-01 00:00:03+00", "1 day", "0.1"]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 AS one -- the end",
        "SELECT 1 AS one;",
        "TABLE one",
        "VALUES (1)",
        "WITH a AS (SELECT 1 AS one) SELECT * FROM a",
        "/* a */ SELECT 1 AS one",
    ],
)
def test_forms_of_a_query(database: Postgres, tmp_path: Path, statement: str) -> None:
    database.sql("CREATE OR REPLACE VIEW one AS SELECT 1 AS one; GRANT SELECT ON one TO reader")
    ((_, row),) = fetched(database.server(), tmp_path, statement)
    assert row == ["1"]


def test_all_queries_see_one_moment(database: Postgres, tmp_path: Path) -> None:
    """The first query has another connection add a row, which the second does not see."""
    login = f"host={database.folder} port={database.port} user=writer dbname=shop password=w"
    database.sql(
        f"""CREATE TABLE moment (n int); INSERT INTO moment VALUES (1); GRANT SELECT ON moment TO reader;
        CREATE ROLE writer LOGIN PASSWORD 'w'; GRANT INSERT ON moment TO writer; CREATE EXTENSION dblink;
        CREATE FUNCTION add_one() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
            SELECT dblink_exec('{login}', 'INSERT INTO moment VALUES (2)') $$;"""
    )
    first, second = fetched(database.server(), tmp_path, "SELECT add_one() AS added", "SELECT n FROM moment")
    assert (first[1], second[1:]) == (["INSERT 0 1"], [["1"]])
    assert database.sql("SELECT count(*) FROM moment") == "2"


@pytest.mark.parametrize(
    ("statement", "said", "transient"),
    [
        ("TABLE nowhere", 'there is no such table (relation "nowhere" does not exist, at character 7 of', False),
        ("SELECT nothing FROM customers", "there is no such column (", False),
        ("SELECT FROM WHERE", "the query is not one statement of valid SQL (", False),
        ("SELECT 1 AS one; DELETE FROM customers", "the query is not one statement of valid SQL (", False),
        ("SELECT 1) TO STDOUT; DELETE FROM customers; --", "the query is not one statement of valid SQL (", False),
        ("SELECT * FROM secrets", "this user lacks a privilege (permission denied for table secrets); grant it", False),
        ("SELECT 1 / 0 AS one", "the query fails on a value in some row (22012); correct", True),
        ("SELECT 'hunter2'::text::int AS one", "the query fails on a value in some row (22P02); correct", True),
        ("SELECT 1", "column 1 of the query has no name; name it with AS", False),
    ],
    ids=["table", "column", "syntax", "two", "injected", "denied", "division", "no value told", "unnamed"],
)  # fmt: skip
def test_a_query_refused(database: Postgres, tmp_path: Path, statement: str, said: str, transient: bool) -> None:
    error = refusal(database.server(), tmp_path, statement)
    assert said in str(error)
    assert "hunter2" not in str(error)
    assert error.transient is transient
    assert database.sql("SELECT count(*) FROM customers") == "2"


def test_a_query_that_writes_is_refused(database: Postgres, tmp_path: Path) -> None:
    statement = "WITH gone AS (DELETE FROM customers RETURNING id) SELECT * FROM gone"
    error = refusal(database.server("postgres"), tmp_path, statement)
    assert "(customers): the query tries to write (" in str(error)
    assert database.sql("SELECT count(*) FROM customers") == "2"


def test_a_query_that_takes_too_long(database: Postgres, tmp_path: Path) -> None:
    error = refusal(database.server(timeout=0.2), tmp_path, "SELECT pg_sleep(60)::text AS a")
    assert "the query took too long" in str(error)
    assert error.transient


@pytest.mark.parametrize("at", [1, 50_000], ids=["before the first row", "between rows"])
def test_a_connection_that_the_server_ends(database: Postgres, tmp_path: Path, at: int) -> None:
    end = f"CASE WHEN n = {at} THEN pg_terminate_backend(pg_backend_pid())::text ELSE repeat('x', 100) END"
    error = refusal(database.server(), tmp_path, f"SELECT {end} AS a FROM generate_series(1, 100000) AS n")
    assert "(customers): the connection was lost (08003); it will be tried again" in str(error)
    assert error.transient


@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_wrong_password_is_not_tried_again(database: Postgres, tmp_path: Path, password: str) -> None:
    error = refusal(database.server(password=lambda: password), tmp_path)
    assert str(error).startswith(f"postgresql://reader@127.0.0.1:{database.port}/shop: the server rejected the login")
    assert "wrong" not in str(error)
    assert not error.transient


def test_an_unknown_user_and_an_unknown_database(database: Postgres, tmp_path: Path) -> None:
    assert "the server rejected the login" in str(refusal(database.server("nobody"), tmp_path))
    assert "the server has no such database" in str(refusal(database.server(database="nothing"), tmp_path))


def test_nobody_listens(database: Postgres, tmp_path: Path) -> None:
    error = refusal(database.server(address="postgresql://reader@127.0.0.1:1/shop"), tmp_path)
    assert "127.0.0.1:1/shop: cannot be reached" in str(error)
    assert error.transient


def test_by_the_unix_socket(database: Postgres, tmp_path: Path) -> None:
    address = f"postgresql://reader@/shop?host={database.folder}:{database.port}"
    assert fetched(database.server(address=address), tmp_path, "SELECT 1 AS one") == [[["one"], ["1"]]]


def encrypted(server: Server, folder: Path) -> str:
    statement = "SELECT ssl::text AS ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    return fetched(server, folder, statement)[0][1][0]


def test_through_pgbouncer_in_transaction_mode(database: Postgres, tmp_path: Path) -> None:
    statement = "SELECT '1 day'::interval AS a, current_setting('transaction_read_only') AS b, 'x'::bytea AS c"
    with pgbouncer(database) as port:
        server = database.server(address=f"postgresql://reader@127.0.0.1:{port}/shop")
        for _ in range(3):  # each on the same connection to the server
            (first, second) = fetched(server, tmp_path, statement, "SELECT 2 AS two")
            assert (first[1], second[1]) == (["1 day", "on", "(1 bytes)"], ["2"])


def test_tls(database: Postgres, tmp_path: Path) -> None:
    assert encrypted(database.server(tls="verify", ca=database.ca), tmp_path) == "true"
    assert encrypted(database.server(tls="encrypt"), tmp_path) == "true"
    assert encrypted(database.server(tls="off"), tmp_path) == "false"


def test_a_certificate_of_another_authority(database: Postgres, tmp_path: Path) -> None:
    refused_for_its_certificate(database.server(tls="verify"), tmp_path, "")


def test_a_certificate_of_another_name(database: Postgres, tmp_path: Path) -> None:
    address = f"postgresql://reader@127.0.0.2:{database.port}/shop"
    refused_for_its_certificate(
        database.server(address=address, tls="verify", ca=database.ca), tmp_path, "IP address mismatch"
    )


def test_text_that_is_not_utf_8(database: Postgres, tmp_path: Path) -> None:
    database.sql("CREATE DATABASE old ENCODING 'SQL_ASCII' TEMPLATE template0", "postgres")
    database.sql("CREATE TABLE t (name text); INSERT INTO t VALUES (E'Zo\\xeb'); GRANT SELECT ON t TO reader", "old")
    error = refusal(database.server(database="old"), tmp_path, "SELECT name FROM t")
    assert 'some text is not UTF-8 (22021); set its encoding, such as customers.encoding = "cp1252"' in str(error)
    assert not error.transient
    file = tmp_path / "raw.csv"
    fetch(database.server(database="old", encoding="cp1252"), [query("SELECT name FROM t")], [file])
    assert file.read_bytes() == b"name\nZo\xeb\n"


def test_imported_with_the_orders_of_the_same_moment(database: Postgres, tmp_path: Path) -> None:
    assert orders_of_ann(database.server(), tmp_path) == ("Pro", ["30", "9.50"])


def test_the_server_ends_a_query_whose_reader_was_killed(database: Postgres, tmp_path: Path) -> None:
    def running() -> bool:
        statement = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%pg_sleep(60)%' AND state = 'active'"
        return database.sql(statement) == "1"

    kill_while(database.server(timeout=60.0), tmp_path, "SELECT pg_sleep(60)::text AS a", running)
