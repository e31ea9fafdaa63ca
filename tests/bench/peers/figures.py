"""What a comparison counts, and says of it. A slice of a server is compared with the base's of the same turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

LEAST_SHARE: Final = 0.9
"""Of its core: with less for it, the figures of a process are those of its neighbours."""


@dataclass(frozen=True)
class Slice:
    """What one server did in a moment of load. All times are seconds."""

    seconds: float
    requests: int
    errors: int
    cpu: float
    others: float
    """How long others had its core."""
    load_others: float
    """How long others had the core of the load."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cost(self) -> float:
        """Microseconds of CPU a request."""
        return self.cpu / self.requests * 1e6


Slices = Mapping[str, Sequence[Slice]]
"""By server, each with one of every turn."""


def turns(names: Sequence[str], count: int) -> Iterator[list[str]]:
    """Yield the order of each turn: reversed each time, so that what drifts meets everybody alike."""
    for number in range(count):
        yield list(names) if number % 2 == 0 else list(reversed(names))


def share(slices: Sequence[Slice], others: Callable[[Slice], float]) -> float:
    """Return how much of a core was left by `others`."""
    return 1 - sum(map(others, slices)) / sum(each.seconds for each in slices)


def ratios(one: Sequence[Slice], base: Sequence[Slice]) -> tuple[list[float], list[float]]:
    """Return, turn by turn, how many times as fast as the base it was, and how many times as cheap."""
    pairs = list(zip(one, base, strict=True))
    return [a.rate / b.rate for a, b in pairs], [b.cost / a.cost for a, b in pairs]


def spread(values: Sequence[float]) -> float:
    """Return half of the range of the middle half, as a part of the median: the noise of a run."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4)
    return (high - low) / 2 / statistics.median(values)


def faults(slices: Slices) -> list[str]:
    """Return why the figures are not usable; nothing if they are."""
    found = []
    for name, done in slices.items():
        for what, had in (
            (name, share(done, lambda each: each.others)),
            (f"the load on {name}", share(done, lambda each: each.load_others)),
        ):
            if had < LEAST_SHARE:
                found.append(f"{what} could have {had:.0%} of its core, and needs {LEAST_SHARE:.0%}")
        if errors := sum(each.errors for each in done):
            found.append(f"{name} gave {errors:,} wrong answers or errors")
    return found


def table(slices: Slices, base: str) -> Iterator[str]:
    """Yield the lines of a table: medians, the paired ratios and their noise."""
    yield f"{'':10}{'requests/s':>12}{'x ' + base:>8}{'CPU us':>9}{'x ' + base:>8}{'noise':>8}{'busy':>7}{'core':>7}"
    for name, done in slices.items():
        rates, costs = ratios(done, slices[base])
        # The base's ratio to itself is 1: its noise is how much it differs from turn to turn.
        noise = spread([each.rate for each in done] if name == base else rates)
        busy = sum(each.cpu for each in done) / sum(each.seconds for each in done)
        had = share(done, lambda each: each.others)
        yield (
            f"{name:10}{statistics.median(each.rate for each in done):12,.0f}{statistics.median(rates):8.2f}"
            f"{statistics.median(each.cost for each in done):9.1f}{statistics.median(costs):8.2f}"
            f"{f'± {noise:.0%}':>8}{busy:7.0%}{had:7.0%}"
        )
