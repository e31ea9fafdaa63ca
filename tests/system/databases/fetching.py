"""What tests of real databases do with any of them: fetch, be refused, import, look at a card, be killed."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.customers.record import related_of
from appliance.ingest.sources import mysql, postgres
from appliance.ingest.sources.base import SourceError
from appliance.ingest.sources.database import DatabaseTable, Query, Server
from appliance.ingest.spec import ImportSpec, RelatedSpec
from tests.daemon import until
from tests.factory import body_for, make_app, open_snapshot, run_import, signed


def query(statement: str, section: str = "customers") -> Query:
    return Query.parse(section, statement, "", str)


def table_of(server: Server, statement: str, section: str = "customers") -> DatabaseTable:
    driver = postgres if server.scheme == "postgresql" else mysql
    return DatabaseTable(server, query(statement, section), driver.fetch)


def fetched(server: Server, folder: Path, *statements: str) -> list[list[list[str]]]:
    """Return the rows of each statement, the header first."""
    files = [folder / f"{number}.csv" for number in range(len(statements))]
    driver = table_of(server, statements[0]).driver
    found = driver(server, [*map(query, statements)], files)
    assert [each.size for each in found] == [file.stat().st_size for file in files]
    rows = [list(csv.reader(io.StringIO(file.read_bytes().decode(), newline=""), strict=True)) for file in files]
    assert [each.rows for each in found] == [len(each) - 1 for each in rows]
    return rows


def refusal(server: Server, folder: Path, statement: str = "SELECT 1 AS one") -> SourceError:
    """Return why a statement is refused."""
    with pytest.raises(SourceError) as caught:
        fetched(server, folder, statement)
    return caught.value


def refused_for_its_certificate(server: Server, folder: Path, why: str) -> None:
    error = refusal(server, folder)
    assert f"the server's certificate is not trusted ({why}" in str(error)
    assert "set customers.ca" in str(error)
    assert not error.transient


def on_the_card(table: DatabaseTable, folder: Path) -> dict[str, str]:
    """Return the HTML of each value of ann@example.com, but for the address, by its label in small letters."""
    spec = ImportSpec(source=table)
    run_import(spec, folder)
    card = json.loads(make_app(open_snapshot(folder, spec)).answer(signed(body_for("ann@example.com"))).response.body)
    shown = dict(re.findall(r"label\">([^<]*)<span [^>]*>(.*?)</span></span></li>", card["html"]))
    return {name.lower(): text for name, text in shown.items() if name != "Email"}


def orders_of_ann(server: Server, folder: Path) -> tuple[str, list[str]]:
    """Import customers with their orders; return Ann's plan, and the totals of her orders."""
    orders = "SELECT 1 AS customer, 9.50 AS total UNION ALL SELECT 1, 30 UNION ALL SELECT 2, 7"
    related = RelatedSpec(
        name="orders", source=table_of(server, orders, "related.orders"), key="customer", on="id", order_by="-total"
    )
    spec = ImportSpec(source=table_of(server, "SELECT * FROM customers ORDER BY id"), related=(related,))
    assert (run_import(spec, folder).rows, [*folder.glob("*.tmp")]) == (2, [])
    snapshot = open_snapshot(folder, spec)
    assert snapshot is not None
    (ann,) = snapshot.find(("ann@example.com",))
    return ann["plan"], [order["total"] for order in related_of(ann, "orders")]


def kill_while(server: Server, folder: Path, statement: str, running: Callable[[], bool]) -> None:
    """Kill a process while the server runs what it has asked for, which then must end there, too."""
    child = os.fork()
    if child == 0:
        try:
            fetched(server, folder, statement)
        finally:
            os._exit(1)
    until(running, "the query")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    until(lambda: not running(), "the end of the query")
