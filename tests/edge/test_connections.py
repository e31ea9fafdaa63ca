"""Eviction: who makes room for a new client."""

from __future__ import annotations

import asyncio

import pytest

from appliance.edge.connections import GRACE
from tests.edge.cases import GET, POST
from tests.edge.wire import Wire, make_site, split
from tests.factory import Timer, make_app


@pytest.fixture
def timer() -> Timer:
    return Timer(1000.0)


@pytest.fixture
def wire(timer: Timer) -> Wire:
    return Wire(make_site({"/helpscout": make_app(None)}, timer))


def test_the_one_that_has_been_idle_longest_goes_first(wire: Wire, timer: Timer) -> None:
    others = []
    for _ in range(3):
        timer.now += 1
        other = Wire(wire.site)
        wire.registry.clients.add(other.connection)
        others.append(other)
    timer.now += 1
    asyncio.run(wire.feed([POST]))
    timer.now += 1
    for number in range(1, 4):
        assert wire.registry.has_evictable
        wire.registry.evict_longest_idle()
        assert [one.aborted for one in others] == [True] * number + [False] * (3 - number)
    assert not wire.aborted


def test_nobody_goes_who_has_just_connected(wire: Wire, timer: Timer) -> None:
    for wait, evictable in ((0.9, False), (0.2, True)):
        timer.now += GRACE * wait
        assert wire.registry.has_evictable is evictable
        wire.registry.evict_longest_idle()
        assert wire.aborted is evictable


def test_a_running_request_is_spared(wire: Wire, timer: Timer) -> None:
    async def drop() -> None:
        wire.connection.data_received(GET)
        timer.now += 1
        assert not wire.registry.has_evictable
        wire.registry.evict_longest_idle()
        assert not wire.aborted
        await wire.settle()
        timer.now += 1
        wire.registry.evict_longest_idle()
        assert wire.aborted

    asyncio.run(drop())
    assert [answer.status for answer in split(bytes(wire.sent))] == [405]
