"""What a listener serves, and within which limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tornado.web import Application

from appliance.edge.web import Mount
from appliance.observe.logs import RequestLog
from appliance.sidebar.reply import Outcome


class Counters(Protocol):
    """Counts what happens. Every call is cheap enough for the path of a request."""

    def request(self, app: str, outcome: Outcome, cache: str, seconds: float) -> None:
        """Count an answered request; `app` is "" for none, `cache` "" when no cache was asked."""

    def connection_opened(self) -> None:
        """Count a connection."""

    def connection_closed(self) -> None:
        """Count one open connection less."""

    def handshake_failed(self) -> None:
        """Count a TLS handshake that did not end well."""

    def accept_rejected(self) -> None:
        """Count a connection that was closed as soon as it was accepted."""

    def dropped(self) -> None:
        """Count a connection that was closed to make room, or for being too slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long and how much; times in seconds."""

    handshake_timeout: float
    header_timeout: float
    body_timeout: float
    idle_timeout: float
    write_timeout: float
    max_connections: int
    max_per_source: int | None  # None: any number


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What is served: the apps by path, and everything that an answered request is told to."""

    mounts: Mapping[bytes, Mount]
    application: Application
    request_log: RequestLog
    counters: Counters
    timer: Callable[[], float]
    clock: Callable[[], float]
