"""Tables fetched from a real MariaDB."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import html
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymysql.protocol import FieldDescriptorPacket

from appliance.cards.markup import MAX_TEXT
from appliance.ingest.sources import mysql, mysql_session
from appliance.ingest.sources.base import SourceError
from appliance.ingest.sources.database import Server
from appliance.ingest.sources.mysql import fetch, inspect
from appliance.ingest.sources.remote import Fetched
from tests.daemon import until
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
from tests.system.databases.mariadb_server import MariaDB

pytestmark = pytest.mark.system
CUSTOMERS = """CREATE TABLE customers (id int PRIMARY KEY, email varchar(99) NOT NULL, plan varchar(9));
INSERT INTO customers VALUES (1, 'ann@example.com', 'Pro'), (2, 'bob@example.com', NULL);"""


def test_rows_and_what_is_said_of_them(maria: MariaDB, tmp_path: Path) -> None:
    maria.sql(CUSTOMERS)
    file = tmp_path / "0.csv"
    (found,) = fetch(maria.server(), [query("SELECT * FROM customers ORDER BY id")], [file])
    written = file.read_bytes()
    assert written == b"id,email,plan\r\n1,ann@example.com,Pro\r\n2,bob@example.com,\r\n"
    assert found == Fetched(2, len(written), hashlib.sha256(written).hexdigest())
    assert file.stat().st_mode & 0o777 == 0o600


# The type of a column, the value that is stored, and the text that is shown.
COLUMNS = {
    "bit": ("bit(1)", "1", "1"),
    "bits": ("bit(9)", "b'100000001'", "257"),
    "boolean": ("boolean", "true", "1"),
    "tinyint": ("tinyint(1)", "4", "4"),
    "unsigned": ("bigint unsigned", "18446744073709551615", "18446744073709551615"),
    "zerofill": ("int(5) zerofill", "42", "00042"),
    "decimal": ("decimal(30,10)", "12345678901234567890.1234567890", "12345678901234567890.1234567890"),
    "float": ("float", "0.1", "0.1"),
    "double": ("double", "0.1e0 + 0.2e0", "0.30000000000000004"),
    "date": ("date", "'2024-02-29'", "2024-02-29"),
    "zero date": ("date", "'0000-00-00'", "0000-00-00"),
    "month 0": ("date", "'2025-00-15'", "2025-00-15"),
    "zero time": ("datetime", "0", "0000-00-00 00:00:00"),
    "fraction": ("datetime(3)", "'2024-01-01 09:00:03.5'", "2024-01-01 09:00:03.500"),
    "timestamp": ("timestamp NULL", "'2024-01-01 09:00:03'", "2024-01-01 00:00:03"),  # written in another time zone
    "long time": ("time", "'-838:59:59'", "-838:59:59"),
    "year": ("year", "0", "0000"),
    "null": ("int", "NULL", ""),
    "empty": ("varchar(9)", "''", ""),
    "char": ("char(5)", "'ab'", "ab"),
    "spaces": ("varchar(9)", "'ab  '", "ab  "),
    "emoji": ("varchar(9)", "'Zoë 🐬'", "Zoë 🐬"),
    "latin1": ("varchar(9) CHARACTER SET latin1", "'Zoë €'", "Zoë €"),
    "utf8mb3": ("varchar(9) CHARACTER SET utf8mb3", "'Zoë €'", "Zoë €"),
    "utf16": ("varchar(9) CHARACTER SET utf16", "'Zoë 🐬'", "Zoë 🐬"),
    "sjis": ("varchar(9) CHARACTER SET sjis", "'日本'", "日本"),
    "enum": ("enum('sad','very happy')", "'very happy'", "very happy"),
    "set": ("set('a','b','c')", "'a,c'", "a,c"),
    "json": ("json", """'{"a": [1, null]}'""", '{"a": [1, null]}'),
    "uuid": ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "inet6": ("inet6", "'2001:db8::1'", "2001:db8::1"),
    "text": ("text", "'long'", "long"),
    "longtext": ("longtext", "repeat('é', 70000)", "é" * 70_000),
    "blob": ("blob", "X'00ff'", "(2 bytes)"),
    "text in a blob": ("blob", "'text'", "(4 bytes)"),
    "longblob": ("longblob", "repeat('x', 1234567)", "(1,234,567 bytes)"),
    "binary": ("binary(4)", "X'00'", "(4 bytes)"),
    "varbinary": ("varbinary(4)", "X''", "(0 bytes)"),
    "point": ("point", "POINT(1, 2)", "(25 bytes)"),
    "lines and quotes": ("varchar(20)", r"""'a"b\r\nc,d'""", 'a"b\r\nc,d'),
    "carriage return": ("varchar(20)", r"'a\rb'", "a\rb"),
    "backslash": ("varchar(20)", r"'a\\nb'", r"a\nb"),
    "placeholder": ("varchar(20)", "'$1 {0} %s %(a)s'", "$1 {0} %s %(a)s"),
}


@pytest.fixture(scope="module")
def stored(mariadb_server: MariaDB) -> MariaDB:
    """Return the server, with a table for each of COLUMNS."""
    tables = [
        f"CREATE TABLE t{number} (v {kind}, last int); INSERT INTO t{number} VALUES ({value}, 7);"
        for number, (kind, value, _) in enumerate(COLUMNS.values())
    ]
    begin = """CREATE OR REPLACE DATABASE stored CHARACTER SET utf8mb4; USE stored; GRANT SELECT ON * TO reader@'%';
    SET sql_mode = ''; SET time_zone = '+09:00';"""
    mariadb_server.sql(begin + "".join(tables), "")
    return mariadb_server


@pytest.mark.parametrize("name", COLUMNS)
def test_column(stored: MariaDB, tmp_path: Path, name: str) -> None:
    number = [*COLUMNS].index(name)
    ((header, row),) = fetched(
        stored.server(database="stored"), tmp_path, f"SELECT v AS `The Value`, last FROM t{number}"
    )
    assert (header, row) == (["The Value", "last"], [COLUMNS[name][2], "7"])


UNKNOWN_TYPES = {
    "MySQL 9's vector": (242, "the type VECTOR; write VECTOR_TO_STRING(`the vector`) AS `the vector` in the query"),
    "one of the future": (
        230,
        "a type that is not known here (number 230); write CAST(`the vector` AS CHAR) AS `the vector` in the query",
    ),
}


@pytest.mark.parametrize(("code", "said"), UNKNOWN_TYPES.values(), ids=UNKNOWN_TYPES)
def test_a_column_of_an_unknown_type(
    maria: MariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    """MariaDB has no such type: the one that it names is replaced, its bytes are real."""
    parse = FieldDescriptorPacket._parse_field_descriptor

    def parse_and_replace(packet: Any, encoding: str) -> None:
        parse(packet, encoding)
        if packet.name == "the vector":
            packet.type_code = code

    monkeypatch.setattr(FieldDescriptorPacket, "_parse_field_descriptor", parse_and_replace)
    statement = "SELECT 1 AS id, X'0000803f00ff' AS `the vector`"
    error = refusal(maria.server(), tmp_path, statement)
    assert str(error) == f"customers: the column `the vector` of the query has {said}, or leave it out"
    assert not error.transient
    found = inspect(maria.server(), [query(statement)], [tmp_path / "0.csv"], 100)
    assert [each.sentence for each in found.remarks if each.level == "fault"] == [str(error)]


# What the built-in card shows of them, where that is not the text itself.
ON_THE_CARD = {
    "date": "29 Feb 2024",
    "fraction": "1 Jan 2024",
    "timestamp": "1 Jan 2024",
    "null": None,
    "empty": None,
    "spaces": "ab",
    "longtext": "é" * MAX_TEXT + "…",
    "lines and quotes": "a&quot;b<br>c,d",
    "carriage return": "a<br>b",
}


def test_columns_on_the_card(stored: MariaDB, tmp_path: Path) -> None:
    tables = {name: f"t{number}" for number, name in enumerate(COLUMNS)}
    columns = ", ".join(f"{table}.v AS `{name}`" for name, table in tables.items())
    statement = f"SELECT 'ann@example.com' AS email, {columns} FROM {', '.join(tables.values())}"
    assert on_the_card(table_of(stored.server(database="stored"), statement), tmp_path) == {
        name.lower(): text
        for name, (_, _, value) in COLUMNS.items()
        if (text := ON_THE_CARD.get(name, html.escape(value))) is not None
    }


def test_the_names_that_expressions_have(maria: MariaDB, tmp_path: Path) -> None:
    statement = "SELECT 1 + 1, 'a;b' AS `se;mi -- \"colon`, max(seq) AS ```tick` FROM seq_1_to_3"
    assert fetched(maria.server(), tmp_path, statement) == [[["1 + 1", 'se;mi -- "colon', "`tick"], ["2", "a;b", "3"]]]


def test_settings_of_the_server_change_nothing(maria: MariaDB, tmp_path: Path) -> None:
    maria.sql(
        "CREATE TABLE t (c char(4), at timestamp); SET time_zone = '+00:00'; INSERT INTO t VALUES ('ab', '2024-01-01')"
    )
    settings = {
        "time_zone": "'+09:00'",
        "sql_mode": "'PAD_CHAR_TO_FULL_LENGTH,ANSI'",
        "sql_select_limit": "1",
        "group_concat_max_len": "10",
        "tx_isolation": "'READ-COMMITTED'",
        "init_connect": "'SET time_zone = \"+05:00\"'",
        "character_set_server": "latin1",
    }
    maria.sql("".join(f"SET GLOBAL {name} = {value};" for name, value in settings.items()))
    try:
        statement = """SELECT c, at, (SELECT group_concat(seq) FROM seq_1_to_99) AS many, @@tx_isolation AS moment
            FROM t UNION ALL SELECT 'é', '', '', ''"""
        ((_, row, last),) = fetched(maria.server(), tmp_path, statement)
    finally:
        maria.sql("".join(f"SET GLOBAL {name} = DEFAULT;" for name in settings))
    many = ",".join(map(str, range(1, 100)))
    assert (row, last[0]) == (["ab", "2024-01-01 00:00:00", many, "REPEATABLE-READ"], "é")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 AS one -- the end",
        "SELECT 1 AS one # the end",
        "SELECT 1 AS one;",
        "SELECT * FROM one",
        "VALUES (1)",
        "WITH a AS (SELECT 1 AS one) SELECT * FROM a",
        "/* a */ SELECT 1 AS one",
        "(SELECT 1 AS one) UNION (SELECT 1)",
    ],
)
def test_forms_of_a_query(maria: MariaDB, tmp_path: Path, statement: str) -> None:
    maria.sql("CREATE VIEW one AS SELECT 1 AS one")
    ((_, row),) = fetched(maria.server(), tmp_path, statement)
    assert row == ["1"]


def test_no_rows(maria: MariaDB, tmp_path: Path) -> None:
    assert fetched(maria.server(), tmp_path, "SELECT 1 AS one FROM seq_1_to_2 WHERE seq = 3") == [[["one"]]]


@contextlib.contextmanager
def meanwhile(maria: MariaDB, state: str, statements: str) -> Iterator[None]:
    """Run statements as root once a statement of the reader is in a state."""
    wait = f"""DELIMITER //
    BEGIN NOT ATOMIC
        WHILE NOT EXISTS (SELECT 1 FROM information_schema.processlist WHERE user = 'reader' AND state = '{state}') DO
            DO SLEEP(0.01);
        END WHILE;
        {statements}
    END//"""
    with subprocess.Popen(maria.client(), stdin=subprocess.PIPE) as client:
        assert client.stdin is not None
        client.stdin.write(wait.encode())
        client.stdin.close()
        yield
    assert client.returncode == 0


