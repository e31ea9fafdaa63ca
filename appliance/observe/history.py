"""The last hour: what happened between each two readings of the shared counters."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from appliance.observe.shared_counters import BUCKETS, Totals
from appliance.outcomes import Outcome

EVERY: Final = 10.0
"""Seconds between two readings."""

KEPT: Final = 360
MINUTES: Final = 60
_LOOKED_UP: Final = ("hit", "miss")
"""The durations that count: a refusal takes next to no time, and would make the rest look fast."""


class Interval(msgspec.Struct, frozen=True):
    """What happened in some `seconds`, in numbers that can be added up; 0 seconds: the counters were not read."""

    seconds: float = 0.0
    outcomes: tuple[int, ...] = (0,) * len(Outcome)  # in the order of Outcome
    hits: int = 0
    misses: int = 0
    durations: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)  # each bucket by itself

    @property
    def requests(self) -> int:
        """How many requests were answered."""
        return sum(self.outcomes)

    @property
    def hit_share(self) -> float | None:
        """The share of the look-ups that the cache answered; None if there were none."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else None

    def count(self, outcomes: Iterable[Outcome]) -> int:
        """Return how many requests had one of these outcomes."""
        wanted = frozenset(outcomes)
        return sum(number for outcome, number in zip(Outcome, self.outcomes, strict=True) if outcome in wanted)

    def percentile(self, share: float) -> float | None:
        """Return the seconds within which this share of the requests was answered; None if there were none.

        It is as exact as the buckets: within one, requests are assumed to be spread evenly, as in Prometheus.
        """
        rank, below = share * sum(self.durations), 0
        if not rank:
            return None
        for lower, upper, number in zip((0.0, *BUCKETS), BUCKETS, self.durations, strict=False):
            if number and below + number >= rank:
                return lower + (upper - lower) * (rank - below) / number
            below += number
        return BUCKETS[-1]


def total(intervals: Iterable[Interval]) -> Interval:
    """Return the sum of intervals."""
    every = [Interval(), *intervals]
    return Interval(
        sum(one.seconds for one in every),
        tuple(map(sum, zip(*(one.outcomes for one in every), strict=True))),
        sum(one.hits for one in every),
        sum(one.misses for one in every),
        tuple(map(sum, zip(*(one.durations for one in every), strict=True))),
    )


class History:
    """The intervals of the last hour. It reads neither counters nor a clock itself."""

    def __init__(self) -> None:
        self._intervals: deque[tuple[int, Interval]] = deque(maxlen=KEPT)  # each with the minute of its middle
        self._last: tuple[float, Interval] | None = None

    def record(self, now: float, totals: Totals) -> None:
        """Add an interval: what the counters grew by since the last call. `now` is in seconds since 1970."""
        so_far = _since_the_start(totals)
        if self._last is not None:
            then, before = self._last
            self._intervals.append((int((then + now) / 2 // 60), _difference(so_far, before, now - then)))
        self._last = (now, so_far)

    def minutes(self, now: float) -> tuple[Interval, ...]:
        """Return the last hour minute by minute of the clock, the oldest first; the last minute has only begun."""
        last = int(now // 60)
        by_minute = {number: total(one for _, one in entries) for number, entries in self._by_minute()}
        return tuple(by_minute.get(number, Interval()) for number in range(last - MINUTES + 1, last + 1))

    def recent(self) -> Interval:
        """Return the last 60 seconds that were recorded."""
        return total(one for _, one in list(self._intervals)[-round(60 / EVERY) :])

    def _by_minute(self) -> Iterable[tuple[int, Iterable[tuple[int, Interval]]]]:
        return itertools.groupby(self._intervals, key=lambda entry: entry[0])


def _since_the_start(totals: Totals) -> Interval:
    by_outcome = dict.fromkeys(Outcome, 0)
    for (_, outcome), number in totals.requests.items():
        by_outcome[outcome] += number
    hits, misses = (totals.durations[cache].cumulative for cache in _LOOKED_UP)
    cumulative = [hit + miss for hit, miss in zip(hits, misses, strict=True)]
    buckets = tuple(upper - lower for lower, upper in itertools.pairwise((0, *cumulative)))
    return Interval(0.0, tuple(by_outcome.values()), hits[-1], misses[-1], buckets)


def _difference(now: Interval, before: Interval, seconds: float) -> Interval:
    return Interval(
        max(0.0, seconds),
        tuple(one - other for one, other in zip(now.outcomes, before.outcomes, strict=True)),
        now.hits - before.hits,
        now.misses - before.misses,
        tuple(one - other for one, other in zip(now.durations, before.durations, strict=True)),
    )
