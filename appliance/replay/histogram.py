"""A histogram of whole numbers with a bounded relative error, in the buckets of HdrHistogram. Histograms can be added.

Below SUB every number has its own bucket. Above, each power of two is divided into SUB / 2 buckets of equal width, so a
bucket is never wider than 2 / SUB of the numbers in it. Only buckets that are not empty take memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

_BITS: Final = 11
SUB: Final = 1 << _BITS
ERROR: Final = 2 / SUB
"""How much larger than the true number a percentile may be, as a share of it."""


def bucket_of(number: int) -> int:
    """Return the bucket of a number, 0 or more."""
    shift = number.bit_length() - _BITS
    return number if shift <= 0 else (shift << (_BITS - 1)) + (number >> shift)


def largest_in(bucket: int) -> int:
    """Return the largest number in a bucket."""
    if bucket < SUB:
        return bucket
    shift = (bucket >> (_BITS - 1)) - 1
    return ((bucket - (shift << (_BITS - 1)) + 1) << shift) - 1


class Histogram:
    """Counts by bucket, and the largest number as it was."""

    __slots__ = ("count", "counts", "largest")

    def __init__(self, counts: Mapping[int, int] | None = None, largest: int = 0) -> None:
        """Start with what another histogram has counted."""
        self.counts: Final[dict[int, int]] = dict(counts or {})
        self.count = sum(self.counts.values())
        self.largest = largest

    def add(self, number: int) -> None:
        """Count one number, 0 or more."""
        bucket = bucket_of(number)
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        self.count += 1
        self.largest = max(self.largest, number)

    def merge(self, other: Histogram) -> None:
        """Add everything that `other` has counted."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.count += other.count
        self.largest = max(self.largest, other.largest)

    def percentile(self, percent: float) -> int:
        """Return the number that `percent` of the counted ones do not exceed, at most ERROR too large; 0 if empty."""
        return self.percentiles((percent,))[0]

    def percentiles(self, percents: tuple[float, ...]) -> tuple[int, ...]:
        """Return the number for each of `percents`, which must be in ascending order."""
        buckets = iter(sorted(self.counts.items()))
        seen, reached = 0, 0
        numbers: list[int] = []
        for percent in percents:
            # Rounded first: 99.9 % of 41,000 is 40959.00000000001 in floating point.
            wanted = math.ceil(round(self.count * percent / 100, 6))
            while seen < wanted:
                bucket, count = next(buckets)
                seen += count
                reached = min(largest_in(bucket), self.largest)
            numbers.append(reached)
        return tuple(numbers)
