"""PostgreSQL: fetches tables by `COPY (query) TO STDOUT`, as CSV."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from appliance.ingest.sources.base import SourceKind
from appliance.ingest.sources.database import DatabaseTable, Query, Server, parse_server
from appliance.ingest.sources.postgres_session import Session, quote_name, session
from appliance.ingest.sources.remote import Fetched, Inspection

DEFAULT_PORT: Final = 5432
TARGETS: Final = ("any", "primary", "standby", "prefer-standby", "read-only", "read-write")
_NO_COPY: Final = ("42501", "0A000")
"""How servers that only speak PostgreSQL's protocol refuse COPY; PostgreSQL itself, a table that may not be read."""


def parse(
    address: str, section: str, *, query: str, table: str, encoding: str, tls: str, ca: Path | None, timeout: float,
    password: Callable[[], str] | None, changed: str,
) -> DatabaseTable:  # fmt: skip
    """Return the table that a section of the config describes. Raises SourceSettingError."""
    if encoding and codecs.lookup(encoding).name == "utf-8":
        encoding = ""
    server = parse_server(
        address, default_port=DEFAULT_PORT, tls=tls, ca=ca, timeout=timeout, encoding=encoding, password=password,
        changed=changed, section=section, targets=TARGETS,
    )  # fmt: skip
    return DatabaseTable(server, Query.parse(section, query, table, quote_name), fetch, inspect)


def fetch(server: Server, queries: Sequence[Query], files: Sequence[Path]) -> tuple[Fetched, ...]:
    """Write what each query returns into its file, all of one moment. Raises SourceError, and OSError of the files."""
    return asyncio.run(_fetch(server, queries, files))


async def _fetch(server: Server, queries: Sequence[Query], files: Sequence[Path]) -> tuple[Fetched, ...]:
    import asyncpg

    async with session(server) as current:
        try:
            return await _fetch_all(current, queries, files, cast=False)
        except asyncpg.PostgresError as error:
            if error.sqlstate not in _NO_COPY or server.encoding:
                raise
        await current.connection.execute("ROLLBACK")
        return await _fetch_all(current, queries, files, cast=True)


async def _fetch_all(
    current: Session, queries: Sequence[Query], files: Sequence[Path], *, cast: bool
) -> tuple[Fetched, ...]:
    await current.begin()
    fetched = []
    for query, file in zip(queries, files, strict=True):
        fetched.append(await current.copy(query, file, cast=cast))
        if fetched[-1].sha256 == query.stop_at:
            break
    await current.connection.execute("COMMIT")
    return tuple(fetched)


def inspect(server: Server, queries: Sequence[Query], files: Sequence[Path], rows: int) -> Inspection:
    """See postgres_inspection, which is imported by those alone who ask: `sidebard check` and its kin."""
    from appliance.ingest.sources import postgres_inspection

    return postgres_inspection.inspect(server, queries, files, rows)


KIND: Final = SourceKind(
    title="PostgreSQL",
    parse=parse,
    schemes=("postgresql", "postgres"),
    keys=("query", "table", "password", "tls", "ca", "timeout", "changed", "encoding"),
    about="a table, view or query of a PostgreSQL database",
)
