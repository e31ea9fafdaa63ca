"""What the errors of MySQL and MariaDB mean: why a fetch was refused, what to do, and whether it is tried again.

An error is looked up by its number, then by the class of its SQLSTATE.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

from appliance.ingest.sources.base import SourceError
from appliance.ingest.sources.database import Fault, Query, Server, fault_of

_QUERY: Final = "correct the query"
_LATER: Final = "it will be tried again"
_LOGIN: Final = Fault(
    "the server refuses this user", "correct customers.password, or the user", transient=False, login_refused=True
)
_GRANT: Final = Fault("this user may not read that", "GRANT SELECT on it to this user")
TOO_LONG: Final = Fault("the query took too long", "add an index, or raise customers.timeout")
_LOCKED: Final = Fault("a table is locked", _LATER)
_CLOSED: Final = Fault("the connection was lost", _LATER)
_CROWDED: Final = Fault("the server has too many connections", "raise its max_connections, or the user's limit")
_FULL: Final = Fault("the server lacks memory or disk space", "look at the server's log")
NO_LOGIN: Final = Fault(
    "the server asks for a way to log in that is not supported",
    "identify the user by caching_sha2_password (MySQL) or mysql_native_password (MariaDB)",
    transient=False,
)
_NO_TLS: Final = Fault("the server does not offer TLS", 'turn it on there, or set customers.tls = "off"', False)
LOST: Final = (2006, 2013)
"""Numbers that say that the connection has ended."""

AFTER_QUERY: Final = ") AS sidebard LIMIT 0"
"""What is written behind a query to have it parsed, and would show up in a syntax error."""

_FAULTS: Final[Mapping[str, Fault]] = {
    "28": _LOGIN,
    **dict.fromkeys(("1820", "1862", "3118", "4151"), _LOGIN),  # the password has expired, the account is locked
    "2059": NO_LOGIN,
    "2026": _NO_TLS,
    "1130": Fault("the server accepts nobody from here", "let the user log in from this machine's address"),
    "1129": Fault("the server has blocked this machine", "run FLUSH HOSTS there"),
    **dict.fromkeys(("1040", "1203", "1226"), _CROWDED),
    "1044": Fault("this user may not use that database", "GRANT SELECT on its tables, or correct customers.source"),
    "1049": Fault("the server has no such database", "correct customers.source"),
    "1146": Fault("there is no such table", "correct the query or table, or name its database"),
    "1054": Fault("there is no such column", _QUERY),
    "1060": Fault("two columns have one name", "name them with AS"),
    "1064": Fault("the query is not one SELECT of valid SQL", _QUERY),
    **dict.fromkeys(("1142", "1143"), _GRANT),
    "1370": Fault("this user may not call that function", "GRANT EXECUTE on it to this user"),
    "1267": Fault("the query compares texts of two collations", "add COLLATE to one of them"),
    "1356": Fault("a view reads what is not there, or what its definer may not read", "correct the view"),
    "42": Fault("the query is refused", _QUERY),
    "25": Fault("the query would write", "write a query that only reads"),
    **dict.fromkeys(("1969", "3024"), TOO_LONG),
    "1317": Fault("the server ended the query", _LATER),
    "1205": _LOCKED,
    "40": _LOCKED,
    **dict.fromkeys(("1053", "1927", "2006", "2013", "08"), _CLOSED),
    **dict.fromkeys(("1021", "1037", "1038", "1041"), _FULL),
    "22": Fault("the query cannot compute a value of some row", "correct the query or that row"),
}
_UNKNOWN: Final = Fault("the server refuses the query", "look at the server's log")
_UNREACHABLE: Final = Fault("cannot be reached", "check the address, and that the server accepts connections from here")
NO_ANSWER: Final = Fault("there was no answer in time", "check the network and the server")
GARBLED: Final = Fault("what answers there does not speak MySQL's protocol", "check host and port")
_UNTRUSTED: Final = Fault(
    "the server's certificate is not trusted", "set customers.ca, or correct the host name", transient=False
)
_SAYS_NO_VALUE: Final = ("28", "42", "25", "1129", "1130", "1267")
"""Errors and classes whose message names an account or what stands in the query. Others may repeat a value of a row."""


def connect_fault(server: Server, error: Any) -> SourceError:
    """Return why there is no connection."""
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _UNTRUSTED.error(server, detail=cause.verify_message)
    if isinstance(cause, TimeoutError):
        return NO_ANSWER.error(server)
    if isinstance(cause, OSError):
        return _UNREACHABLE.error(server, detail=cause.strerror or "")
    return fault(server, error, None)


def code_of(error: Any) -> int:
    """Return the number of an error; 0 if it has none."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def fault(server: Server, error: Any, query: Query | None) -> SourceError:
    """Return what an error of the server or the driver means."""
    if not code_of(error):  # of the driver, about packets that make no sense
        return GARBLED.error(server, query=query)
    code, state = f"{code_of(error)}", getattr(error, "sqlstate", None) or ""
    detail = f"error {code}"
    if code in _SAYS_NO_VALUE or state[:2] in _SAYS_NO_VALUE:
        said = " ".join(str(error.args[-1]).split()).replace(f" {AFTER_QUERY}", "").replace(AFTER_QUERY, "")
        detail = said.partition("right syntax to use ")[2] or said
    return (_FAULTS.get(code) or fault_of(state, _FAULTS, _UNKNOWN)).error(server, query=query, detail=detail)
