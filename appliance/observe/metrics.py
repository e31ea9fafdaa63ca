"""Counters in memory that all processes share: each worker adds in its own row, and whoever asks sums the rows.

A row has one writer and its words are aligned, so nothing is locked: a reader sees a word before or after an addition,
never half of one. A new worker goes on in the row of one that ended, so that sums never fall.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate, count, product
from typing import Final

import msgspec

from appliance.outcomes import Cause, Outcome

BUCKETS: Final = (
    *(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
"""Upper bounds in seconds; a cached answer is made in 10 us, another in a tenth of a millisecond, Help Scout waits some
seconds."""

CACHES: Final = ("hit", "miss", "")

# The words of a row that stand for a state and are cleared when its process ends.
_BEAT, _READY, _SETTLED, _GENERATION, _OPEN, _TRAIL_WAITING, _TRAIL_FAULT, *_ = _STATE = range(7)
# The words that only ever grow. After them: requests by app and outcome, refusals by app and cause, then
# the histograms by cache.
_OPENED, _HANDSHAKES, _REJECTED, _DROPPED, _LINES, _TRAIL_LOST, _REQUESTS = range(len(_STATE), len(_STATE) + 7)


class Row:
    """The counters of one process, to be added to by that process alone."""

    __slots__ = ("_buckets", "_refusals", "_requests", "_sums", "_words")

    def __init__(
        self,
        words: memoryview,
        requests: dict[tuple[str, str], int],
        buckets: dict[str, int],
        refusals: dict[tuple[str, str], int],
    ) -> None:
        self._words = words
        self._requests = requests
        self._refusals = refusals
        self._buckets = buckets
        self._sums = {cache: first + len(BUCKETS) + 1 for cache, first in buckets.items()}

    def request(self, app: str, outcome: Outcome, cache: str, seconds: float) -> None:
        """Count an answered request; `app` is "" for none, `cache` "" when no cache was asked."""
        words = self._words
        words[self._requests[app, outcome]] += 1
        words[self._buckets[cache] + bisect_left(BUCKETS, seconds)] += 1
        words[self._sums[cache]] += int(seconds * 1e9) if seconds > 0 else 0

    def refusal(self, app: str, cause: Cause, now: float) -> None:
        """Count a wrong signature whose likely cause is known, at `now`, seconds since 1970."""
        word = self._refusals[app, cause]
        self._words[word] += 1
        self._words[word + 1] = int(now)

    def connection_opened(self) -> None:
        """Count a connection."""
        self._words[_OPEN] += 1
        self._words[_OPENED] += 1

    def connection_closed(self) -> None:
        """Count one open connection less."""
        self._words[_OPEN] -= 1

    def handshake_failed(self) -> None:
        """Count a TLS handshake that did not end well."""
        self._words[_HANDSHAKES] += 1

    def accept_rejected(self) -> None:
        """Count a connection that was closed as soon as it was accepted."""
        self._words[_REJECTED] += 1

    def dropped(self) -> None:
        """Count a connection that was closed to make room, or for being too slow."""
        self._words[_DROPPED] += 1

    def lines_dropped(self, lines: int) -> None:
        """Count log lines that were lost."""
        self._words[_LINES] += lines

    def trail_lost(self, lines: int) -> None:
        """Count lines of the access trail that were lost."""
        self._words[_TRAIL_LOST] += lines

    @property
    def trail_waiting(self) -> int:
        """Lines of the access trail that are not written yet; those of a process that has ended never will be."""
        return self._words[_TRAIL_WAITING]

    @trail_waiting.setter
    def trail_waiting(self, lines: int) -> None:
        self._words[_TRAIL_WAITING] = lines

    @property
    def trail_fault(self) -> int:
        """The errno of why the access trail cannot be written; 0 when it can."""
        return self._words[_TRAIL_FAULT]

    @trail_fault.setter
    def trail_fault(self, number: int) -> None:
        self._words[_TRAIL_FAULT] = number

    def beat(self) -> None:
        """Show that the process's loop goes round."""
        self._words[_BEAT] += 1

    @property
    def beats(self) -> int:
        """How often the loop went round."""
        return self._words[_BEAT]

    @property
    def ready(self) -> bool:
        """Whether the process does its work."""
        return bool(self._words[_READY])

    @ready.setter
    def ready(self, ready: bool) -> None:
        self._words[_READY] = ready

    @property
    def settled(self) -> bool:
        """Whether the steward has imported once, well or not, or needed not to."""
        return bool(self._words[_SETTLED])

    @settled.setter
    def settled(self, settled: bool) -> None:
        self._words[_SETTLED] = settled

    @property
    def generation(self) -> int:
        """The snapshot that the process answers from; 0 for none."""
        return self._words[_GENERATION]

    @generation.setter
    def generation(self, generation: int) -> None:
        self._words[_GENERATION] = generation

    def clear_state(self) -> None:
        """Forget what the process was, which has ended; what it counted stays."""
        for word in _STATE:
            self._words[word] = 0


