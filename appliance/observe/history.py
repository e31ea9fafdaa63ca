"""The last hour: what happened between two looks at the shared counters, one look after the other."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from appliance.observe.metrics import BUCKETS, Totals
from appliance.outcomes import Outcome

EVERY: Final = 10.0
"""Seconds between two looks."""

KEPT: Final = 360
MINUTES: Final = 60
_ASKED: Final = ("hit", "miss")
"""The durations that count: a refusal that reads nothing takes no time, and would make the rest look fast."""


class Span(msgspec.Struct, frozen=True):
    """What happened in some `seconds`, in numbers that only add up; with 0 of them, nobody looked."""

    seconds: float = 0.0
    outcomes: tuple[int, ...] = (0,) * len(Outcome)  # in the order of Outcome
    hits: int = 0
    misses: int = 0
    durations: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)  # each bucket by itself

    @property
    def requests(self) -> int:
        """How many were answered."""
        return sum(self.outcomes)

    @property
    def hit_share(self) -> float | None:
        """The part of the look-ups that the cache answered; None without any."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else None

    def count(self, outcomes: Iterable[Outcome]) -> int:
        """Give how many ended in one of these ways."""
        wanted = frozenset(outcomes)
        return sum(number for outcome, number in zip(Outcome, self.outcomes, strict=True) if outcome in wanted)

    def percentile(self, share: float) -> float | None:
        """Give the seconds within which this share was answered; None when nobody asked.

        It is as exact as the buckets: within one, requests are taken to be spread evenly, as Prometheus does.
        """
        rank, below = share * sum(self.durations), 0
        if not rank:
            return None
        for lower, upper, number in zip((0.0, *BUCKETS), BUCKETS, self.durations, strict=False):
            if number and below + number >= rank:
                return lower + (upper - lower) * (rank - below) / number
            below += number
        return BUCKETS[-1]


def total(spans: Iterable[Span]) -> Span:
    """Add spans up."""
    every = [Span(), *spans]
    return Span(
        sum(span.seconds for span in every),
        tuple(map(sum, zip(*(span.outcomes for span in every), strict=True))),
        sum(span.hits for span in every),
        sum(span.misses for span in every),
        tuple(map(sum, zip(*(span.durations for span in every), strict=True))),
    )


class History:
    """The spans of the last hour. It looks at nothing itself, and is told the time, in seconds since 1970."""

    def __init__(self) -> None:
        self._spans: deque[tuple[int, Span]] = deque(maxlen=KEPT)  # each with the minute that its middle is in
        self._last: tuple[float, Span] | None = None

    def take(self, now: float, totals: Totals) -> None:
        """Take the counters as they are now; what they grew by since the last time is one more span."""
        so_far = _since_the_start(totals)
        if self._last is not None:
            then, before = self._last
            self._spans.append((int((then + now) / 2 // 60), _difference(so_far, before, now - then)))
        self._last = (now, so_far)

    def minutes(self, now: float) -> tuple[Span, ...]:
        """Give the last hour by the minutes of the clock, the oldest first; the last one has only begun."""
        last = int(now // 60)
        by_minute = {number: total(span for _, span in spans) for number, spans in self._by_minute()}
        return tuple(by_minute.get(number, Span()) for number in range(last - MINUTES + 1, last + 1))

    def recent(self) -> Span:
        """Give the last minute that was looked at."""
        return total(span for _, span in list(self._spans)[-round(60 / EVERY) :])

    def _by_minute(self) -> Iterable[tuple[int, Iterable[tuple[int, Span]]]]:
        return itertools.groupby(self._spans, key=lambda entry: entry[0])


def _since_the_start(totals: Totals) -> Span:
    by_outcome = dict.fromkeys(Outcome, 0)
    for (_, outcome), number in totals.requests.items():
        by_outcome[outcome] += number
    hits, misses = (totals.durations[cache].cumulative for cache in _ASKED)
    cumulative = [hit + miss for hit, miss in zip(hits, misses, strict=True)]
    buckets = tuple(upper - lower for lower, upper in itertools.pairwise((0, *cumulative)))
    return Span(0.0, tuple(by_outcome.values()), hits[-1], misses[-1], buckets)


def _difference(now: Span, before: Span, seconds: float) -> Span:
    return Span(
        max(0.0, seconds),
        tuple(one - other for one, other in zip(now.outcomes, before.outcomes, strict=True)),
        now.hits - before.hits,
        now.misses - before.misses,
        tuple(one - other for one, other in zip(now.durations, before.durations, strict=True)),
    )
