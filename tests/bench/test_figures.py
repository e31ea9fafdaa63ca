"""The arithmetic of comparisons."""

from __future__ import annotations

import pytest

from tests.bench.peers.figures import Slice, faults, ratios, spread, table, turns


def a_slice(requests: int = 1000, cpu: float = 1.0, others: float = 0.0, errors: int = 0, load: float = 0.0) -> Slice:
    return Slice(1.0, requests, errors, cpu, others, load)


def test_turns_are_reversed_each_time() -> None:
    assert list(turns(["a", "b", "c"], 3)) == [["a", "b", "c"], ["c", "b", "a"], ["a", "b", "c"]]


def test_each_slice_is_compared_with_that_of_its_turn() -> None:
    rates, costs = ratios([a_slice(2000), a_slice(300)], [a_slice(1000), a_slice(100)])
    assert rates == pytest.approx([2, 3])
    assert costs == pytest.approx([2, 3])


def test_the_noise_is_of_the_middle_half() -> None:
    assert spread([100]) == 0
    assert spread([100] * 9) == 0
    assert 0.02 < spread([90, 95, 100, 105, 110]) < 0.11
    assert spread([100] * 20 + [1000]) == 0


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        pytest.param(a_slice(), [], id="good"),
        pytest.param(a_slice(cpu=0.91, others=0.09), [], id="just enough"),
        pytest.param(a_slice(cpu=0.5, others=0.5), ["go could have 50% of its core, and needs 90%"], id="the server"),
        pytest.param(a_slice(load=0.5), ["the load on go could have 50% of its core, and needs 90%"], id="the load"),
        pytest.param(a_slice(errors=1200), ["go gave 1,200 wrong answers or errors"], id="errors"),
        pytest.param(a_slice(cpu=0.1), [], id="a server that had nothing to do"),
    ],
)
def test_what_is_not_usable(bad: Slice, why: list[str]) -> None:
    assert faults({"go": [bad], "nginx": [a_slice()]}) == why


def test_the_table_says_medians_ratios_and_noise() -> None:
    head, go, other = table({"go": [a_slice()] * 3, "other": [a_slice(2000)] * 3}, "go")
    assert head.split() == ["requests/s", "x", "go", "CPU", "us", "x", "go", "noise", "busy", "core"]
    assert go.split() == ["go", "1,000", "1.00", "1000.0", "1.00", "±", "0%", "100%", "100%"]
    assert other.split() == ["other", "2,000", "2.00", "500.0", "2.00", "±", "0%", "100%", "100%"]
