"""Learns what messages say of ids, and which of them pages ask for: the steward is told after the answer has gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from appliance.customers.ids import Change, Source
from appliance.outcomes import Reply

MAX_WAITING: Final = 100
"""Changes that are on their way to the steward. What is more is dropped: the next message says it again."""


class Learner:
    """A sink of requests."""

    def __init__(self, store: Callable[[Change], Awaitable[bool]], from_messages: bool = True) -> None:
        """`store` stores a change, or gives it up soon. Not `from_messages`: those teach nothing."""
        self._store = store
        self._from_messages = from_messages
        self._waiting: set[asyncio.Task[None]] = set()

    def write(self, reply: Reply, _app: str, _duration_us: int, _peer: str) -> None:
        """See RequestWriter. To be called on the event loop; never waits."""
        taught = reply.taught
        if not isinstance(taught, Change) or (taught.source is Source.MESSAGE and not self._from_messages):
            return
        if len(self._waiting) < MAX_WAITING:
            task = asyncio.get_running_loop().create_task(self._learn(taught))
            self._waiting.add(task)
            task.add_done_callback(self._waiting.discard)

    async def _learn(self, change: Change) -> None:
        await self._store(change)
