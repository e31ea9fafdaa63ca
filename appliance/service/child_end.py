"""Waiting on an event loop for a forked child that does one thing and ends."""

from __future__ import annotations

import asyncio
from typing import Protocol


class ForkedChild(Protocol):
    """A child that was forked. Its result is read when it has ended, or was killed."""

    descriptor: int
    """Becomes readable when it ends."""

    def kill(self) -> None:
        """Kill it."""


async def ends_within(child: ForkedChild, seconds: float) -> bool:
    """Return whether the child ends in time. It is killed if it does not, and if this is cancelled."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(child.descriptor, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except TimeoutError:
        child.kill()
        return False
    except asyncio.CancelledError:
        child.kill()
        raise
    finally:
        loop.remove_reader(child.descriptor)
    return True