class Histogram(msgspec.Struct, frozen=True):
    """How many requests took at most as long as each of BUCKETS, the last: all; and how long all took."""

    cumulative: tuple[int, ...]
    seconds: float


class Refusals(msgspec.Struct, frozen=True):
    """Wrong signatures of one app for one cause: how many were looked at, and when the last, seconds since 1970."""

    count: int
    last: int


class Totals(msgspec.Struct, frozen=True):
    """The sums over all rows."""

    requests: dict[tuple[str, Outcome], int]
    refusals: dict[tuple[str, Cause], Refusals]  # only those that there were
    durations: dict[str, Histogram]  # by cache
    open: int
    opened: int
    handshakes_failed: int
    rejected: int
    dropped: int
    lines_dropped: int
    trail_lost: int
    trail_fault: int  # an errno of a worker's, or 0
    ready: int
    generations: tuple[int, ...]  # of the ready workers


class Table:
    """All rows: one for each place that a worker can take, and the steward's."""

    def __init__(self, apps: Sequence[str], workers: int) -> None:
        """Make it before the fork. Twice as many places as workers: the old ones drain while the new ones serve."""
        self.layout: Final = (tuple(apps), workers)
        self.places: Final = 2 * workers
        number = count(_REQUESTS)
        self._requests: dict[tuple[str, str], int] = {
            (app, outcome): next(number) for app in dict.fromkeys((*apps, "")) for outcome in Outcome
        }
        first = next(number)
        # Two words each: how many, and the time of the last.
        self._refusals: dict[tuple[str, str], int] = {
            (app, cause): first + 2 * index for index, (app, cause) in enumerate(product(dict.fromkeys(apps), Cause))
        }
        first, size = first + 2 * len(self._refusals), len(BUCKETS) + 2
        self._buckets = {cache: first + size * index for index, cache in enumerate(CACHES)}
        # Rows begin on cache lines of their own: two processors that write to one line slow each other down.
        width = -(-(first + size * len(CACHES)) // 8) * 8
        memory = memoryview(mmap.mmap(-1, 8 * width * (self.places + 1))).cast("Q")
        rows = [memory[width * place : width * (place + 1)] for place in range(self.places + 1)]
        self._rows = tuple(Row(words, self._requests, self._buckets, self._refusals) for words in rows)
        self._words = rows[:-1]

    def row(self, place: int) -> Row:
        """Give the row of a worker's place."""
        return self._rows[place]

    @property
    def steward(self) -> Row:
        """The steward's row."""
        return self._rows[-1]

    def totals(self) -> Totals:
        """Sum up."""

        def total(word: int) -> int:
            return sum(words[word] for words in self._words)

        refusals = {
            (app, Cause(cause)): Refusals(total(word), max(words[word + 1] for words in self._words))
            for (app, cause), word in self._refusals.items()
        }
        ready = [row for row in self._rows[:-1] if row.ready]
        return Totals(
            requests={(app, Outcome(outcome)): total(word) for (app, outcome), word in self._requests.items()},
            refusals={place: found for place, found in refusals.items() if found.count},
            durations={cache: self._histogram(total, first) for cache, first in self._buckets.items()},
            open=total(_OPEN),
            opened=total(_OPENED),
            handshakes_failed=total(_HANDSHAKES),
            rejected=total(_REJECTED),
            dropped=total(_DROPPED),
            lines_dropped=total(_LINES),
            trail_lost=total(_TRAIL_LOST),
            trail_fault=max(words[_TRAIL_FAULT] for words in self._words),
            ready=len(ready),
            generations=tuple(row.generation for row in ready),
        )

    @staticmethod
    def _histogram(total: Callable[[int], int], first: int) -> Histogram:
        counts = [total(first + bucket) for bucket in range(len(BUCKETS) + 1)]
        return Histogram(tuple(accumulate(counts)), total(first + len(counts)) / 1e9)
