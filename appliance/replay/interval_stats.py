"""What the processes of a load test report to the first one: counts, interval by interval."""

from __future__ import annotations

from typing import Final

import msgspec

from appliance.replay.difference import first_difference
from appliance.replay.histogram import Histogram

OTHER_BODY: Final = "another body than this config and these customers give"
OTHER_BODY_HINT: Final = "it has other customers or another card; compare its config, and reload it"


class Wrong(msgspec.Struct):
    """Answers that were wrong in the same way."""

    count: int
    first: int  # the line of the first one's request
    difference: str = ""  # between its body and the expected one


class IntervalStats(msgspec.Struct, tag=True):
    """What one process counted in one interval of the timeline. Latencies are microseconds."""

    place: int  # from 0
    latencies: dict[int, int] = {}
    largest: int = 0
    statuses: dict[int, int] = {}
    wrong: dict[str, Wrong] = {}
    failures: dict[str, int] = {}
    late: int = 0  # started late although a connection was free: the generator's own fault
    waited: int = 0  # started late because no connection was free
    opened: int = 0
    offered: int = 0  # handshakes that offered a TLS session
    resumed: int = 0


class Ready(msgspec.Struct, tag=True):
    """A process has opened its connections, or failed to."""

    opened: int = 0
    failures: dict[str, int] = {}


class Ended(msgspec.Struct, tag=True):
    """A process has finished."""

    not_started: int  # planned requests that were never started
    busy: float  # CPU seconds that it used
    seconds: float  # from the common start to its last answer


Message = Ready | IntervalStats | Ended


class IntervalRecorder:
    """Fills the statistics of the current interval."""

    def __init__(self, place: int = 0) -> None:
        self._histogram = Histogram()
        self._stats = IntervalStats(place)
        self.latency = self._histogram.add
        self.statuses = self._stats.statuses

    @property
    def counts(self) -> IntervalStats:
        """The counts besides latencies, to be increased in place."""
        return self._stats

    def wrong(self, why: str, line: int, bodies: tuple[bytes, bytes] | None = None) -> None:
        """Count a wrong answer; `bodies` are the expected one and the received one."""
        known = self._stats.wrong.get(why)
        if known is None:
            known = self._stats.wrong[why] = Wrong(0, line, first_difference(*bodies) if bodies else "")
        known.count += 1

    def failed(self, kind: str) -> None:
        """Count a request without an answer; `kind` says why."""
        self._stats.failures[kind] = self._stats.failures.get(kind, 0) + 1

    def finish(self) -> IntervalStats:
        """Return the statistics of the interval, which is over."""
        self._stats.latencies = self._histogram.counts
        self._stats.largest = self._histogram.largest
        return self._stats