KILL = "KILL USER reader;"


def test_all_queries_see_one_moment(maria: MariaDB, tmp_path: Path) -> None:
    """While the first query sleeps, another connection adds a row, which the second does not see."""
    maria.sql("CREATE TABLE moment (n int); INSERT INTO moment VALUES (1)")
    with meanwhile(maria, "User sleep", "INSERT INTO moment VALUES (2);"):
        _, second = fetched(maria.server(), tmp_path, "SELECT SLEEP(1) AS a FROM moment", "SELECT n FROM moment")
    assert second[1:] == [["1"]]
    assert maria.sql("SELECT count(*) FROM moment") == "2"


GRANTED = "GRANT SELECT (id) ON other.secrets TO reader@'%'"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT * FROM nowhere", "there is no such table (Table 'shop.nowhere' doesn't exist); correct"),
        ("SELECT nothing FROM customers", "there is no such column (Unknown column 'nothing' in 'SELECT'); correct"),
        ("SELECT FROM WHERE", "the query is not one SELECT of valid SQL (near 'FROM WHERE' at line 1); correct"),
        ("SELECT id\nFROM customers WHERE", "the query is not one SELECT of valid SQL (near '' at line 3); correct"),
        ("SELECT 1 AS one; DELETE FROM customers", "the query is not one SELECT of valid SQL (near '; DELETE FROM"),
        ("SELECT 1) AS a; DELETE FROM customers; --", "the query is not one SELECT of valid SQL (near 'DELETE FROM"),
        ("SELECT hidden FROM other.secrets", "this user lacks a privilege (SELECT command denied to user 'reader'@"),
        ("SELECT * FROM mysql.user", "this user lacks a privilege (SELECT command denied to user 'reader'@"),
        ("SELECT 1 AS a, 2 AS a", "two columns have the same name (Duplicate column name 'a'); name them with AS"),
        ("SELECT f(1) AS a", "this user may not call that function (execute command denied to user 'reader'@"),
        ("SELECT id + 18446744073709551615 AS a FROM customers", "the query fails on a value in some row (error"),
        ("SELECT 'a' COLLATE utf8mb4_bin = 'b' COLLATE utf8mb4_general_ci AS a", "text of different collations"),
    ],
    ids=["table", "column", "syntax", "end", "two", "injected", "column denied", "denied", "twice", "function", "range",
         "collations"],
)  # fmt: skip
def test_a_query_refused(maria: MariaDB, tmp_path: Path, statement: str, said: str) -> None:
    maria.sql(
        f"{CUSTOMERS} CREATE OR REPLACE DATABASE other; CREATE TABLE other.secrets (id int, hidden int); {GRANTED}"
    )
    error = refusal(maria.server(), tmp_path, statement)
    assert str(error).startswith(f"mysql://reader@127.0.0.1:{maria.port}/shop (customers): ")
    assert said in str(error)
    assert error.transient is ("some row" in said)
    assert maria.sql("SELECT count(*) FROM customers") == "2"


