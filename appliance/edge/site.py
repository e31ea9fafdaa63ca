"""What the edge serves, by what limits, and to whom it reports: plain values that the service hands in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tornado.web import Application

from appliance.outcomes import Outcome, Reply
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.protocols.base import SignedRequest


@dataclass(frozen=True, slots=True)
class Mount:
    """Where an app is served: the path, and the header that carries the signature."""

    path: str
    signature_header: str
    app: SidebarApp


class RequestWriter(Protocol):
    """Takes one line a request."""

    def write(self, reply: Reply, app: str, duration_us: int, peer: str) -> None:
        """Log what `reply` was given by `app` ("" for none) to `peer`, in how many microseconds."""


class RefusalSampler(Protocol):
    """Is called with each request of an app whose signature is wrong, after the answer has been handed over."""

    def __call__(self, app: str, request: SignedRequest) -> None:
        """Look at it, or not. It is called on the event loop and must not block."""


class Counters(Protocol):
    """Counts what happens at the edge. Every method is called on the event loop and must not block."""

    def request(self, app: str, outcome: Outcome, cache: str, seconds: float) -> None:
        """Count one answer, and how long it took to make."""

    def connection_opened(self) -> None:
        """Count a connection that was accepted."""

    def connection_closed(self) -> None:
        """Count the end of one."""

    def handshake_failed(self) -> None:
        """Count a TLS handshake that came to nothing."""

    def accept_rejected(self) -> None:
        """Count a connection closed at once: its source has too many."""

    def dropped(self) -> None:
        """Count a connection that had to make room for a new one, took no answer, or sent much and said little."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long, in seconds, and how many. Each time is a total deadline, kept to within a second.

    `max_per_source` is how many connections one address may have; None: any number, as on loopback and Unix listeners,
    where every client has the same address.
    """

    handshake_timeout: float = 10.0
    header_timeout: float = 10.0
    body_timeout: float = 10.0
    idle_timeout: float = 10.0
    write_timeout: float = 15.0
    max_connections: int = 1000
    max_per_source: int | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """All that a listener serves.

    A signed POST to a path of `mounts` is answered by its app; everything else goes to `application`. `timer` gives
    seconds for measuring (perf_counter), `clock` seconds since 1970.
    """

    mounts: Mapping[bytes, Mount]
    application: Application
    request_log: RequestWriter
    counters: Counters
    sample_refusal: RefusalSampler
    timer: Callable[[], float]
    clock: Callable[[], float]


def by_path(mounts: Iterable[Mount]) -> dict[bytes, Mount]:
    """Give the mounts as a Site takes them."""
    return {mount.path.encode("ascii"): mount for mount in mounts}
