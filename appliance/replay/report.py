"""A result as a web page in one file, in the style of the status page, without scripts and without requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tornado.template import Template

from appliance.observe import chart
from appliance.observe.chart import STYLE, Series, latency, short
from appliance.replay.result import PERCENTS, LoadTestResult, show_ms
from appliance.replay.text import headline, rows
from appliance.replay.timeline import TimelinePoint

_TEXT: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>sidebard replay: {{ result.url }}</title>
<style>
{% raw style %}</style>
</head>
<body>
<main>
<header>
<h1>sidebard replay</h1>
<p id="time">{{ started }}, sidebard {{ result.version }}</p>
</header>
<section class="state {{ "good" if result.is_good else "bad" }}">
<h2>{{ "Passed" if result.is_good else "Failed" }}{% if result.verdict %}: {{ result.verdict }}{% end %}</h2>
<p>{{ title }}</p>
{% if result.faults or result.notes %}<ul>
{% for sentence in result.faults + result.notes %}<li>{{ sentence }}</li>
{% end %}</ul>{% end %}
</section>
<section class="tiles">
{% for name, value, more in tiles %}<div><h2>{{ name }}</h2><p>{{ value }}</p><small>{{ more }}</small></div>
{% end %}</section>
<section class="graphs">
{% for name, svg, legend in graphs %}<figure>
<figcaption><h2>{{ name }}</h2><ul>
{% for word, colour in legend %}<li class="{{ colour }}">{{ word }}</li>{% end %}
</ul></figcaption>
{% raw svg %}
</figure>
{% end %}</section>
<section class="tables">
{% for name, table in tables %}<article>
<h2>{{ name }}</h2>
<table class="plain"><tbody>
{% for row in table %}<tr><th scope="row">{{ row[0] }}</th><td>{{ row[1] }}</td></tr>
{% end %}</tbody></table>
</article>
{% end %}</section>
</main>
</body>
</html>
"""
_STYLE: Final = STYLE.read_text("utf-8")  # at import: the folder of an unpacked executable may be emptied meanwhile
_PAGE: Final = Template(_TEXT, autoescape="xhtml_escape")
_LABELS: Final = 4
_EMPTY_SCALE: Final = (0.001, 0.01)  # seconds
_IN_MINUTES: Final = 300.0  # seconds from which a time axis is labelled in minutes

Graph = tuple[str, str, Sequence[tuple[str, str]]]


def as_page(result: LoadTestResult) -> str:
    """Return the page. Every text in it is escaped."""
    figures = [row for row in rows(result) if row[0] not in ("latency", "verdict")]
    tables = [("Figures", figures), ("Latency", [(name, f"{show_ms(ms)} ms") for name, ms in result.latency.items()])]
    page: bytes = _PAGE.generate(
        style=_STYLE,
        title=headline(result),
        started=f"{result.started[:10]} {result.started[11:19]} UTC",
        result=result,
        tiles=list(_tiles(result)),
        graphs=list(_graphs(result)),
        tables=[(name, table) for name, table in tables if table],
    )
    return page.decode()


def _tiles(result: LoadTestResult) -> Iterator[tuple[str, str, str]]:
    yield "Answers per second", short(result.answers_per_second), f"{result.answered:,} answered"
    for name, label in (("p50", "p50"), ("p99", "p99"), ("max", "Slowest")):
        limit = f"limit {result.limit:g} ms" if name == "p99" and result.limit is not None else "latency"
        yield label, f"{show_ms(result.latency[name])} ms" if result.latency else "–", limit
    wrong = sum(each.count for each in result.wrong.values())
    yield "Wrong", short(wrong), "responses"
    yield "Failed", short(result.failed), "without a response"


def _graphs(result: LoadTestResult) -> Iterator[Graph]:
    points = result.points
    times = _times(points)
    series = [
        _latencies("max", "worst", [point.largest for point in points], points),
        _latencies("p99", "slowest", [point.p99 for point in points], points),
        _latencies("p50", "typical", [point.p50 for point in points], points),
    ]
    if result.limit is not None:
        series.append(Series("limit of p99", "trouble", [result.limit / 1000] * len(points)))
    yield _graph("Latency over time", series, times)
    steps = [point.at - before for point, before in zip(points, [0.0, *(each.at for each in points)], strict=False)]
    rates = [
        Series("answers", "found", [point.answers / step for point, step in zip(points, steps, strict=True)]),
        Series("wrong or failed", "trouble",
               [(point.wrong + point.failed) / step for point, step in zip(points, steps, strict=True)]),
    ]  # fmt: skip
    top = max((value or 0.0 for one in rates for value in one.values), default=0.0)
    yield (
        "Answers per second",
        chart.lines(rates, chart.from_zero(max(top, 1), short), times, f"peak {short(top)} per second"),
        [(one.name, one.style) for one in rates],
    )
    names = [f"p{percent:g}" for percent in PERCENTS]
    known = [Series("latency", "slowest", [result.latency.get(name, 0.0) / 1000 or None for name in names])]
    yield _graph("Latency by percentile", known, [f"{percent:g}" for percent in PERCENTS], at=0.5)


def _latencies(name: str, style: str, milliseconds: Sequence[float], points: Sequence[TimelinePoint]) -> Series:
    values = [ms / 1000 if point.answers else None for ms, point in zip(milliseconds, points, strict=True)]
    return Series(name, style, values)


def _graph(name: str, series: Sequence[Series], times: Sequence[str], at: float = 0.0) -> Graph:
    """Return a chart of latencies on a logarithmic scale, so that both p50 and the slowest can be read."""
    known = [value for one in series for value in one.values if value]
    words = f"at most {latency(max(known))}" if known else "no responses"
    svg = chart.lines(series, chart.by_tens(known or _EMPTY_SCALE, latency), times, words, at)
    return name, svg, [(one.name, one.style) for one in series] if len(series) > 1 else []


def _times(points: Sequence[TimelinePoint]) -> list[str]:
    """Return the labels of the time axis: the beginning of each quarter, "" elsewhere."""
    labels = [""] * max(1, len(points))
    for mark in range(_LABELS):
        index = mark * len(labels) // _LABELS
        seconds = points[index - 1].at if index else 0.0
        in_minutes = bool(points) and points[-1].at >= _IN_MINUTES
        labels[index] = f"{seconds / 60:.3g} min" if in_minutes and index else f"{seconds:g} s"
    return labels
