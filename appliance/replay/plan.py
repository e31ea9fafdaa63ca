"""What a run is to do: how many requests at a time, when each is to start, and what each should bring back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from appliance.outcomes import Response
from appliance.replay.line import Request
from appliance.replay.target import Url

MAX_STEP: Final = 1.0
_STEPS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to load it. Durations are seconds."""

    duration: float
    connections: int
    processes: int
    rate: float | None  # requests a second, started on time (open loop); None: each as soon as it may (closed loop)
    close: bool = False  # a connection a request

    @property
    def step(self) -> float:
        """How many seconds a point of the course over time stands for: there are at least twenty."""
        return min(MAX_STEP, self.duration / _STEPS)

    @property
    def steps(self) -> int:
        """How many points there are."""
        return math.ceil(round(self.duration / self.step, 6))

    @property
    def planned(self) -> int | None:
        """How many requests an open loop is to start."""
        return None if self.rate is None else math.ceil(self.duration * self.rate)

    def connections_of(self, process: int) -> int:
        """Give how many of the connections are this process's."""
        return self.connections // self.processes + (process < self.connections % self.processes)


class Shot(msgspec.Struct, frozen=True, gc=False):
    """A request, ready to be sent, and what should come back; None: anything."""

    data: bytes
    number: int  # its line
    status: int | None
    body: bytes | None


def make_shots(
    requests: Sequence[Request], url: Url, *, close: bool, answer: Callable[[Request], Response] | None = None
) -> tuple[Shot, ...]:
    """Make the bytes of each request; `answer` gives the answer that each is to be compared with."""
    return tuple(_make_shot(request, url, close, answer(request) if answer else None) for request in requests)


def _make_shot(request: Request, url: Url, close: bool, response: Response | None) -> Shot:
    lines = [
        f"POST {request.path or url.path} HTTP/1.1",
        f"Host: {url.authority}",
        "Content-Type: application/json",
        f"Content-Length: {len(request.body)}",
    ]
    if request.signature is not None:
        lines.append(f"{request.header}: {request.signature}")
    if close:
        lines.append("Connection: close")
    status = response.status if response is not None and request.expect is None else request.expect
    data = "\r\n".join([*lines, "", ""]).encode("ascii") + request.body
    return Shot(data, request.number, status, response.body if response is not None else None)


class OpenLoop:
    """Starts at a fixed rate, whatever the service does: a stall delays none of them, and all are timed from there."""

    def __init__(self, begin: float, rate: float, count: int, first: int = 0, stride: int = 1) -> None:
        """Start `count` requests in all, of which this process has every `stride`-th."""
        self._begin, self._rate, self._end = begin, rate, count
        self._place, self._stride = first, stride
        self.next = begin + first / rate

    def is_due(self, now: float) -> bool:
        """Say whether another request should have started by `now`."""
        return self.next <= now and self._place < self._end

    @property
    def is_over(self) -> bool:
        """Whether the last one was taken."""
        return self._place >= self._end

    def take(self, _now: float) -> float:
        """Give the moment that the next one was to start at, and go on to the one after."""
        planned = self.next
        self._place += self._stride
        self.next = self._begin + self._place / self._rate
        return planned

    def stop(self, now: float) -> int:
        """Plan no more; give how many should have started by `now` and did not."""
        due = min(self._end, math.floor((now - self._begin) * self._rate) + 1)
        left = len(range(self._place, due, self._stride))
        self._end = 0
        return left


class ClosedLoop:
    """Starts whenever a connection is free: what a service can do at most, but no client waits like that."""

    next = 0.0

    def __init__(self, *, is_over: bool = False) -> None:
        self.is_over = is_over

    def is_due(self, _now: float) -> bool:
        """Say whether another request should have started by `now`."""
        return not self.is_over

    def take(self, now: float) -> float:
        """Give the moment that the next one starts at: now."""
        return now

    def stop(self, _now: float) -> int:
        """Plan no more; nothing is left over."""
        self.is_over = True
        return 0
