"""The histogram: what HdrHistogram promises of its percentiles."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.replay.histogram import ERROR, SUB, Histogram, bucket_of, largest_in

numbers = st.one_of(st.integers(0, 2 * SUB), st.integers(0, 2**40))
percents = st.one_of(st.sampled_from([0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0]), st.floats(0, 100))


def filled(counted):
    histogram = Histogram()
    for number in counted:
        histogram.add(number)
    return histogram


@given(numbers)
def test_a_bucket_holds_its_numbers_and_is_narrow(number):
    bucket = bucket_of(number)
    assert number <= largest_in(bucket) <= number * (1 + ERROR)
    assert bucket_of(largest_in(bucket)) == bucket
    assert bucket_of(largest_in(bucket) + 1) == bucket + 1


@given(st.lists(numbers, min_size=1), percents)
def test_a_percentile_is_never_too_small_and_hardly_too_large(counted, percent):
    wanted = max(1, math.ceil(round(len(counted) * percent / 100, 6)))
    exact = sorted(counted)[wanted - 1]
    given_ = filled(counted).percentile(percent)
    if math.ceil(round(len(counted) * percent / 100, 6)) == 0:
        assert given_ == 0
    else:
        assert exact <= given_ <= exact * (1 + ERROR)
        assert given_ <= max(counted)


@given(st.lists(numbers), st.lists(numbers))
def test_two_that_are_merged_are_as_one(some, others):
    merged, whole = filled(some), filled(some + others)
    merged.merge(filled(others))
    assert merged.counts == whole.counts
    assert (merged.count, merged.largest) == (whole.count, whole.largest)


@given(st.lists(numbers), st.lists(percents))
def test_percentiles_at_once_are_those_one_by_one(counted, wanted):
    histogram = filled(counted)
    wanted = sorted(wanted)
    assert histogram.percentiles(tuple(wanted)) == tuple(map(histogram.percentile, wanted))


@pytest.mark.parametrize(("percent", "number"), [(50.0, 500), (99.0, 990), (99.9, 999), (99.99, 1000), (100.0, 1000)])
def test_of_a_thousand(percent, number):
    assert filled(range(1, 1001)).percentile(percent) == number


def test_a_share_is_not_rounded_up_by_its_last_bit():
    """99.9 % of 41,000 is 40,959 and, in floating point, a little more."""
    assert Histogram({0: 40_959, 1: 41}, 1).percentile(99.9) == 0


def test_of_none():
    assert Histogram().percentiles((50.0, 99.0)) == (0, 0)
