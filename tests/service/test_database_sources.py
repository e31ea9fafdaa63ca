"""Sections of the config that name a database, and the sources that they mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.bootstrap.sources import passwords, refresh_of
from appliance.bootstrap.wiring import import_spec_of
from appliance.config.schema import Settings
from appliance.ingest.sources.base import SourceError
from appliance.ingest.sources.database import DatabaseTable
from appliance.ingest.sources.sqlite_file import SqliteTable
from tests.config.loading import load

SHOP = "postgresql://reader@db/shop"
APP = '[[app]]\nsecrets = ["file:secret"]\n'


def settings_of(folder: Path, source: str, orders: str, customers: str = "") -> Settings:
    text = f'[customers]\nsource = "{source}"\naddresses = ["email"]\n{customers}\n'
    return load(folder, f'{text}[related.orders]\nkey = "a"\non = "b"\n{orders}\n{APP}')


def tables(settings: Settings) -> tuple[DatabaseTable, DatabaseTable]:
    first, second = import_spec_of(settings).sources
    assert isinstance(first, DatabaseTable)
    assert isinstance(second, DatabaseTable)
    return first, second


@pytest.mark.parametrize("source", ["", f'source = "{SHOP}"'], ids=["left out", "the same"])
def test_related_rows_of_the_same_server_are_fetched_with_the_customers(tmp_path: Path, source: str) -> None:
    keys = 'password = "file:password"\nca = "ca.pem"\ntimeout = "7s"\nchanged = "SELECT 1 AS n"'
    customers, orders = tables(settings_of(tmp_path, SHOP, source, keys))
    assert (customers.group == orders.group, orders.server.timeout, orders.server.ca) == (
        True, 7.0, tmp_path / "ca.pem"
    )  # fmt: skip
    assert (orders.query.statement, orders.server.changed) == ('SELECT * FROM "orders"\n', "SELECT 1 AS n\n")
    with pytest.raises(SourceError, match=r"^customers\.password: file:password "):
        orders.server.read_password()


def test_another_server_has_keys_of_its_own(tmp_path: Path) -> None:
    """Above all, it is not told the password of the first."""
    keys = 'password = "file:password"\nca = "ca.pem"\ntls = "encrypt"\ntimeout = "7s"\nchanged = "SELECT 1 AS n"'
    settings = settings_of(tmp_path, SHOP, 'source = "postgresql://reader@desk/desk"', keys)
    server = tables(settings)[1].server
    assert (server.read_password(), server.ca, server.tls, server.changed, server.timeout) == (
        "", None, "verify", "", 7.0
    )  # fmt: skip
    keys = keys.replace("file:password", "file:other")
    settings = settings_of(tmp_path, SHOP, f'source = "postgresql://reader@desk/desk"\n{keys}')
    server = tables(settings)[1].server
    assert (server.tls, server.section, server.changed) == ("encrypt", "related.orders", "SELECT 1 AS n\n")
    with pytest.raises(SourceError, match=r"^related\.orders\.password: file:other "):
        server.read_password()
    assert [*map(str, passwords(settings).items())] == [str(("related.orders.password", settings.related[0].password))]


def test_no_source_of_related_rows_is_the_customers_sqlite_file(tmp_path: Path) -> None:
    customers, orders = import_spec_of(settings_of(tmp_path, "shop.sqlite", "")).sources
    assert isinstance(orders, SqliteTable)
    assert (orders.files(), orders != customers) == (customers.files(), True)


@pytest.mark.parametrize(
    ("source", "orders", "refresh", "seconds"),
    [
        ("c.csv", 'source = "o.csv"', "", 60),
        ("c.sqlite", "", "", 60),
        (SHOP, "", "", 300),
        ("c.csv", f'source = "{SHOP}"', "", 300),
        (SHOP, "", 'refresh = "10s"', 10),
        ("c.csv", 'source = "o.csv"', 'refresh = "10m"', 600),
    ],
    ids=["CSV", "SQLite", "database", "related rows in a database", "set", "set for a file"],
)
def test_how_often_sources_are_looked_at(
    tmp_path: Path, source: str, orders: str, refresh: str, seconds: float
) -> None:
    settings = settings_of(tmp_path, source, orders, refresh)
    assert refresh_of(settings, import_spec_of(settings)) == seconds
