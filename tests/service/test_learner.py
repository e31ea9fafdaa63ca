"""The sink that learns: without waiting, and not without bounds."""

from __future__ import annotations

import asyncio

from appliance.customers.ids import Change, Kind, Source
from appliance.outcomes import Outcome, Reply, Response
from appliance.service.learner import MAX_WAITING, Learner

RESPONSE = Response(200, b"", "text/plain")


def test_without_messages_only_pages_tell() -> None:
    async def work() -> list[int]:
        stored: list[int] = []

        async def store(change: Change) -> bool:
            stored.append(change.customer)
            return True

        learner = Learner(store, from_messages=False)
        for customer, source in ((1, Source.MESSAGE), (2, Source.PAGE)):
            taught = Change(customer, Kind.SEEN, (), 0.0, source)
            learner.write(Reply(RESPONSE, Outcome.FOUND, taught=taught), "", 0, "")
        await asyncio.sleep(0)
        return stored

    assert asyncio.run(work()) == [2]


def test_what_comes_faster_than_it_is_stored_is_dropped() -> None:
    async def work() -> list[int]:
        stored: list[int] = []
        go = asyncio.Event()

        async def store(change: Change) -> bool:
            await go.wait()
            stored.append(change.customer)
            return True

        learner = Learner(store)
        for customer in range(MAX_WAITING + 50):
            change = Change(customer, Kind.ADD, ("a@x.example",), 0.0)
            learner.write(Reply(RESPONSE, Outcome.FOUND, taught=change), "", 0, "")
            learner.write(Reply(RESPONSE, Outcome.FOUND), "", 0, "")
        go.set()
        while len(stored) < MAX_WAITING:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        learner.write(Reply(RESPONSE, Outcome.FOUND, taught=Change(999, Kind.ADD, (), 0.0)), "", 0, "")
        while 999 not in stored:
            await asyncio.sleep(0)
        return stored

    assert asyncio.run(work()) == [*range(MAX_WAITING), 999]
