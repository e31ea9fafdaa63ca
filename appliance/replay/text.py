"""A result as text, with a plot of the latency over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from appliance.replay.result import LoadTestResult, show_ms
from appliance.replay.timeline import TimelinePoint

WIDTH: Final = 60
HEIGHT: Final = 8
_P50, _P99, _NOTHING = "█░ "
_CONNECTIONS: Final = {
    "kept": "kept connections",
    "new": "connections at a time, new for each request",
    "resumed": "connections at a time, new for each request, offering the last session",
}


def headline(result: LoadTestResult) -> str:
    """Return what was done, in one line."""
    rate = f"{result.rate:,.10g} requests/s planned" if result.rate is not None else "closed loop"
    processes = f"{result.processes} process{'es' * (result.processes > 1)}"
    return (
        f"{result.url}: {result.seconds:,.1f} s, {rate}, {result.connections:,} {_CONNECTIONS[result.connection]},"
        f" from {processes}"
    )


def rows(result: LoadTestResult) -> Iterator[tuple[str, str]]:
    """Yield each figure with its name."""
    planned = f", {result.planned:,} planned" if result.planned is not None else ""
    yield "requests", f"{result.answered:,} answered, {result.answers_per_second:,.1f} per second{planned}"
    if result.latency:
        since = "planned start" if result.loop == "open" else "start"
        figures = ", ".join(f"{name} {show_ms(ms)}" for name, ms in result.latency.items())
        yield "latency", f"{figures} ms, from the {since}"
    if result.verdict:
        yield "verdict", result.verdict
    yield "statuses", ", ".join(f"{status}: {count:,}" for status, count in result.statuses.items()) or "none"
    yield "wrong", f"{sum(wrong.count for wrong in result.wrong.values()):,}"
    yield "failed", f"{result.failed:,}"
    if result.planned is not None:
        yield "not started", f"{result.not_started:,}"
        yield "started late", f"{result.waited:,} waiting for a free connection, {result.late:,} by the load generator"
    if result.offered:
        yield "resumed", f"{result.resumed:,} of {result.offered:,} sessions offered"
    yield "connections", f"{result.opened:,} opened during the run"
    yield "generator", f"busiest process at {result.generator_cpu:.0%} of a CPU"


def as_text(result: LoadTestResult) -> str:
    """Return the whole result."""
    width = max(len(name) for name, _ in rows(result))
    lines = [headline(result), "", *(f"{name:<{width}}  {figures}" for name, figures in rows(result))]
    if any(point.answers for point in result.points):
        lines += ["", *plot(result.points)]
    lines += [f"note: {note}" for note in result.notes]
    lines += [f"FAULT: {fault}" for fault in result.faults]
    return "\n".join(lines)


def plot(points: Sequence[TimelinePoint]) -> list[str]:
    """Return lines that plot p50 and p99 over time; of intervals that share a column, the worst."""
    columns = [_worst(part) for part in _parts(points, min(WIDTH, len(points)))]
    top = max(p99 for _, p99 in columns) or 1.0
    label = len(show_ms(top)) + 3
    lines = [f"latency over time: {_P50} p50, {_P99} p99"]
    for row in range(HEIGHT, 0, -1):
        least = top * (row - 0.5) / HEIGHT
        bars = "".join(_P50 if p50 >= least else _P99 if p99 >= least else _NOTHING for p50, p99 in columns)
        name = f"{show_ms(top)} ms" if row == HEIGHT else ""
        lines.append(f"{name:>{label}} |{bars}".rstrip())
    end = f"{points[-1].at:g} s"
    return [
        *lines,
        f"{'0':>{label}} +{'-' * len(columns)}",
        f"{'':>{label}}  0{end:>{max(len(end) + 1, len(columns) - 1)}}",
    ]


def _parts(points: Sequence[TimelinePoint], count: int) -> list[Sequence[TimelinePoint]]:
    return [points[place * len(points) // count : (place + 1) * len(points) // count] for place in range(count)]


def _worst(points: Sequence[TimelinePoint]) -> tuple[float, float]:
    return max(point.p50 for point in points), max(point.p99 for point in points)
