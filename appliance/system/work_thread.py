"""One thread for what may wait for the disk, which stands still while its process forks.

A fork copies a lock that another thread holds, and nobody in the child will ever release it: of 60 children that were
forked while a thread used SQLite, one hung at its own first use of SQLite.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


class WorkThread:
    """Does what it is given in its order, one after the other."""

    def __init__(self, name: str) -> None:
        """It is started with the first work."""
        self._executor = ThreadPoolExecutor(1, name)

    async def run(self, work: Callable[[], T]) -> T:
        """Do this work in the thread; return what it returns, or raise what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Wait until the thread has done what it was given, and have it do nothing until the block ends."""
        loop, is_still, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def stand() -> None:
            loop.call_soon_threadsafe(is_still.set)
            go_on.wait()

        try:
            self._executor.submit(stand)
            await is_still.wait()
            yield
        finally:
            go_on.set()

    def end(self) -> None:
        """End the thread once it has done what it was given."""
        self._executor.shutdown(wait=False)
