"""What the edge serves, within what limits, and where it reports: plain values that the service passes in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tornado.web import Application

from appliance.outcomes import Outcome, Reply
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.protocols.base import Authenticator, SignedRequest
from appliance.sidebar.protocols.helpscout_webhook import HelpScoutWebhook


@dataclass(frozen=True, slots=True)
class Mount:
    """Where an app is served: the path, and the header that carries the signature."""

    path: str
    signature_header: str
    app: SidebarApp
    webhook: HelpScoutWebhook | None = None
    """What reads the POSTs to the path that have its event's header."""


class RequestWriter(Protocol):
    """Writes one line per request."""

    def write(self, reply: Reply, app: str, duration_us: int, peer: str) -> None:
        """Log the `reply` of `app` ("" for none) to `peer`, and how many microseconds it took to make."""


class RefusalSampler(Protocol):
    """Is called with each request of an app whose signature is wrong, after the answer has been handed over.

    Also with one that is rightly signed, compressed, and so refused as no JSON.
    """

    def __call__(self, app: str, request: SignedRequest, protocol: Authenticator | None = None) -> None:
        """Look at it, or not; `protocol` is another than the app's first. Called on the event loop, must not block."""


class Counters(Protocol):
    """Counts what happens at the edge. Every method is called on the event loop and must not block."""

    def request(self, app: str, outcome: Outcome, cache: str, seconds: float) -> None:
        """Count one reply, and how long it took to make."""

    def connection_opened(self) -> None:
        """Count a connection that was accepted."""

    def connection_closed(self) -> None:
        """Count the end of one."""

    def handshake_failed(self) -> None:
        """Count a TLS handshake that failed."""

    def accept_rejected(self) -> None:
        """Count a connection that was closed at once because its source has too many."""

    def header_refused(self) -> None:
        """Count a connection that was closed because it did not begin with a good PROXY header."""

    def connection_dropped(self) -> None:
        """Count a connection that was evicted, did not read its responses, or sent records without requests."""


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that a listener serves.

    A signed POST to a path of `mounts` is answered by its app on the fast path; any other request goes to
    `application`. `timer` returns seconds for measuring (perf_counter), `clock` seconds since 1970.
    """

    mounts: Mapping[bytes, Mount]
    application: Application
    request_log: RequestWriter
    counters: Counters
    sample_refusal: RefusalSampler
    timer: Callable[[], float]
    clock: Callable[[], float]


def by_path(mounts: Iterable[Mount]) -> dict[bytes, Mount]:
    """Return the mounts as a Site takes them."""
    return {mount.path.encode("ascii"): mount for mount in mounts}
