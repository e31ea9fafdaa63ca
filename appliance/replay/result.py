"""What came of a run: the figures of all its processes, and whether that is good."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from appliance import __version__
from appliance.replay.histogram import Histogram
from appliance.replay.plan import Plan
from appliance.replay.tally import HINTS, Ended, Slice, Wrong
from appliance.replay.target import Resuming, Target

PERCENTS: Final = (50.0, 75.0, 90.0, 99.0, 99.9, 99.99)
MANY: Final = 0.01
"""A share of the requests that is worth a word."""

BUSY: Final = 0.9
"""A share of a CPU's time: a generator that needs more measures itself."""


class Point(msgspec.Struct, frozen=True):
    """One step of the course over time, by when the answers came. Latencies are milliseconds."""

    at: float  # seconds since the start, of its end
    answers: int
    p50: float
    p99: float
    largest: float
    failed: int
    wrong: int


class Counts(msgspec.Struct):
    """What all processes counted over the whole time, see Slice."""

    statuses: dict[int, int] = {}
    wrong: dict[str, Wrong] = {}
    failures: dict[str, int] = {}
    late: int = 0
    waited: int = 0
    opened: int = 0
    offered: int = 0
    resumed: int = 0

    def add(self, part: Slice) -> None:
        """Count what `part` has counted."""
        for status, count in part.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + count
        for kind, count in part.failures.items():
            self.failures[kind] = self.failures.get(kind, 0) + count
        for why, wrong in part.wrong.items():
            self.wrong.setdefault(why, Wrong(0, wrong.first, wrong.difference)).count += wrong.count
        for name in ("late", "waited", "opened", "offered", "resumed"):
            setattr(self, name, getattr(self, name) + getattr(part, name))


class Course:
    """Puts together what the processes tell: the whole, and the points over time."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._parts: dict[int, list[Slice]] = {}
        self.counts: Final = Counts()
        self.latencies: Final = Histogram()
        self.points: Final[list[Point]] = []

    def add(self, part: Slice, running: int) -> Point | None:
        """Take one slice; give its point if the `running` processes have all told of this time."""
        self.counts.add(part)
        self._parts.setdefault(part.place, []).append(part)
        return self._join(part.place) if len(self._parts[part.place]) >= running else None

    def finish(self) -> None:
        """Put together what is left, when all processes have ended."""
        for place in sorted(self._parts):
            self._join(place)
        self.points.sort(key=lambda point: point.at)

    def _join(self, place: int) -> Point:
        parts = self._parts.pop(place)
        latencies = Histogram()
        for part in parts:
            latencies.merge(Histogram(part.latencies, part.largest))
        self.latencies.merge(latencies)
        p50, p99 = latencies.percentiles((50.0, 99.0))
        point = Point(
            at=round(min((place + 1) * self._plan.step, self._plan.duration), 3),
            answers=latencies.count,
            p50=p50 / 1000,
            p99=p99 / 1000,
            largest=latencies.largest / 1000,
            failed=sum(count for part in parts for count in part.failures.values()),
            wrong=sum(wrong.count for part in parts for wrong in part.wrong.values()),
        )
        self.points.append(point)
        return point


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A run, as `--json` prints it. Latencies are milliseconds, from the planned start in an open loop."""

    version: str
    started: str  # ISO 8601, UTC
    url: str
    loop: str  # "open" or "closed"
    rate: float | None
    connections: int
    processes: int
    connection: str  # "kept", "new" or "resumed"
    seconds: float
    interrupted: bool
    planned: int | None
    answered: int
    failed: int
    unsent: int
    answers_per_second: float
    latency: dict[str, float]  # empty if nothing was answered
    limit: float | None  # of p99
    statuses: dict[int, int]
    wrong: dict[str, Wrong]
    failures: dict[str, int]
    late: int
    waited: int
    opened: int
    offered: int
    resumed: int
    generator_cpu: float
    notes: tuple[str, ...]
    faults: tuple[str, ...]
    points: tuple[Point, ...]

    @property
    def is_good(self) -> bool:
        """Whether there is nothing to complain of."""
        return not self.faults

    @property
    def verdict(self) -> str:
        """Whether p99 kept to its limit; "" without a limit or an answer."""
        if self.limit is None or not self.latency:
            return ""
        kept = self.latency["p99"] <= self.limit and not _leaves_out(self.unsent, self.answered)
        return f"p99 {show_ms(self.latency['p99'])} ms, limit {self.limit:g} ms: {'yes' if kept else 'no'}"