WRITING = {
    "delete": "DELETE FROM customers RETURNING id",
    "drop": "DROP TABLE customers",
    "compound": "BEGIN NOT ATOMIC COMMIT; DELETE FROM customers; SELECT 1 AS one; END",
    "out file": "SELECT id FROM customers INTO OUTFILE '{file}'",
    "dump file": "SELECT id FROM customers LIMIT 1 INTO DUMPFILE '{file}'",
    "out file in front": "SELECT id INTO OUTFILE '{file}' FROM customers",
    "out file in a comment for the server": "SELECT id /*!50000 INTO OUTFILE '{file}' */ FROM customers",
    "behind the parenthesis": "SELECT id FROM customers) AS a INTO OUTFILE '{file}' -- ",
    "behind the parenthesis, and a comment without an end": "SELECT id FROM customers) AS a INTO OUTFILE '{file}' /*",
    "function": "SELECT clear() AS a",
    "procedure": "CALL empty()",
    "commit": "COMMIT",
    "variable": "SELECT id INTO @a FROM customers LIMIT 1",
    "set": "SET GLOBAL max_connections = 1",
}


ROUTINES = """
DELIMITER //
CREATE FUNCTION clear() RETURNS int BEGIN DELETE FROM customers; RETURN 1; END//
CREATE PROCEDURE empty() BEGIN COMMIT; DELETE FROM customers; END//"""


