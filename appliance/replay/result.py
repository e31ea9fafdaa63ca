"""The result of a load test: its figures, and whether it has passed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from appliance import __version__
from appliance.http_client import HINTS
from appliance.replay.interval_stats import OTHER_BODY, OTHER_BODY_HINT, Ended, Wrong
from appliance.replay.load_profile import LoadProfile
from appliance.replay.target import LoadTarget, ResumingContext
from appliance.replay.timeline import Counts, Timeline, TimelinePoint

PERCENTS: Final = (50.0, 75.0, 90.0, 99.0, 99.9, 99.99)
MANY: Final = 0.01
"""A share of the requests that is worth mentioning."""

BUSY: Final = 0.9
"""A share of a CPU's time: a load generator that needs more measures itself."""


class LoadTestResult(msgspec.Struct, frozen=True, kw_only=True):
    """A load test, as `--json` prints it. Latencies are milliseconds, from the planned start in an open loop."""

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
    not_started: int = msgspec.field(name="unsent")
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
    points: tuple[TimelinePoint, ...]

    @property
    def is_good(self) -> bool:
        """Whether the load test has passed."""
        return not self.faults

    @property
    def verdict(self) -> str:
        """Whether p99 is within its limit; "" without a limit or an answer."""
        if self.limit is None or not self.latency:
            return ""
        kept = self.latency["p99"] <= self.limit and not _leaves_out(self.not_started, self.answered)
        return f"p99 {show_ms(self.latency['p99'])} ms, limit {self.limit:g} ms: {'yes' if kept else 'no'}"


def summarize(
    target: LoadTarget,
    profile: LoadProfile,
    timeline: Timeline,
    ends: Sequence[Ended],
    *,
    started: float,
    max_p99: float | None,
    interrupted: bool,
) -> LoadTestResult:
    """Return the result of a load test that has ended.

    `started` is seconds since 1970; `max_p99` is seconds, or None for no limit.
    """
    counts, latencies = timeline.counts, timeline.latencies
    seconds = max((end.seconds for end in ends), default=0.0)
    busy = max((end.busy / end.seconds for end in ends if end.seconds), default=0.0)
    latency = {}
    if latencies.count:
        microseconds = (*latencies.percentiles(PERCENTS), latencies.largest)
        names = (*(f"p{percent:g}" for percent in PERCENTS), "max")
        latency = {name: number / 1000 for name, number in zip(names, microseconds, strict=True)}
    limit = None if max_p99 is None else round(max_p99 * 1000, 6)
    failed, not_started = sum(counts.failures.values()), sum(end.not_started for end in ends)
    return LoadTestResult(
        version=__version__,
        started=f"{datetime.fromtimestamp(started, UTC):%Y-%m-%dT%H:%M:%SZ}",
        url=target.url.text,
        loop="closed" if profile.rate is None else "open",
        rate=profile.rate,
        connections=profile.connections,
        processes=profile.processes,
        connection="resumed" if isinstance(target.context, ResumingContext) else "new" if profile.close else "kept",
        seconds=round(seconds, 3),
        interrupted=interrupted,
        planned=profile.planned,
        answered=latencies.count,
        failed=failed,
        not_started=not_started,
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
        notes=tuple(_notes(latencies.count + failed, not_started, counts, busy)),
        faults=tuple(_faults(counts, latencies.count, not_started, latency.get("p99", 0.0), limit, interrupted)),
        points=tuple(timeline.points),
    )


def _notes(sent: int, not_started: int, counts: Counts, busy: float) -> list[str]:
    """Return sentences on how reliable the figures are."""
    notes = []
    if counts.late > sent * MANY:
        notes.append(
            f"the load generator itself started {counts.late / sent:.0%} of the requests late, which is part of their"
            " latency: run it on another machine, with more --processes, or at a lower --rate"
        )
    if busy > BUSY:
        notes.append(
            f"a process of the load generator used {busy:.0%} of a CPU, so it limits the rate itself:"
            " use more --processes, or another machine"
        )
    if counts.waited > sent * MANY:
        notes.append(
            f"{counts.waited / sent:.0%} of the requests waited for a free connection, which is part of their latency:"
            " the service is slower than --rate, or there are too few --connections"
        )
    if not_started > (sent + not_started) * MANY:
        notes.append(
            f"{not_started:,} planned requests were never started, and are not part of any latency: the service is"
            " slower than --rate, or there are too few --connections"
        )
    return notes


def _leaves_out(not_started: int, answered: int) -> bool:
    """Return whether so many requests were never started that p99 means nothing."""
    return not_started > (answered + not_started) * MANY


def show_ms(milliseconds: float) -> str:
    """Return a number in three digits, or all digits before the point."""
    return f"{milliseconds:.{2 if milliseconds < 10 else 1 if milliseconds < 100 else 0}f}"


def _faults(
    counts: Counts, answered: int, not_started: int, p99: float, max_p99: float | None, interrupted: bool
) -> list[str]:
    """Return why the load test has failed: with any reason the exit code is 1."""
    faults = [
        f"wrong: {why}: {wrong.count:,} times, the first to line {wrong.first}"
        + (f"; {OTHER_BODY_HINT}" if why == OTHER_BODY else "")
        + (f"; first difference {wrong.difference}" if wrong.difference else "")
        for why, wrong in counts.wrong.items()
    ]
    for kind, count in counts.failures.items():
        faults.append(f"failed: {kind}: {count:,} times" + (f"; {HINTS[kind]}" if kind in HINTS else ""))
    if not answered:
        faults.append("nothing was answered")
    if max_p99 is not None and p99 > max_p99:
        faults.append(f"p99 is {p99:.2f} ms, over the {max_p99:g} ms of --max-p99")
    elif max_p99 is not None and _leaves_out(not_started, answered):
        faults.append(f"p99 is over the {max_p99:g} ms of --max-p99: {not_started:,} requests were never started")
    if interrupted:
        faults.append("interrupted")
    return faults
