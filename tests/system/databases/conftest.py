"""One PostgreSQL for a file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.databases.postgres_server import Postgres, postgres


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running
