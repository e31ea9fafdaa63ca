"""Charts as inline SVG: lines over an axis, with no script and no colour that a style sheet does not set."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 720
HEIGHT: Final = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 24, 10, 24


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart: its name, which is its class too, and its points."""

    name: str
    points: Sequence[tuple[float, float]]


def chart(title: str, curves: Sequence[Curve], marks: Sequence[tuple[float, str]], unit: str) -> str:
    """Draw curves over one axis from 0 on. `marks` are places on the lower axis, with their words."""
    xs = [x for curve in curves for x, _ in curve.points] + [x for x, _ in marks]
    left, right = min(xs, default=0.0), max(xs, default=1.0)
    top = _round_up(max((y for curve in curves for _, y in curve.points), default=1.0))

    def place_x(x: float) -> float:
        return _LEFT + (x - left) / ((right - left) or 1.0) * (WIDTH - _LEFT - _RIGHT)

    def place_y(y: float) -> float:
        return HEIGHT - _BOTTOM - y / top * (HEIGHT - _TOP - _BOTTOM)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">']
    for quarter in range(5):
        y = place_y(top * quarter / 4)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * quarter / 4:g} {unit}</text>')
    for x, words in marks:
        parts.append(f'<text x="{place_x(x):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{words}</text>')
    parts += [_path(curve, place_x, place_y) for curve in curves]
    return "".join([*parts, "</svg>"])


def _path(curve: Curve, place_x: Callable[[float], float], place_y: Callable[[float], float]) -> str:
    where = "L".join(f"{place_x(x):.1f} {place_y(y):.1f}" for x, y in curve.points)
    return f'<path class="{curve.name}" d="M{where}"/>' if where else ""


def _round_up(number: float) -> float:
    """Give the next of 1, 2, 4, 8, 10 by powers of ten, so that quarters of it are short."""
    if number <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(number))
    return float(next(step * power for step in (1, 2, 4, 8, 10) if step * power >= number * 0.999999))
