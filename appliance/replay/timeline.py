"""The timeline of a load test: what all processes counted, interval by interval and in all."""

from __future__ import annotations

from typing import Final

import msgspec

from appliance.replay.histogram import Histogram
from appliance.replay.interval_stats import IntervalStats, Wrong
from appliance.replay.load_profile import LoadProfile


class TimelinePoint(msgspec.Struct, frozen=True):
    """One interval of the timeline, by when the responses came. Latencies are milliseconds."""

    at: float  # its end, in seconds since the start
    answers: int
    p50: float
    p99: float
    largest: float
    failed: int
    wrong: int


class Counts(msgspec.Struct):
    """What all processes counted in all intervals; see IntervalStats."""

    statuses: dict[int, int] = {}
    wrong: dict[str, Wrong] = {}
    failures: dict[str, int] = {}
    late: int = 0
    waited: int = 0
    opened: int = 0
    offered: int = 0
    resumed: int = 0

    def add(self, part: IntervalStats) -> None:
        """Add what one process counted in one interval."""
        for status, count in part.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + count
        for kind, count in part.failures.items():
            self.failures[kind] = self.failures.get(kind, 0) + count
        for why, wrong in part.wrong.items():
            self.wrong.setdefault(why, Wrong(0, wrong.first, wrong.difference)).count += wrong.count
        for name in ("late", "waited", "opened", "offered", "resumed"):
            setattr(self, name, getattr(self, name) + getattr(part, name))


class Timeline:
    """Combines what the processes report, in all and for each interval."""

    def __init__(self, profile: LoadProfile) -> None:
        self._profile = profile
        self._parts: dict[int, list[IntervalStats]] = {}
        self.counts: Final = Counts()
        self.latencies: Final = Histogram()
        self.points: Final[list[TimelinePoint]] = []

    def add(self, part: IntervalStats, running: int) -> TimelinePoint | None:
        """Add one report; return the point of its interval if all `running` processes have reported it."""
        self.counts.add(part)
        self._parts.setdefault(part.place, []).append(part)
        return self._join(part.place) if len(self._parts[part.place]) >= running else None

    def finish(self) -> None:
        """Complete the timeline when all processes have ended."""
        for place in sorted(self._parts):
            self._join(place)
        self.points.sort(key=lambda point: point.at)

    def _join(self, place: int) -> TimelinePoint:
        parts = self._parts.pop(place)
        latencies = Histogram()
        for part in parts:
            latencies.merge(Histogram(part.latencies, part.largest))
        self.latencies.merge(latencies)
        p50, p99 = latencies.percentiles((50.0, 99.0))
        point = TimelinePoint(
            at=round(min((place + 1) * self._profile.step, self._profile.duration), 3),
            answers=latencies.count,
            p50=p50 / 1000,
            p99=p99 / 1000,
            largest=latencies.largest / 1000,
            failed=sum(count for part in parts for count in part.failures.values()),
            wrong=sum(wrong.count for part in parts for wrong in part.wrong.values()),
        )
        self.points.append(point)
        return point