@pytest.mark.parametrize("name", WRITING)
def test_a_query_that_writes_is_refused(maria: MariaDB, tmp_path: Path, name: str) -> None:
    """Also if the user may do everything."""
    file = maria.folder / "data" / "written"
    maria.sql(f"{CUSTOMERS} {ROUTINES}")
    server = maria.server(address=f"mysql://writer@/shop?host={maria.socket}", password=lambda: "w")
    error = refusal(server, tmp_path, WRITING[name].format(file=file))
    assert "the query tries to write (" in str(error) or "the query is not one SELECT of valid SQL (" in str(error)
    assert maria.sql("SELECT count(*) FROM customers") == "2"
    assert not file.exists()


def test_a_query_that_takes_too_long(maria: MariaDB, tmp_path: Path) -> None:
    error = refusal(maria.server(timeout=0.3), tmp_path, "SELECT SLEEP(60) AS a FROM seq_1_to_2")
    assert "(customers): the query took too long (error 1969); add an index" in str(error)
    assert error.transient


def test_all_queries_together_that_take_too_long(maria: MariaDB, tmp_path: Path) -> None:
    slow = "SELECT SLEEP(0.4) AS a FROM seq_1_to_1"
    with pytest.raises(SourceError, match="the query took too long"):
        fetched(maria.server(timeout=0.6), tmp_path, slow, slow)


