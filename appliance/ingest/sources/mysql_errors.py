"""What the errors of MySQL and MariaDB mean: why a fetch was refused, what to do, and whether it is tried again.

An error is looked up by its number, then by the class of its SQLSTATE.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

from appliance.ingest.sources import database_faults as faults
from appliance.ingest.sources.base import SourceError
from appliance.ingest.sources.database import Query, Server

_LOGIN: Final = faults.Fault(
    "the server rejected the login",
    "correct customers.password, or the user; then reload sidebard",
    transient=False,
    login_refused=True,
)
_CROWDED: Final = faults.Fault("the server has too many connections", "raise its max_connections, or the user's limit")
NO_LOGIN: Final = faults.Fault(
    "the server requires an unsupported authentication method",
    "create the user with caching_sha2_password (MySQL) or mysql_native_password (MariaDB)",
    transient=False,
)
LOST: Final = (2006, 2013)
"""Numbers that say that the connection has ended."""

NO_ACCESS: Final = 1044
NOT_GRANTED: Final = (1142, 1143)
"""Numbers that say that a user may not use a database, or not read a table or column."""

AFTER_QUERY: Final = ") AS sidebard LIMIT 0"
"""What is written behind a query to have it parsed, and would show up in a syntax error."""

_FAULTS: Final[Mapping[str, faults.Fault]] = {
    "28": _LOGIN,
    **dict.fromkeys(("1820", "1862", "3118", "4151"), _LOGIN),  # the password has expired, the account is locked
    "2059": NO_LOGIN,
    "2026": faults.NO_TLS,
    "1130": faults.Fault(
        "the server does not accept connections from this host", "allow the user to connect from this machine's address"
    ),
    "1129": faults.Fault("the server has blocked this machine", "run FLUSH HOSTS there"),
    **dict.fromkeys(("1040", "1203", "1226"), _CROWDED),
    f"{NO_ACCESS}": faults.Fault(
        "this user has no access to that database", "GRANT SELECT on its tables, or correct customers.source", False
    ),
    "1049": faults.NO_DATABASE,
    "1146": faults.Fault("there is no such table", "correct the query or table, or name its database", False),
    "1054": faults.NO_COLUMN,
    "1060": faults.Fault("two columns have the same name", "name them with AS", False),
    "1064": faults.Fault("the query is not one SELECT of valid SQL", faults.CORRECT_QUERY, transient=False),
    **dict.fromkeys(map(str, NOT_GRANTED), faults.NOT_READABLE),
    "1370": faults.Fault("this user may not call that function", "grant this user EXECUTE on it", False),
    "1267": faults.Fault("the query compares text of different collations", "add COLLATE to one of them", False),
    "1356": faults.Fault(
        "a view refers to something that does not exist, or that its definer may not read", "correct the view", False
    ),
    "42": faults.REFUSED,
    "25": faults.WRITES,
    **dict.fromkeys(("1969", "3024"), faults.TOO_LONG),
    "1317": faults.Fault("the server ended the query", faults.LATER),
    "1205": faults.LOCKED,
    "40": faults.LOCKED,
    **dict.fromkeys(("1053", "1927", "2006", "2013", "08"), faults.CLOSED),
    **dict.fromkeys(("1021", "1037", "1038", "1041"), faults.FULL),
    "22": faults.NOT_COMPUTED,
}
GARBLED: Final = faults.Fault("the server does not speak the MySQL protocol", "check host and port")
_SAYS_NO_VALUE: Final = ("28", "42", "25", "1129", "1130", "1267")
"""Errors and classes whose message names an account or what stands in the query. Others may repeat a value of a row."""


def connect_fault(server: Server, error: Any) -> SourceError:
    """Return why there is no connection."""
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return faults.UNTRUSTED.error(server, detail=cause.verify_message)
    if isinstance(cause, TimeoutError):
        return faults.NO_ANSWER.error(server)
    if isinstance(cause, OSError):
        return faults.UNREACHABLE.error(server, detail=cause.strerror or "")
    return fault(server, error, None)


def code_of(error: Any) -> int:
    """Return the number of an error; 0 if it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def fault(server: Server, error: Any, query: Query | None) -> SourceError:
    """Return what an error of the server or the driver means."""
    if isinstance(error.__context__, TimeoutError):
        return faults.STALLED.error(server, query=query)
    if not code_of(error):  # of the driver, about packets that make no sense
        return GARBLED.error(server, query=query)
    code, state = f"{code_of(error)}", getattr(error, "sqlstate", None) or ""
    detail = f"error {code}"
    if code in _SAYS_NO_VALUE or state[:2] in _SAYS_NO_VALUE:
        said = " ".join(str(error.args[-1]).split()).replace(f" {AFTER_QUERY}", "").replace(AFTER_QUERY, "")
        detail = said.partition("right syntax to use ")[2] or said
    return (_FAULTS.get(code) or faults.fault_of(state, _FAULTS)).error(server, query=query, detail=detail)
