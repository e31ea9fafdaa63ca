"""One PostgreSQL for a file of tests, one MariaDB for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.databases.mariadb_server import MariaDB, mariadb
from tests.system.databases.postgres_server import Postgres, postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDB]:
    with mariadb() as running:
        yield running


@pytest.fixture
def maria(mariadb_server: MariaDB) -> Iterator[MariaDB]:
    """Return it, with an empty database `shop`. No test may leave a connection open."""
    mariadb_server.sql(
        "CREATE OR REPLACE DATABASE shop CHARACTER SET utf8mb4; GRANT SELECT ON shop.* TO reader@'%'", ""
    )
    yield mariadb_server
    assert mariadb_server.connections() == 0
