"""The TTL cache."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.customers.cache import ExpiringCache
from tests.factory import Timer


def test_expires_by_its_timer():
    timer = Timer()
    cache = ExpiringCache(10, 60.0, timer)
    cache.store("a", 1)
    timer.now = 59.9
    assert cache.find("a") == 1
    timer.now = 60.0
    assert cache.find("a") is None
    assert len(cache) == 0


def test_first_in_is_first_out():
    cache = ExpiringCache(2, 60.0, Timer())
    for key in "abc":
        cache.store(key, key)
    assert [cache.find(key) for key in "abc"] == [None, "b", "c"]


def test_storing_again_makes_young_again():
    cache = ExpiringCache(2, 60.0, Timer())
    for key in "abac":
        cache.store(key, key)
    assert [cache.find(key) for key in "abc"] == ["a", None, "c"]


@pytest.mark.parametrize(("size", "lifetime"), [(0, 60.0), (10, 0.0)])
def test_zero_is_off(size, lifetime):
    cache = ExpiringCache(size, lifetime, Timer())
    cache.store("a", 1)
    assert cache.find("a") is None
    with pytest.raises(KeyError, match="empty"):
        cache.popitem()


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 30)), max_size=60))
def test_is_what_a_plain_model_says(steps):
    """Against the slowest cache that can be right: a list in order of arrival."""
    timer = Timer()
    cache, model = ExpiringCache(3, 40.0, timer), []
    for key, wait in steps:
        timer.now += wait
        alive = {one: expires for one, expires in model if timer.now < expires}
        assert (cache.find(key) is not None) is (key in alive)
        if key not in alive:
            model = [*[entry for entry in model if entry[0] != key][-2:], (key, timer.now + 40.0)]
            cache.store(key, key)
        assert len(cache) <= 3