def test_a_server_that_does_not_end_its_query(maria: MariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql_session.Session, "_limit", lambda _: None)
    monkeypatch.setattr(mysql_session, "_GRACE", 0.1)
    error = refusal(maria.server(timeout=0.2), tmp_path, "SELECT SLEEP(60) AS a FROM seq_1_to_2")
    assert "the query took too long; add an index" in str(error)
    until(lambda: maria.connections() == 0, "the end of the query")


@pytest.mark.parametrize("at", [1, 50_000], ids=["before the first row", "between rows"])
def test_a_connection_that_the_server_ends(maria: MariaDB, tmp_path: Path, at: int) -> None:
    statement = f"SELECT IF(seq = {at}, SLEEP(60), repeat('x', 100)) AS a FROM seq_1_to_100000"
    with meanwhile(maria, "User sleep", KILL):
        error = refusal(maria.server(timeout=20.0), tmp_path, statement)
    assert "(customers): the connection was lost (" in str(error)
    assert error.transient


@pytest.mark.parametrize("password", ["wrong", "", "p@ss'wörd"])
def test_a_wrong_password_is_not_tried_again(maria: MariaDB, tmp_path: Path, password: str) -> None:
    error = refusal(maria.server(password=lambda: password), tmp_path)
    assert f"mysql://reader@127.0.0.1:{maria.port}/shop: the server rejected the login (Access denied" in str(error)
    assert not password or password not in str(error)
    assert error.login_refused
    assert not error.transient


def test_an_account_that_is_locked_or_whose_password_has_expired(maria: MariaDB, tmp_path: Path) -> None:
    maria.sql("CREATE OR REPLACE USER gone@'%' IDENTIFIED BY 'x' ACCOUNT LOCK")
    assert refusal(maria.server("gone", password=lambda: "x"), tmp_path).login_refused
    maria.sql("CREATE OR REPLACE USER gone@'%' IDENTIFIED BY 'x' PASSWORD EXPIRE")
    maria.sql("SET GLOBAL disconnect_on_expired_password = 1")
    assert refusal(maria.server("gone", password=lambda: "x"), tmp_path).login_refused


def test_an_unknown_user_and_an_unknown_database(maria: MariaDB, tmp_path: Path) -> None:
    assert refusal(maria.server("nobody"), tmp_path).login_refused
    error = refusal(maria.server(database="nothing"), tmp_path)
    assert "this user has no access to that database (Access denied for user 'reader'@" in str(error)
    writer = f"mysql://writer@/nothing?host={maria.socket}"
    error = refusal(maria.server(address=writer, password=lambda: "w"), tmp_path)
    assert "the server has no such database (Unknown database 'nothing')" in str(error)
    assert (error.transient, error.login_refused) == (False, False)


