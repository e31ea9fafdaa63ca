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


def test_weight_pushes_out_what_came_first():
    cache = ExpiringCache(10, 60.0, Timer())
    for key, weight in (("a", 4), ("b", 4), ("c", 2), ("d", 5)):
        cache.store(key, key, weight)
    assert [cache.find(key) for key in "abcd"] == [None, None, "c", "d"]
    assert cache.currsize == 7


def test_what_weighs_more_than_the_cache_is_not_stored_and_pushes_nothing_out():
    cache = ExpiringCache(10, 60.0, Timer())
    cache.store("a", "a", 10)
    cache.store("b", "b", 11)
    assert [cache.find(key) for key in "ab"] == ["a", None]


def test_it_is_a_mapping_as_cachetools_makes_them():
    cache = ExpiringCache(10, 60.0, Timer())
    cache["a"] = cache["b"] = entry = (60.0, "x", 4)
    assert ("a" in cache, cache["a"], cache.get("c"), cache.maxsize, cache.currsize) == (True, entry, None, 10, 8)
    with pytest.raises(ValueError, match="too large"):
        cache["c"] = (60.0, "x", 11)
    assert (list(cache), cache.pop("a"), len(cache), cache.currsize) == (["a", "b"], entry, 1, 4)
    assert cache.popitem() == ("b", entry)
    assert (len(cache), cache.currsize, repr(cache).count("x'")) == (0, 0, 0)


def test_a_heavier_value_under_the_same_key_counts_as_it_is_now():
    cache = ExpiringCache(10, 60.0, Timer())
    for key, weight in (("a", 2), ("b", 5), ("a", 9)):
        cache.store(key, key, weight)
    assert [cache.find(key) for key in "ab"] == ["a", None]
    assert cache.currsize == 9


def test_expired_entries_go_without_being_asked_for():
    timer = Timer()
    cache = ExpiringCache(5000, 60.0, timer)
    for key in range(2500):
        timer.now = key / 1000  # the last at 2.499
        cache.store(key, key, 2)
    timer.now = 61.5
    cache.expire()
    assert (len(cache), cache.currsize) == (1500, 3000)  # a bounded part of the loop's time at once
    cache.expire()
    assert len(cache) == 2500 - 1501
    cache.expire()
    assert len(cache) == 2500 - 1501  # those that have time left stay
    timer.now = 100.0
    cache.expire()
    assert (len(cache), cache.currsize) == (0, 0)
    cache.expire()


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


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 6), st.integers(0, 30)), max_size=60))
def test_never_holds_more_than_its_size_and_knows_what_it_holds(steps):
    timer = Timer()
    cache = ExpiringCache(9, 40.0, timer)
    for key, weight, wait in steps:
        timer.now += wait
        cache.store(key, key, weight)
        cache.expire()
        assert cache.currsize == sum(weight for _, _, weight in cache._entries.values()) <= 9
        assert all(timer.now < expires for expires, _, _ in cache._entries.values())
        assert set(cache) == set(cache._entries)
