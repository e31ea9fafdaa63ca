"""The thread that stands still for a fork."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from appliance.system.work_thread import WorkThread


def test_work_is_done_in_its_order_and_not_while_it_stands_still() -> None:
    done: list[int] = []

    async def work() -> None:
        thread = WorkThread("test")
        begun, go_on = asyncio.Event(), threading.Event()
        loop = asyncio.get_running_loop()

        def wait() -> None:
            loop.call_soon_threadsafe(begun.set)
            go_on.wait()
            done.append(1)

        first = asyncio.create_task(thread.run(wait))
        await begun.wait()
        waiting = asyncio.create_task(stand(thread))
        await asyncio.sleep(0)
        second = asyncio.create_task(thread.run(partial(done.append, 3)))
        go_on.set()
        await asyncio.gather(first, second, waiting)
        with pytest.raises(ZeroDivisionError):
            await thread.run(lambda: 1 // 0)
        thread.end()

    async def stand(thread: WorkThread) -> None:
        async with thread.still():
            assert done == [1]
            await asyncio.sleep(0.01)
            assert done == [1]
            done.append(2)

    asyncio.run(work())
    assert done == [1, 2, 3]


def test_who_gives_up_waiting_lets_it_go_on() -> None:
    async def work() -> int:
        thread = WorkThread("test")
        with pytest.raises(asyncio.CancelledError):
            async with thread.still():
                raise asyncio.CancelledError
        try:
            return await thread.run(lambda: 7)
        finally:
            thread.end()

    assert asyncio.run(work()) == 7