def test_a_server_whose_connections_are_taken(maria: MariaDB, tmp_path: Path) -> None:
    maria.sql("CREATE OR REPLACE USER busy@'%' IDENTIFIED BY 'x' WITH MAX_QUERIES_PER_HOUR 1")
    error = refusal(maria.server("busy", database="information_schema", password=lambda: "x"), tmp_path)
    assert "the server has too many connections (User 'busy' has exceeded" in str(error)
    assert error.transient


def test_nobody_listens(maria: MariaDB, tmp_path: Path) -> None:
    error = refusal(maria.server(address="mysql://reader@127.0.0.1:1/shop"), tmp_path)
    assert "127.0.0.1:1/shop: cannot be reached (Connection refused); check the address" in str(error)
    assert error.transient
    error = refusal(maria.server(address="mysql://reader@nowhere.invalid/shop"), tmp_path)
    assert "nowhere.invalid:3306/shop: cannot be reached (" in str(error)


def test_by_the_unix_socket(maria: MariaDB, tmp_path: Path) -> None:
    address = f"mariadb://reader@/shop?host={maria.socket}"
    table = mysql.parse(address, "customers", query="SELECT 1 AS one", table="", tls="verify", ca=None, timeout=9,
                        changed="", password=maria.server().password)  # fmt: skip
    assert str(table) == f"{address} (customers)"
    assert fetched(table.server, tmp_path, "SELECT 1 AS one") == [[["one"], ["1"]]]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the driver leaves a socket open
def test_a_unix_socket_that_is_not_there(maria: MariaDB, tmp_path: Path) -> None:
    error = refusal(maria.server(address=f"mysql://reader@/shop?host={tmp_path}/socket"), tmp_path)
    assert "cannot be reached (No such file or directory)" in str(error)
    del error
    gc.collect()  # now, and not in another test


def cipher(server: Server, folder: Path) -> str:
    statement = "SELECT variable_value FROM information_schema.session_status WHERE variable_name = 'Ssl_cipher'"
    return fetched(server, folder, statement)[0][1][0]


def test_tls(maria: MariaDB, tmp_path: Path) -> None:
    assert cipher(maria.server(tls="verify", ca=maria.ca), tmp_path).startswith("TLS_")
    assert cipher(maria.server(tls="encrypt"), tmp_path).startswith("TLS_")
    assert cipher(maria.server(tls="off"), tmp_path) == ""


def test_a_certificate_of_another_authority(maria: MariaDB, tmp_path: Path) -> None:
    refused_for_its_certificate(maria.server(tls="verify"), tmp_path, "")


def test_a_certificate_of_another_name(maria: MariaDB, tmp_path: Path) -> None:
    address = f"mysql://reader@localhost:{maria.port}/shop"
    refused_for_its_certificate(maria.server(address=address, tls="verify", ca=maria.ca), tmp_path, "Hostname mismatch")


def test_a_user_that_must_use_tls(maria: MariaDB, tmp_path: Path) -> None:
    maria.sql("CREATE OR REPLACE USER careful@'%' IDENTIFIED BY 'x' REQUIRE SSL; GRANT SELECT ON shop.* TO careful@'%'")
    given: dict[str, Any] = {"user": "careful", "password": lambda: "x"}
    assert refusal(maria.server(**given, tls="off"), tmp_path).login_refused
    assert cipher(maria.server(**given, tls="verify", ca=maria.ca), tmp_path)


def test_a_way_to_log_in_that_is_not_supported(maria: MariaDB, tmp_path: Path) -> None:
    maria.sql("INSTALL SONAME 'auth_ed25519'")
    try:
        maria.sql("CREATE OR REPLACE USER curve@'%' IDENTIFIED VIA ed25519 USING PASSWORD('x')")
        error = refusal(maria.server("curve", password=lambda: "x"), tmp_path)
        maria.sql("DROP USER curve@'%'")
    finally:
        maria.sql("UNINSTALL SONAME 'auth_ed25519'")
    assert "the server requires an unsupported authentication method; create the user with" in str(error)
    assert not error.transient


