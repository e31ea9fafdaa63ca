"""Connections to the database that end at any byte: no half of a snapshot, and none of two moments."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import select
import signal
import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from appliance.customers.record import related_of
from appliance.ingest.sources import mysql, postgres
from appliance.ingest.sources.database import DatabaseTable, Query
from appliance.ingest.spec import ImportRefused, ImportSpec, RelatedSpec
from tests.factory import open_snapshot, run_import
from tests.system.databases.mariadb_server import MariaDB
from tests.system.databases.postgres_server import Postgres

pytestmark = [pytest.mark.system, pytest.mark.usefixtures("unmeasured")]
LONGEST = 24_000  # bytes; the server sends about 20,000 for one fetch, so that some are not cut
RESET = struct.pack("ii", 1, 0)


@contextlib.contextmanager
def cutting(port: int, cuts: Sequence[int]) -> Iterator[int]:
    """Relay connections to `port`, each until the server has sent so many bytes; return the port to connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = os.fork()  # no thread: the import forks
        if child == 0:
            try:
                for cut in itertools.cycle(cuts):  # the guard of a MySQL connects, too, after a cut
                    client, _ = listener.accept()
                    _relay(client, socket.create_connection(("127.0.0.1", port)), cut)
            finally:
                os._exit(0)
        try:
            yield listener.getsockname()[1]
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _relay(client: socket.socket, server: socket.socket, left: int) -> None:
    """Pass on what both say, until the server has sent `left` bytes or one has ended; then reset both connections."""
    with client, server:
        for each in (client, server):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        while left:
            for ready in select.select([client, server], [], [])[0]:
                with contextlib.suppress(ConnectionError):
                    if data := ready.recv(left if ready is server else 65536):
                        (client if ready is server else server).sendall(data)
                        left -= len(data) if ready is server else 0
                        continue
                return


def spec_of(database: Postgres | MariaDB, port: int) -> ImportSpec:
    """Return what is asked, through this port."""
    address = database.address.replace(f":{database.port}/", f":{port}/")
    module = postgres if isinstance(database, Postgres) else mysql

    def table(section: str, statement: str) -> DatabaseTable:
        query = Query.parse(section, statement, "", str)
        return DatabaseTable(database.server(address=address), query, module.fetch)

    orders = table("related.orders", "SELECT id, version, repeat('y', 20) AS filling FROM orders ORDER BY id")
    return ImportSpec(
        source=table("customers", "SELECT id, email, version, repeat('x', 20) AS filling FROM customers ORDER BY id"),
        related=(RelatedSpec(name="orders", source=orders, key="id", on="id"),),
    )


def attempt(spec: ImportSpec, folder: Path) -> ImportRefused | None:
    """Import; return why not, if it was refused."""
    try:
        run_import(spec, folder)
    except ImportRefused as refused:
        return refused
    return None


@pytest.mark.parametrize("fixture", ["server", "maria"], ids=["postgresql", "mariadb"])
def test_connections_cut_at_random_bytes(
    request: pytest.FixtureRequest, tmp_path: Path, length: SimpleNamespace, fixture: str
) -> None:
    database: Postgres | MariaDB = request.getfixturevalue(fixture)
    database.sql("CREATE TABLE customers (id int, email varchar(99), version int)")
    rows = ", ".join(f"({number}, 'c{number}@example.com', 0)" for number in range(1, 201))
    database.sql(f"INSERT INTO customers VALUES {rows}; CREATE TABLE orders AS SELECT id, version FROM customers;")
    if isinstance(database, Postgres):
        database.sql("GRANT SELECT ON customers, orders TO reader")
    chosen = random.Random(7)
    cuts = [LONGEST * 10, *(chosen.randrange(LONGEST) for _ in range(length.database_cuts))]
    imported, served = 0, -1
    with cutting(database.port, cuts) as port:
        spec = spec_of(database, port)
        for version, cut in enumerate(cuts):
            database.sql(
                f"BEGIN; UPDATE customers SET version = {version}; UPDATE orders SET version = {version}; COMMIT"
            )
            refused = attempt(spec, tmp_path)
            if refused is None:
                imported, served = imported + 1, version
            else:
                assert refused.transient, (cut, str(refused))
                assert str(refused).startswith(str(spec.source).partition(" ")[0]), (cut, str(refused))
            assert [*tmp_path.glob("*.tmp")] == []
            snapshot = open_snapshot(tmp_path, spec)
            assert snapshot is not None
            found = snapshot.find(("c1@example.com", "c100@example.com", "c200@example.com"))
            versions = [(each["version"], [order["version"] for order in related_of(each, "orders")]) for each in found]
            assert versions == [(f"{served}", [f"{served}"])] * 3, cut
    assert 1 < imported < length.database_cuts
