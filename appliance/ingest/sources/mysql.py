"""MySQL and MariaDB: fetches tables row by row, each value as the text that the server writes, into CSV files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from appliance.ingest.sources.base import SourceKind
from appliance.ingest.sources.database import DatabaseTable, Query, Server, parse_server
from appliance.ingest.sources.mysql_session import quote_name, session
from appliance.ingest.sources.remote import Fetched, Inspection

DEFAULT_PORT: Final = 3306


def parse(
    address: str, section: str, *, query: str, table: str, tls: str, ca: Path | None, timeout: float,
    password: Callable[[], str] | None, changed: str,
) -> DatabaseTable:  # fmt: skip
    """Return the table that a section of the config describes. Raises SourceSettingError."""
    server = parse_server(
        address, default_port=DEFAULT_PORT, tls=tls, ca=ca, timeout=timeout, encoding="", password=password,
        changed=changed, section=section,
    )  # fmt: skip
    if server.is_socket:  # a file, and no folder that has one for each port
        server = replace(server, port=0)
    return DatabaseTable(server, Query.parse(section, query, table, quote_name), fetch, inspect)


def fetch(server: Server, queries: Sequence[Query], files: Sequence[Path]) -> tuple[Fetched, ...]:
    """Write what each query returns into its file, all of one moment. Raises SourceError, and OSError of the files.

    It is called in the main thread of a process without others.
    """
    fetched = []
    with session(server) as current:
        current.use()
        current.begin()
        for query, file in zip(queries, files, strict=True):
            fetched.append(current.copy(query, file))
            if fetched[-1].sha256 == query.stop_at:
                break
    return tuple(fetched)


def inspect(server: Server, queries: Sequence[Query], files: Sequence[Path], rows: int) -> Inspection:
    """See mysql_inspection, which is imported by those alone who ask: `sidebard check` and its kin."""
    from appliance.ingest.sources import mysql_inspection

    return mysql_inspection.inspect(server, queries, files, rows)


KIND: Final = SourceKind(
    title="MySQL",
    parse=parse,
    schemes=("mysql", "mariadb"),
    keys=("query", "table", "password", "tls", "ca", "timeout", "changed"),
    about="a table, view or query of a MySQL or MariaDB database",
)
