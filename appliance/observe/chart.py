"""Charts as SVG text, made from numbers alone: the same numbers make the same text.

Colours are CSS classes, because the style sheet of the page chooses between light and dark. The title of a part is
shown when the mouse is over it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

STYLE: Final = Path(__file__).parent / "page" / "status.css"
"""The style sheet of all pages with charts."""

WIDTH: Final = 300
HEIGHT: Final = 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 298, 8, 128
_HALF_LABEL: Final = 20  # half the width of "16:00" in the page's font
_GAP: Final = 0.25  # the share of a bar's place that stays empty
_DOT: Final = 2  # radius of a value between two gaps, where a line would have no length


class Series(NamedTuple):
    """Values, the oldest first, None where there is none; `style` is their CSS class."""

    name: str
    style: str
    values: Sequence[float | None]


class Scale(NamedTuple):
    """How values become heights: `place` maps each to 0 to 1; `ticks` are the values with a grid line and a label."""

    place: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]


def from_zero(top: float, label: Callable[[float], str]) -> Scale:
    """Return a linear scale from 0 to a round number at or above `top`, at least 1e-9."""
    end = _round_up(top)
    return Scale(lambda value: value / end, [(value, label(value)) for value in (0.0, end / 2, end)])


def by_tens(values: Iterable[float], label: Callable[[float], str]) -> Scale:
    """Return a logarithmic scale between powers of ten around `values`: at least one, each above 0."""
    known = list(values)
    low = math.floor(math.log10(min(known)) + 1e-9)
    high = max(low + 1, math.ceil(math.log10(max(known)) - 1e-9))
    ticks = [10.0**power for power in range(low, high + 1)]
    return Scale(
        lambda value: (math.log10(value) - low) / (high - low) if value > 0 else 0.0,
        [(value, label(value)) for value in ticks],
    )


def bars(series: Sequence[Series], scale: Scale, times: Sequence[str], words: str, titles: Sequence[str]) -> str:
    """Return a chart of stacked bars. `times` are the labels below, "" for none; `titles` has one for each bar."""
    step = (_RIGHT - _LEFT) / len(times)
    parts = []
    for index, title in enumerate(titles):
        left, bottom, stack = _LEFT + (index + _GAP / 2) * step, 0.0, []
        for one in series:
            value = one.values[index] or 0.0
            if value > 0:
                top = bottom + value
                y, height = _y(scale.place(top)), (scale.place(top) - scale.place(bottom)) * (_BOTTOM - _TOP)
                stack.append(_rectangle(left, y, step * (1 - _GAP), height, one.style))
                bottom = top
        hover = _rectangle(_LEFT + index * step, _TOP, step, _BOTTOM - _TOP, "hover")
        parts.append(f"<g>{_title(title)}{hover}{''.join(stack)}</g>")
    return _chart(words, _axes(scale, times) + "".join(parts))


def lines(series: Sequence[Series], scale: Scale, times: Sequence[str], words: str, at: float = 0.0) -> str:
    """Return a chart of lines, each broken where there is no value; a value between two gaps is a dot.

    `at` is where in its place a label of `times` stands: 0 at the beginning, 0.5 below the value.
    """
    step = (_RIGHT - _LEFT) / len(times)
    parts = []
    for one in series:
        points = [
            None if value is None else (_LEFT + (index + 0.5) * step, _y(scale.place(value)))
            for index, value in enumerate(one.values)
        ]
        known = [(index, point) for index, point in enumerate(points) if point is not None]
        path = "".join(
            f"{'L' if index and points[index - 1] else 'M'}{_number(x)} {_number(y)}"
            for index, (x, y) in known
            if _neighbours(points, index)
        )
        if path:
            parts.append(f'<path class="line {one.style}" d="{path}">{_title(one.name)}</path>')
        parts += [
            f'<circle class="{one.style}" cx="{_number(x)}" cy="{_number(y)}" r="{_DOT}">{_title(one.name)}</circle>'
            for index, (x, y) in known
            if not _neighbours(points, index)
        ]
    return _chart(words, _axes(scale, times, at) + "".join(parts))


def short(number: float) -> str:
    """Return a number in at most three digits and a letter: 0, 0.25, 7.5, 120, 1.2k, 35M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size * 0.9995:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def latency(seconds: float) -> str:
    """Return a time in at most three digits and a unit."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size * 0.9995:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def _round_up(value: float) -> float:
    """Return the next number at or above `value` that is 1, 2 or 5 times a power of ten."""
    value = max(value, 1e-9)
    power = 10.0 ** math.floor(math.log10(value))
    return float(next(f"{step * power:.3g}" for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9)))


def _neighbours(points: Sequence[object], index: int) -> bool:
    return bool((index and points[index - 1]) or (index + 1 < len(points) and points[index + 1]))


def _y(place: float) -> float:
    return _BOTTOM - min(max(place, 0.0), 1.0) * (_BOTTOM - _TOP)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _rectangle(x: float, y: float, width: float, height: float, style: str) -> str:
    place = " ".join(
        f'{name}="{_number(value)}"' for name, value in (("x", x), ("y", y), ("width", width), ("height", height))
    )
    return f'<rect class="{style}" {place}/>'


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def _axes(scale: Scale, times: Sequence[str], at: float = 0.0) -> str:
    parts = []
    for value, label in scale.ticks:
        y = _number(_y(scale.place(value)))
        parts.append(f'<path class="grid" d="M{_LEFT} {y}H{_RIGHT}"/>')
        parts.append(f'<text class="end" x="{_LEFT - 6}" y="{y}" dy="4">{escape(label)}</text>')
    step = (_RIGHT - _LEFT) / len(times)
    for index, time in enumerate(times):
        if time:
            x = _LEFT + (index + at) * step
            # A label in the middle would be cut off at the right end.
            style, place = ("end", WIDTH) if x > WIDTH - _HALF_LABEL else ("middle", x)
            parts.append(f'<path class="grid" d="M{_number(x)} {_BOTTOM}v5"/>')
            parts.append(f'<text class="{style}" x="{_number(place)}" y="{HEIGHT - 5}">{escape(time)}</text>')
    return "".join(parts)


def _chart(words: str, inside: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="{escape(words)}">{inside}</svg>'
    )