def sum_up(
    target: Target,
    plan: Plan,
    course: Course,
    ends: Sequence[Ended],
    *,
    started: float,
    max_p99: float | None,
    interrupted: bool,
) -> Result:
    """Return the result of a run that has ended.

    `started` is seconds since 1970, `max_p99` is seconds, or None for any.
    """
    counts, latencies = course.counts, course.latencies
    seconds = max((end.seconds for end in ends), default=0.0)
    busy = max((end.busy / end.seconds for end in ends if end.seconds), default=0.0)
    latency = {}
    if latencies.count:
        microseconds = (*latencies.percentiles(PERCENTS), latencies.largest)
        names = (*(f"p{percent:g}" for percent in PERCENTS), "max")
        latency = {name: number / 1000 for name, number in zip(names, microseconds, strict=True)}
    limit = None if max_p99 is None else round(max_p99 * 1000, 6)
    failed, unsent = sum(counts.failures.values()), sum(end.unsent for end in ends)
    return Result(
        version=__version__,
        started=f"{datetime.fromtimestamp(started, UTC):%Y-%m-%dT%H:%M:%SZ}",
        url=target.url.text,
        loop="closed" if plan.rate is None else "open",
        rate=plan.rate,
        connections=plan.connections,
        processes=plan.processes,
        connection="resumed" if isinstance(target.context, Resuming) else "new" if plan.close else "kept",
        seconds=round(seconds, 3),
        interrupted=interrupted,
        planned=plan.planned,
        answered=latencies.count,
        failed=failed,
        unsent=unsent,
        answers_per_second=round(latencies.count / seconds, 1) if seconds else 0.0,
        latency=latency,
        limit=limit,
        statuses=dict(sorted(counts.statuses.items())),
        wrong=counts.wrong,
        failures=counts.failures,
        late=counts.late,
        waited=counts.waited,
        opened=counts.opened,
        offered=counts.offered,
        resumed=counts.resumed,
        generator_cpu=round(busy, 3),
        notes=tuple(_notes(latencies.count + failed, unsent, counts, busy)),
        faults=tuple(_faults(counts, latencies.count, unsent, latency.get("p99", 0.0), limit, interrupted)),
        points=tuple(course.points),
    )


def _notes(sent: int, unsent: int, counts: Counts, busy: float) -> list[str]:
    """Give sentences on how far the figures can be believed."""
    notes = []
    if counts.late > sent * MANY:
        notes.append(
            f"the generator itself started {counts.late / sent:.0%} of the requests late, and their latency has that"
            " in it: run it on another machine, with more --processes, or at a lower --rate"
        )
    if busy > BUSY:
        notes.append(
            f"a process of the generator used {busy:.0%} of a CPU, so the rate is its own limit:"
            " give it more --processes, or another machine"
        )
    if counts.waited > sent * MANY:
        notes.append(
            f"{counts.waited / sent:.0%} of the requests waited for a free connection, which is in their latency:"
            " the service is slower than --rate, or there are too few --connections"
        )
    if unsent > (sent + unsent) * MANY:
        notes.append(
            f"{unsent:,} planned requests were never started, and are in no latency: the service is slower than"
            " --rate, or there are too few --connections"
        )
    return notes


def _leaves_out(unsent: int, answered: int) -> bool:
    """Whether so much was never started that p99 says nothing."""
    return unsent > (answered + unsent) * MANY


def show_ms(milliseconds: float) -> str:
    """Return three digits, or all before the point."""
    return f"{milliseconds:.{2 if milliseconds < 10 else 1 if milliseconds < 100 else 0}f}"


def _faults(
    counts: Counts, answered: int, unsent: int, p99: float, max_p99: float | None, interrupted: bool
) -> list[str]:
    """Give sentences on what must not be: with one of them the exit code is 1."""
    faults = [
        f"wrong: {why}: {wrong.count:,} times, the first to line {wrong.first}"
        + (f"; {HINTS[why]}" if why in HINTS else "")
        + (f"; first difference {wrong.difference}" if wrong.difference else "")
        for why, wrong in counts.wrong.items()
    ]
    for kind, count in counts.failures.items():
        faults.append(f"failed: {kind}: {count:,} times" + (f"; {HINTS[kind]}" if kind in HINTS else ""))
    if not answered:
        faults.append("nothing was answered")
    if max_p99 is not None and p99 > max_p99:
        faults.append(f"p99 is {p99:.2f} ms, over the {max_p99:g} ms of --max-p99")
    elif max_p99 is not None and _leaves_out(unsent, answered):
        faults.append(f"p99 is over the {max_p99:g} ms of --max-p99: {unsent:,} requests were never started")
    if interrupted:
        faults.append("interrupted")
    return faults
