"""A result as a web page in one file: nothing is loaded, nothing runs, every text is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from tornado.template import Template

from appliance.replay.charts import Curve, chart
from appliance.replay.result import PERCENTS, Point, Result
from appliance.replay.text import headline, rows

_TEXT: Final = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>sidebard replay: {{ title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 760px; padding: 0 1em }
th { text-align: left; padding-right: 1.5em; vertical-align: top; white-space: nowrap }
svg { width: 100%; font-size: 11px }
path { fill: none; stroke-width: 1.5 }
.grid { stroke: #ddd; stroke-width: 1 } .p50 { stroke: #2a6 } .p99 { stroke: #26c } .max { stroke: #c82 }
.answers { stroke: #26c } .bad { stroke: #c22 } .fault { color: #c22 }
b.p50 { color: #2a6 } b.p99, b.answers { color: #26c } b.max { color: #c82 } b.bad { color: #c22 }
</style>
<h1>sidebard replay</h1>
<p>{{ title }}</p>
{% for fault in result.faults %}<p class="fault">{{ fault }}</p>
{% end %}{% for note in result.notes %}<p>{{ note }}</p>
{% end %}<table>
{% for name, figures in rows %}<tr><th>{{ name }}<td>{{ figures }}
{% end %}</table>
<h2>Latency over time: <b class="p50">p50</b>, <b class="p99">p99</b>, <b class="max">max</b></h2>
{% raw over_time %}
<h2>A second: <b class="answers">answers</b>, <b class="bad">wrong or missing</b></h2>
{% raw rate %}
<h2>Latency by percentile</h2>
{% raw percentiles %}
</html>
"""
_PAGE: Final = Template(_TEXT, autoescape="xhtml_escape")


def as_page(result: Result) -> str:
    """Give the page."""
    points = result.points
    times = [(points[-1].at * part / 4, f"{points[-1].at * part / 4:g} s") for part in range(5)] if points else []
    over_time = [
        Curve("max", [(point.at, point.largest) for point in points]),
        Curve("p99", [(point.at, point.p99) for point in points]),
        Curve("p50", [(point.at, point.p50) for point in points]),
    ]
    rate = [
        Curve("answers", [(at, point.answers / step) for at, step, point in _steps(points)]),
        Curve("bad", [(at, (point.failed + point.wrong) / step) for at, step, point in _steps(points)]),
    ]
    nines = [(_nines(percent), result.latency[f"p{percent:g}"]) for percent in PERCENTS]
    page: bytes = _PAGE.generate(
        title=headline(result),
        result=result,
        rows=rows(result),
        over_time=chart("latency over time", over_time, times, "ms"),
        rate=chart("requests a second over time", rate, times, ""),
        percentiles=chart(
            "latency by percentile",
            [Curve("p99", nines)],
            [(_nines(percent), f"p{percent:g}") for percent in PERCENTS],
            "ms",
        ),
    )
    return page.decode()


def _steps(points: tuple[Point, ...]) -> Iterator[tuple[float, float, Point]]:
    """Give each point with its end and its length in seconds."""
    before = 0.0
    for point in points:
        yield point.at, point.at - before, point
        before = point.at


def _nines(percent: float) -> float:
    """Give where a percentile stands when each further nine is as far as the last."""
    return -math.log10(1 - percent / 100)
