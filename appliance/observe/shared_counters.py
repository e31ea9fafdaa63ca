"""Counters in memory that all processes share: each child counts in a row of its own, and a reader sums the rows.

This is how the processes talk to each other about numbers. The supervisor maps one block of anonymous memory before it
forks, so every child has it, too. It holds a row for each worker, twice as many as there are workers because old ones
drain while new ones serve, and a row for the steward. A row is a sequence of unsigned 64-bit words:

    words              meaning                                                      when the process has ended
    _BEATS             heartbeats: the event loop still turns                       0
    _READY             1: a worker accepts requests; the steward answers            0
    _INITIAL_IMPORT    1: the steward has imported once, or did not need to         0
    _GENERATION        the snapshot that a worker answers from; 0: none             0
    _OPEN              connections that are open now                                0
    _TRAIL_WAITING     lines of the audit trail that are not written yet            0, after they are counted as lost
    _TRAIL_ERROR       errno: why the audit trail cannot be written; 0: it can      0
    _CHALLENGED        1: the steward lets an authority prove a name                0
    _OPENED and after  counters of connections and lines                            kept
    then               one counter for each app and outcome                         kept
    then               for each app and cause of a wrong signature: how many, and   kept
                       when the last was (seconds since 1970)
    then               for each of CACHES a histogram: one counter for each bucket, kept
                       the last for longer ones, then the sum in nanoseconds

Who writes: one process at a time, the child that has the row. The supervisor writes to it only between two children: it
resets the gauges (the words that are not kept), and a new worker continues from there, so sums never decrease.

Who reads: the steward, for the admin pages, and the supervisor, for readiness and heartbeats, at any time.

Tearing: nothing is locked. The words are aligned, so the processor stores each whole: a reader sees a word before or
after an addition, never half of one. It may see the words of one request at different moments, such as its counter
without its duration. Such a difference is gone at the next look, and nothing depends on it.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate, product
from typing import Final, NamedTuple

import msgspec

from appliance.outcomes import Cause, Outcome

BUCKETS: Final = (
    *(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
"""Upper bounds in seconds. A cached answer takes about 10 µs, any other about 100 µs; help desks wait some seconds."""

CACHES: Final = ("hit", "miss", "")

# The gauges: reset when the process has ended.
_BEATS: Final = 0
_READY: Final = 1
_INITIAL_IMPORT: Final = 2
_GENERATION: Final = 3
_OPEN: Final = 4
_TRAIL_WAITING: Final = 5
_TRAIL_ERROR: Final = 6
_CHALLENGED: Final = 7
_GAUGES: Final = 8
"""How many words are gauges."""

# The counters: they only ever grow.
_OPENED: Final = 8
_HANDSHAKES_FAILED: Final = 9
_REJECTED: Final = 10
_DROPPED: Final = 11
_LINES_DROPPED: Final = 12
_TRAIL_LOST: Final = 13
_HEADERS_REFUSED: Final = 14
_FIRST_REQUEST: Final = 15

_WORDS_PER_CACHE_LINE: Final = 8  # of 64 bytes


class RowLayout(NamedTuple):
    """Where the words of a row stand that depend on the apps, and how many words a row has."""

    requests: dict[tuple[str, str], int]  # by app and outcome
    refusals: dict[tuple[str, str], int]  # by app and cause: two words, how many and the time of the last
    buckets: dict[str, int]  # by cache: the first bucket
    width: int


def _lay_out(apps: Sequence[str]) -> RowLayout:
    names = tuple(dict.fromkeys(apps))
    first = _FIRST_REQUEST
    answered = product(dict.fromkeys((*names, "")), Outcome)
    requests: dict[tuple[str, str], int] = {key: first + index for index, key in enumerate(answered)}
    first += len(requests)
    refusals: dict[tuple[str, str], int] = {key: first + 2 * index for index, key in enumerate(product(names, Cause))}
    first += 2 * len(refusals)
    size = len(BUCKETS) + 2
    buckets = {cache: first + size * index for index, cache in enumerate(CACHES)}
    first += size * len(CACHES)
    # A row begins on a cache line of its own: two processors that write to one line slow each other down.
    lines = (first + _WORDS_PER_CACHE_LINE - 1) // _WORDS_PER_CACHE_LINE
    return RowLayout(requests, refusals, buckets, lines * _WORDS_PER_CACHE_LINE)


class ChildStatus:
    """What a child process tells the supervisor of itself."""

    __slots__ = ("_words",)

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def beat(self) -> None:
        """Show that the event loop of the process still turns."""
        self._words[_BEATS] += 1

    @property
    def beats(self) -> int:
        """How often the process has shown that its event loop turns."""
        return self._words[_BEATS]

    @property
    def ready(self) -> bool:
        """Whether the process does its work."""
        return bool(self._words[_READY])

    @ready.setter
    def ready(self, ready: bool) -> None:
        self._words[_READY] = ready

    @property
    def initial_import_done(self) -> bool:
        """Whether the steward has tried to import once, successfully or not, or did not need to."""
        return bool(self._words[_INITIAL_IMPORT])

    @initial_import_done.setter
    def initial_import_done(self, done: bool) -> None:
        self._words[_INITIAL_IMPORT] = done

    @property
    def generation(self) -> int:
        """The snapshot that the process answers from; 0 for none."""
        return self._words[_GENERATION]

    @generation.setter
    def generation(self, generation: int) -> None:
        self._words[_GENERATION] = generation

    @property
    def challenged(self) -> bool:
        """Whether the steward lets an authority prove a name now, so that workers look for challenges."""
        return bool(self._words[_CHALLENGED])

    @challenged.setter
    def challenged(self, challenged: bool) -> None:
        self._words[_CHALLENGED] = challenged


class WorkerCounters:
    """What a worker counts. Only the process that has the row may add to it."""

    __slots__ = ("_buckets", "_refusals", "_requests", "_sums", "_words")

    def __init__(self, words: memoryview, layout: RowLayout) -> None:
        self._words = words
        self._requests = layout.requests
        self._refusals = layout.refusals
        self._buckets = layout.buckets
        self._sums = {cache: first + len(BUCKETS) + 1 for cache, first in layout.buckets.items()}

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
        """Count a connection that was accepted."""
        self._words[_OPEN] += 1
        self._words[_OPENED] += 1

    def connection_closed(self) -> None:
        """Count one open connection less."""
        self._words[_OPEN] -= 1

    def handshake_failed(self) -> None:
        """Count a TLS handshake that failed."""
        self._words[_HANDSHAKES_FAILED] += 1

    def accept_rejected(self) -> None:
        """Count a connection that was closed as soon as it was accepted."""
        self._words[_REJECTED] += 1

    def header_refused(self) -> None:
        """Count a connection that did not begin with a good PROXY header."""
        self._words[_HEADERS_REFUSED] += 1

    def connection_dropped(self) -> None:
        """Count a connection that was closed to make room, or for being too slow."""
        self._words[_DROPPED] += 1

    def lines_dropped(self, lines: int) -> None:
        """Count log lines that were lost."""
        self._words[_LINES_DROPPED] += lines

    def trail_lost(self, lines: int) -> None:
        """Count lines of the audit trail that were lost."""
        self._words[_TRAIL_LOST] += lines

    @property
    def trail_waiting(self) -> int:
        """Lines of the audit trail that are not written yet; those of a process that has ended never will be."""
        return self._words[_TRAIL_WAITING]

    @trail_waiting.setter
    def trail_waiting(self, lines: int) -> None:
        self._words[_TRAIL_WAITING] = lines

    @property
    def trail_error(self) -> int:
        """The errno that says why the audit trail cannot be written; 0 when it can."""
        return self._words[_TRAIL_ERROR]

    @trail_error.setter
    def trail_error(self, number: int) -> None:
        self._words[_TRAIL_ERROR] = number


class ChildRow:
    """The words of one child process."""

    __slots__ = ("counters", "status", "words")

    def __init__(self, words: memoryview, layout: RowLayout) -> None:
        self.words: Final = words
        self.status: Final = ChildStatus(words)
        self.counters: Final = WorkerCounters(words, layout)

    def reset_gauges(self) -> None:
        """Forget the state of the process, which has ended; what it counted stays."""
        for word in range(_GAUGES):
            self.words[word] = 0


class CumulativeHistogram(msgspec.Struct, frozen=True):
    """How many requests took at most as long as each of BUCKETS, the last: all; and how long all took together."""

    cumulative: tuple[int, ...]
    seconds: float


class CauseCount(msgspec.Struct, frozen=True):
    """Wrong signatures of one app with one cause: how many were diagnosed, and when the last, seconds since 1970."""

    count: int
    last: int


class Totals(msgspec.Struct, frozen=True):
    """The sums over the rows of all workers."""

    requests: dict[tuple[str, Outcome], int]
    refusals: dict[tuple[str, Cause], CauseCount]  # without those that never occurred
    durations: dict[str, CumulativeHistogram]  # by cache
    open: int
    opened: int
    handshakes_failed: int
    headers_refused: int
    rejected: int
    dropped: int
    lines_dropped: int
    trail_lost: int
    trail_error: int  # an errno of a worker's, or 0
    ready: int
    generations: tuple[int, ...]  # of the ready workers


class SharedCounters:
    """All rows: one for each place that a worker can take, and the steward's."""

    def __init__(self, apps: Sequence[str], workers: int) -> None:
        """Map the memory; to be called before the fork. Raises OSError if there is none."""
        self.shape: Final = (tuple(apps), workers)
        """What it was made with: one of another shape cannot go on in its place."""
        self.places: Final = 2 * workers
        self._layout = layout = _lay_out(apps)
        width = layout.width
        memory = memoryview(mmap.mmap(-1, 8 * width * (self.places + 1))).cast("Q")
        rows = [ChildRow(memory[width * place : width * (place + 1)], layout) for place in range(self.places + 1)]
        self._workers = rows[:-1]
        self.steward: Final = rows[-1]
        """The steward's row."""

    def worker(self, place: int) -> ChildRow:
        """Return the row of a worker's place, from 0."""
        return self._workers[place]

    def totals(self) -> Totals:
        """Return the sums over all workers."""
        rows = [row.words for row in self._workers]

        def total(word: int) -> int:
            return sum(words[word] for words in rows)

        refusals = {
            (app, Cause(cause)): CauseCount(total(word), max(words[word + 1] for words in rows))
            for (app, cause), word in self._layout.refusals.items()
        }
        ready = [row.status for row in self._workers if row.status.ready]
        return Totals(
            requests={(app, Outcome(outcome)): total(word) for (app, outcome), word in self._layout.requests.items()},
            refusals={key: found for key, found in refusals.items() if found.count},
            durations={cache: _histogram(total, first) for cache, first in self._layout.buckets.items()},
            open=total(_OPEN),
            opened=total(_OPENED),
            handshakes_failed=total(_HANDSHAKES_FAILED),
            headers_refused=total(_HEADERS_REFUSED),
            rejected=total(_REJECTED),
            dropped=total(_DROPPED),
            lines_dropped=total(_LINES_DROPPED),
            trail_lost=total(_TRAIL_LOST),
            trail_error=max(words[_TRAIL_ERROR] for words in rows),
            ready=len(ready),
            generations=tuple(status.generation for status in ready),
        )


def _histogram(total: Callable[[int], int], first: int) -> CumulativeHistogram:
    counts = [total(first + bucket) for bucket in range(len(BUCKETS) + 1)]
    return CumulativeHistogram(tuple(accumulate(counts)), total(first + len(counts)) / 1e9)