def test_a_nul_byte_is_refused_with_its_row(maria: MariaDB, tmp_path: Path) -> None:
    statement = (
        "SELECT seq, IF(seq = 2345, CONCAT('hunter2', CHAR(0 USING utf8mb4)), 'good') AS name FROM seq_1_to_9000"
    )
    error = refusal(maria.server(), tmp_path, statement)
    assert str(error) == (
        "customers: row 2345 of the query has a NUL byte in 'name'; leave it out, as with REPLACE(column, CHAR(0), '')"
    )


def test_imported_with_the_orders_of_the_same_moment(maria: MariaDB, tmp_path: Path) -> None:
    maria.sql(CUSTOMERS)
    assert orders_of_ann(maria.server(), tmp_path) == ("Pro", ["30.00", "9.50"])


def test_the_server_ends_a_query_whose_reader_was_killed(maria: MariaDB, tmp_path: Path) -> None:
    sleeping = "SELECT SLEEP(60) AS a FROM seq_1_to_2"
    kill_while(maria.server(timeout=60.0), tmp_path, sleeping, lambda: maria.connections() == 1)


# A greeting of MySQL's protocol 10: version, connection 1, salt, capabilities without TLS, and how to log in.
GREETING = (
    b"\x0a8.0.40\x00\x01\x00\x00\x00" + b"saltsalt\x00" + b"\x01\x82\x21\x02\x00\x28\x00\x15" + bytes(10)
    + b"saltsaltsalt\x00mysql_native_password\x00"
)  # fmt: skip


@contextlib.contextmanager
def answering(*packets: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Serve one connection: send each packet, and read once behind it; return the address, and what was read later."""
    received: list[bytes] = []
    read_end, write_end = os.pipe()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = os.fork()
        if child == 0:
            try:
                client, _ = listener.accept()
                for number, packet in enumerate(packets):
                    head = len(packet).to_bytes(3, "little") + bytes([2 * number])
                    client.sendall(head + packet if packet[:4] != b"HTTP" else packet)
                    os.write(write_end, client.recv(65536))
                client.recv(65536)
            finally:
                os._exit(0)
        os.close(write_end)
        try:
            yield f"mysql://reader@127.0.0.1:{listener.getsockname()[1]}/shop", received
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            received.append(os.read(read_end, 1 << 16))
            os.close(read_end)


@pytest.mark.parametrize(
    ("packets", "tls", "said"),
    [
        ([GREETING], "encrypt", "the server does not offer TLS (error 2026); enable it there, or set customers.tls"),
        ([GREETING, b"\xfemysql_clear_password\x00"], "off", "an unsupported authentication method; create"),
        ([GREETING, b"\xfedialog\x00\x02Password: "], "off", "an unsupported authentication method; create"),
        ([GREETING, b"\xfesomething_new\x00"], "off", "requires an unsupported authentication method (error 2059)"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "off", "the connection was lost|does not speak the MySQL protocol"),
        ([b""], "off", "the server does not speak the MySQL protocol; check host and port"),
        ([b"\x0a"], "off", "the server does not speak the MySQL protocol; check host and port"),
        ([b"\xff\x10\x04Too many connections"], "off", "the server has too many connections (error 1040); raise"),
        ([b"\xff\x6a\x04Host '192.0.2.1' is not allowed"], "off", "from this host (Host '192.0.2.1' is not"),
        ([GREETING, b"\x00\x00\x00\x02\x00\x00\x00", b"\xfb/etc/passwd"], "off", "does not speak the MySQL protocol"),
        ([], "off", "the server did not answer in time; check the network and the server"),
    ],
    ids=["no TLS", "password in clear", "dialog", "new login", "HTTP", "empty", "cut", "crowded", "address", "file",
         "silent"],
)  # fmt: skip
def test_what_else_may_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packets: list[bytes], tls: str, said: str
) -> None:
    if not packets:
        monkeypatch.setattr(mysql_session, "CONNECT_TIMEOUT", 0.5)
    with answering(*packets) as (address, received):
        error = refusal(MariaDB(tmp_path, 0).server(address=address, tls=tls, password=lambda: "hunter2"), tmp_path)
    assert any(each in str(error) for each in said.split("|")), str(error)
    assert str(error).startswith(address)
    assert b"hunter2" not in received[0]
    assert b"root:" not in received[0]
