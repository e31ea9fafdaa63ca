"""What pages ask of ids: once an id, at most so many at once, and not again for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from appliance.customers.ids import Change, Kind, Source
from appliance.inbox_api.client import BROKEN, UNREADABLE, ApiError
from appliance.service import id_questions
from appliance.service.id_questions import REMEMBER, SOON, IdQuestions
from tests.factory import NOW, Timer


def found(customer: int) -> tuple[Change, ...]:
    return (Change(customer, Kind.REPLACE, (f"a{customer}@x.example",), NOW, Source.API),)


class World:
    """An API that answers when it is told to, and a store."""

    def __init__(self) -> None:
        self.timer = Timer(1000.0)
        self.pause = 0.0
        self.slept: list[float] = []
        self.asked: list[int] = []
        self.answers: dict[int, tuple[Change, ...] | ApiError] = {}
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.may_sleep = asyncio.Event()
        self.may_sleep.set()
        self.is_disk_good = True
        self.stored: list[int] = []
        self.questions = IdQuestions(self, self.store, self.timer, self.sleep)

    async def find(self, customer: int) -> tuple[Change, ...]:
        self.asked.append(customer)
        await self.may_answer.wait()
        answer = self.answers.get(customer, found(customer))
        if isinstance(answer, ApiError):
            raise answer
        return answer

    async def store(self, changes: Sequence[Change]) -> bool:
        if self.is_disk_good:
            self.stored += [change.customer for change in changes]
        return self.is_disk_good

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.may_sleep.wait()
        self.pause = 0.0


@asynccontextmanager
async def running(world: World) -> AsyncIterator[IdQuestions]:
    task = asyncio.create_task(world.questions.run())
    try:
        yield world.questions
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_who_ask_for_one_id_share_the_answer() -> None:
    async def work() -> None:
        world = World()
        async with running(world) as questions:
            world.may_answer.clear()
            asking = [asyncio.create_task(questions.ask(7)) for _ in range(20)]
            await turns()
            assert questions.waiting == 1
            world.may_answer.set()
            assert await asyncio.gather(*asking) == [True] * 20
        assert (world.asked, world.stored) == ([7], [7])

    asyncio.run(work())


@pytest.mark.parametrize(
    ("answer", "is_disk_good", "seconds"),
    [
        (found(7), True, REMEMBER),
        ((), True, REMEMBER),
        (found(7), False, SOON),
        (ApiError(BROKEN), True, SOON),
        (ApiError(UNREADABLE), True, SOON),
    ],
    ids=["found", "nobody", "disk full", "broken", "unreadable"],
)
def test_it_is_not_asked_again_for_a_while(
    answer: tuple[Change, ...] | ApiError, is_disk_good: bool, seconds: float
) -> None:
    async def work() -> None:
        world = World()
        world.answers[7], world.is_disk_good = answer, is_disk_good
        async with running(world) as questions:
            assert await questions.ask(7) is (seconds == REMEMBER and bool(answer))
            world.timer.now += seconds - 1
            assert [await questions.ask(7) for _ in range(100)] == [False] * 100
            assert world.asked == [7]
            assert await questions.ask(8) is is_disk_good  # another one is
            world.timer.now += 1
            await questions.ask(7)
            assert world.asked == [7, 8, 7]

    asyncio.run(work())


def test_no_more_than_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_questions, "MAX_WAITING", 3)

    async def work() -> None:
        world = World()
        world.may_answer.clear()
        async with running(world) as questions:
            asking = [asyncio.create_task(questions.ask(customer)) for customer in range(1, 4)]
            await turns()
            assert await questions.ask(4) is False
            world.may_answer.set()
            assert await asyncio.gather(*asking) == [True] * 3
            assert world.asked == [1, 2, 3]
            assert await questions.ask(4) is True

    asyncio.run(work())


def test_a_page_does_not_wait_for_an_api_that_is_not_asked() -> None:
    async def work() -> None:
        world = World()
        world.pause = 17.0
        world.may_sleep.clear()
        async with running(world) as questions:
            assert await questions.ask(7) is False  # at once
            await turns()
            assert (world.slept, world.asked) == ([17.0], [])
            world.may_sleep.set()
            await turns()
            assert world.stored == [7]  # the page finds it when it is loaded again

    asyncio.run(work())


def test_a_page_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_questions, "PATIENCE", 0.01)

    async def work() -> None:
        world = World()
        world.may_answer.clear()
        async with running(world) as questions:
            assert await questions.ask(7) is False
            world.may_answer.set()
            await turns()
            assert world.stored == [7]

    asyncio.run(work())


def test_what_was_asked_when_it_stopped_is_asked_again() -> None:
    async def work() -> None:
        world = World()
        world.may_answer.clear()
        async with running(world) as questions:
            asking = asyncio.create_task(questions.ask(7))
            await turns()
        world.may_answer.set()
        async with running(world):
            assert await asking is True
        assert world.asked == [7, 7]

    asyncio.run(work())


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_questions, "MAX_REMEMBERED", 5)

    async def work() -> None:
        world = World()
        async with running(world) as questions:
            for customer in range(1, 20):
                await questions.ask(customer)
            assert len(questions._lately) == 5

    asyncio.run(work())
