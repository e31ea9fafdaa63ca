"""The address of a database, and what is asked of it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.ingest.sources import mysql
from appliance.ingest.sources.base import SourceError, SourceSettingError
from appliance.ingest.sources.database import Query, Server, parse_server
from appliance.ingest.sources.database_faults import Fault, fault_of
from appliance.ingest.sources.postgres import TARGETS
from appliance.ingest.sources.postgres_session import quote_name


def parse(address: str, **changes: object) -> Server:
    given: dict[str, object] = {"tls": "", "ca": None, "timeout": 60.0, "encoding": "", "password": None}
    given["targets"] = TARGETS
    return parse_server(address, default_port=5432, **{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("address", "host", "port", "user", "database", "tls"),
    [
        ("postgresql://reader@db.example.com/shop", "db.example.com", 5432, "reader", "shop", "verify"),
        ("postgresql://reader@db.example.com:6543/shop", "db.example.com", 6543, "reader", "shop", "verify"),
        ("postgresql://reader@localhost/shop", "localhost", 5432, "reader", "shop", "off"),
        ("postgresql://reader@127.0.0.1/shop", "127.0.0.1", 5432, "reader", "shop", "off"),
        ("postgresql://reader@[::1]:5433/shop", "::1", 5433, "reader", "shop", "off"),
        ("postgresql://reader@[2001:db8::1]/shop", "2001:db8::1", 5432, "reader", "shop", "verify"),
        ("postgresql://reader@one,two:6543/shop", "one,two", 6543, "reader", "shop", "verify"),
        ("postgresql://reader@a,b/shop?target_session_attrs=standby", "a,b", 5432, "reader", "shop", "verify"),
        ("postgresql://a%40b@db/my%2Fshop", "db", 5432, "a@b", "my/shop", "verify"),
        ("postgresql://reader@/shop?host=/run/postgresql", "/run/postgresql", 5432, "reader", "shop", "off"),
        ("postgresql://reader@/shop?host=/run/postgresql:5433", "/run/postgresql", 5433, "reader", "shop", "off"),
    ],
    ids=[
        "name",
        "port",
        "localhost",
        "loopback",
        "loopback 6",
        "address 6",
        "hosts",
        "standby",
        "escaped",
        "socket",
        "socket and port",
    ],
)
def test_address(address: str, host: str, port: int, user: str, database: str, tls: str) -> None:
    server = parse(address)
    assert (server.host, server.port, server.user, server.database, server.tls) == (host, port, user, database, tls)
    assert parse(str(server)) == server


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("postgresql://reader:hunter2@db/shop", "source must not hold a password; remove it, and set password ="),
        ("postgresql://reader:@db/shop", "source must not hold a password"),
        ("postgresql://db/shop", "source names no user"),
        ("postgresql://reader@/shop", "source names no host"),
        ("postgresql://reader@db", "source names no database"),
        ("postgresql://reader@db/", "source names no database"),
        ("postgresql://reader@db:port/shop", "source is not the address of a database"),
        ("postgresql://reader@db:99999/shop", "source is not the address of a database"),
        ("postgresql://reader@[db/shop", "source is not the address of a database"),
        ("postgresql://reader@db/shop?sslmode=require", "source has more than user, host and database"),
        ("postgresql://reader@db/shop?password=hunter2", "source has more than user, host and database"),
        (
            "postgresql://reader@db/shop?target_session_attrs=best",
            "source has an unknown target_session_attrs; write one",
        ),
        ("postgresql://reader@db/shop?x", "source is not the address of a database"),
        ("postgresql://reader@db/shop#hunter2", "source has more than user, host and database"),
        ("postgresql://reader@db/shop?host=/run", "source does not name a Unix socket"),
        ("postgresql://reader@/shop?host=run", "source does not name a Unix socket"),
        ("postgresql://reader@/shop?host=/run:x", "source does not name a Unix socket"),
    ],
)
def test_address_refused(address: str, reason: str) -> None:
    with pytest.raises(SourceSettingError) as caught:
        parse(address)
    assert str(caught.value).startswith(reason)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("mysql://reader@a,b/shop", "source names several hosts; write"),
        ("mysql://reader@db/shop?target_session_attrs=standby", "source has more than user, host and database"),
        ("mariadb://reader:hunter2@db/shop", "source must not hold a password"),
        ("mysql://reader@/shop?host=mysqld.sock", 'source does not name a Unix socket; write "mysql://USER@/DATABASE'),
    ],
)
def test_address_of_mysql_refused(address: str, reason: str) -> None:
    with pytest.raises(SourceSettingError) as caught:
        mysql.parse(address, "customers", query="SELECT 1", table="", tls="", ca=None, timeout=60.0, password=None,
                    changed="")  # fmt: skip
    assert str(caught.value).startswith(reason)
    assert "hunter2" not in str(caught.value)


def test_a_password_is_read_when_needed_and_never_shown() -> None:
    passwords = ["one", "two"]
    server = parse("postgresql://reader@db/shop", password=lambda: passwords.pop(0))
    assert [server.read_password(), server.read_password()] == ["one", "two"]
    assert server == parse("postgresql://reader@db/shop")
    assert parse("postgresql://reader@db/shop").read_password() == ""
    assert "lambda" not in repr(server)


def test_what_differs_is_another_server() -> None:
    server = parse("postgresql://reader@db/shop")
    for change in ({"user": "x"}, {"port": 1}, {"database": "x"}, {"tls": "off"}, {"encoding": "x"}, {"host": "x"}):
        assert replace(server, **change) != server


def test_authorities_that_cannot_be_read(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.touch()
    with pytest.raises(SourceError, match=r"missing\.pem cannot be read: No such file"):
        parse("postgresql://reader@db/shop", ca=missing).tls_context()
    with pytest.raises(SourceError, match=r"empty\.pem holds no certificates"):
        parse("postgresql://reader@db/shop", ca=empty).tls_context()


@pytest.mark.parametrize(
    ("query", "table", "statement"),
    [
        ("SELECT 1", "", "SELECT 1\n"),
        (" SELECT 1; \n", "", "SELECT 1\n"),
        ("SELECT 1;; -- all", "", "SELECT 1;; -- all\n"),
        ("SELECT ';'", "", "SELECT ';'\n"),
        ("SELECT 1", "customers", "SELECT 1\n"),
        ("", "customers", 'SELECT * FROM "customers"\n'),
        ("", 'crm.Cust"omers', 'SELECT * FROM "crm"."Cust""omers"\n'),
    ],
    ids=["query", "semicolon", "comment", "in a string", "before the table", "table", "schema"],
)
def test_query(query: str, table: str, statement: str) -> None:
    assert Query.parse("customers", query, table, quote_name).statement == statement


def test_neither_query_nor_table() -> None:
    with pytest.raises(SourceSettingError, match="query is missing"):
        Query.parse("customers", " ; ", "", quote_name)


def test_an_error_means_what_its_code_or_its_class_does() -> None:
    exact, of_class = Fault("a", "b"), Fault("e", "f", transient=False)
    table = {"42P01": exact, "42": of_class}
    found = [fault_of(code, table) for code in ("42P01", "42999", "XX000", "")]
    assert found[:2] == [exact, of_class]
    assert [each.why for each in found[2:]] == ["the server rejected the query"] * 2
    error = of_class.error(parse("postgresql://reader@db/shop"), query=Query("customers", ""), detail="g")
    assert str(error) == "postgresql://reader@db:5432/shop (customers): e (g); f"
    assert not error.transient


def test_no_process_but_the_one_that_fetches_imports_a_driver() -> None:
    code = """import sys, appliance.service.steward, appliance.service.worker
sys.exit(not {'asyncpg', 'pymysql'}.isdisjoint(sys.modules))"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
