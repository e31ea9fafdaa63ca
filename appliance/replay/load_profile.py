"""What a load test does: how many requests at a time, when each starts, and which response is expected."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from appliance.http_client import Url
from appliance.outcomes import Response
from appliance.replay.corpus_line import CorpusRequest
from appliance.sidebar.protocols.helpscout_webhook import EVENT
from appliance.sidebar.protocols.query_signed import IN_A_FRAME

MAX_STEP: Final = 1.0
_STEPS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadProfile:
    """How much load to generate. Durations are seconds."""

    duration: float
    connections: int
    processes: int
    rate: float | None  # requests per second, started on schedule (open loop); None: as fast as possible (closed loop)
    close: bool = False  # a new connection for each request

    @property
    def step(self) -> float:
        """How many seconds an interval of the timeline takes: there are at least twenty."""
        return min(MAX_STEP, self.duration / _STEPS)

    @property
    def steps(self) -> int:
        """How many intervals there are."""
        return math.ceil(round(self.duration / self.step, 6))

    @property
    def planned(self) -> int | None:
        """How many requests an open loop starts."""
        return None if self.rate is None else math.ceil(self.duration * self.rate)

    def connections_of(self, process: int) -> int:
        """Return how many of the connections belong to this process."""
        return self.connections // self.processes + (process < self.connections % self.processes)


class PreparedRequest(msgspec.Struct, frozen=True, gc=False):
    """The bytes of a request, and the expected response; None: any."""

    data: bytes
    number: int  # the line in the corpus
    status: int | None
    body: bytes | None


def prepare_requests(
    requests: Sequence[CorpusRequest],
    url: Url,
    *,
    close: bool,
    answer: Callable[[CorpusRequest], Response] | None = None,
) -> tuple[PreparedRequest, ...]:
    """Return each request ready to be sent; `answer` makes the response that the service's is compared with."""
    return tuple(_prepare(request, url, close, answer(request) if answer else None) for request in requests)


def _prepare(request: CorpusRequest, url: Url, close: bool, response: Response | None) -> PreparedRequest:
    lines = [f"{request.method} {request.path or url.path or '/'} HTTP/1.1", f"Host: {url.authority}"]
    if request.method == "GET":
        lines += ["Accept: text/html", *(f"{name}: {value}" for name, value in IN_A_FRAME)]
    else:
        lines += ["Content-Type: application/json", f"Content-Length: {len(request.body)}"]
    if request.event:
        lines.append(f"{EVENT}: {request.event}")
    if request.signature is not None:
        lines.append(f"{request.header}: {request.signature}")
    if close:
        lines.append("Connection: close")
    status = response.status if response is not None and request.expect is None else request.expect
    data = "\r\n".join([*lines, "", ""]).encode("ascii") + request.body
    return PreparedRequest(data, request.number, status, response.body if response is not None else None)


class OpenLoop:
    """Starts requests at a fixed rate, whatever the service does; latency counts from the planned start."""

    def __init__(self, begin: float, rate: float, count: int, first: int = 0, stride: int = 1) -> None:
        """Start every `stride`-th of `count` requests, beginning with `first`; the other processes start the rest."""
        self._begin, self._rate, self._end = begin, rate, count
        self._place, self._stride = first, stride
        self.next = begin + first / rate

    def is_due(self, now: float) -> bool:
        """Return whether another request should have started by `now`."""
        return self.next <= now and self._place < self._end

    @property
    def is_over(self) -> bool:
        """Whether the last one has started."""
        return self._place >= self._end

    def take(self, _now: float) -> float:
        """Return when the next request is due, and go on to the one after it."""
        planned = self.next
        self._place += self._stride
        self.next = self._begin + self._place / self._rate
        return planned

    def stop(self, now: float) -> int:
        """End the schedule; return how many should have started by `now` and did not."""
        due = min(self._end, math.floor((now - self._begin) * self._rate) + 1)
        left = len(range(self._place, due, self._stride))
        self._end = 0
        return left


class ClosedLoop:
    """Starts a request whenever a connection is free: the maximum of the service, but not how clients behave."""

    next = 0.0

    def __init__(self, *, is_over: bool = False) -> None:
        self.is_over = is_over

    def is_due(self, _now: float) -> bool:
        """Return whether another request should have started by `now`."""
        return not self.is_over

    def take(self, now: float) -> float:
        """Return when the next request is due: now."""
        return now

    def stop(self, _now: float) -> int:
        """End the schedule; nothing is left over."""
        self.is_over = True
        return 0
