"""What `sidebard check` says of any database server, and what an inspection makes of all that was seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from appliance.ingest.sources import database_faults as faults
from appliance.ingest.sources.base import SourceError
from appliance.ingest.sources.database import Query, Server
from appliance.ingest.sources.remote import Fetched, Inspection, Remark

Tried = tuple[Remark, Fetched] | SourceError
"""A query that can be fetched, with its columns, or why it cannot."""


def welcome(server: Server, version: str, user: str) -> Remark:
    """Return who is connected to what, and how."""
    how = "" if server.tls == "off" else " over TLS"
    return Remark("ok", f"{server}: {version}, connected as {user}{how}")


def remarks_on_tls(server: Server) -> Iterator[Remark]:
    """Yield what could be safer about the connection."""
    if server.tls == "encrypt":
        yield Remark(
            "warning",
            f'{server}: the server\'s certificate is not verified, because tls is "encrypt"; set {server.section}.ca'
            ' and tls = "verify"',
        )
    if server.tls == "off" and not server.is_near:
        yield Remark(
            "warning",
            f'{server}: rows are sent over the network unencrypted, because tls is "off"; enable TLS on the server, and'
            f' set {server.section}.tls = "verify"',
        )


def remark_on_columns(server: Server, query: Query, columns: Sequence[str]) -> Remark:
    """Return that a query is valid, with its columns."""
    return Remark("ok", f"{server} ({query.section}): the query is valid; its columns are {', '.join(columns)}")


def needs_grant(tried: Tried) -> bool:
    """Return whether a query was refused because the user may not read something."""
    return isinstance(tried, SourceError) and faults.NOT_READABLE.todo in str(tried)


def conclude(remarks: Sequence[Remark], tried: Sequence[Tried], *, is_grant_missing: bool) -> Inspection:
    """Return all remarks, and what was fetched unless one is of a fault.

    A query that fails for a missing grant is not told if `is_grant_missing`: then a remark tells all that are.
    """
    told = [*remarks]
    for each in tried:
        if isinstance(each, tuple):
            told.append(each[0])
        elif not (is_grant_missing and needs_grant(each)):
            told.append(Remark("fault", str(each)))
    if any(remark.level == "fault" for remark in told):
        return Inspection(tuple(told), ())
    return Inspection(tuple(told), tuple(each[1] for each in tried if isinstance(each, tuple)))
