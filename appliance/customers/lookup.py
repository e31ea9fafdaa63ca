"""From addresses to a finished answer: two TTL caches in front of the snapshot."""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from appliance.customers.cache import ExpiringCache
from appliance.customers.record import Record
from appliance.customers.snapshot import Snapshot

Answer = TypeVar("Answer")


class CacheState(enum.StrEnum):
    """Whether an answer came from a cache."""

    HIT = "hit"
    MISS = "miss"


class NotLoaded(Exception):
    """There is no customer data yet."""


class Lookup(Generic[Answer]):
    """Finds customers and keeps what was made of them, for as long as the snapshot it was made from is in use.

    Found and unknown are kept apart, so that a flood of strangers cannot push the customers out, and so that a new
    customer is seen sooner than an old one's change.
    """

    def __init__(
        self,
        *,
        size: int,
        ttl: float,
        unknown_size: int,
        unknown_ttl: float,
        timer: Callable[[], float],
        weigh: Callable[[Answer], int],
    ) -> None:
        """Sizes in what `weigh` gives for an answer, times in seconds of `timer`; 0 of either turns that cache off."""
        self._weigh = weigh
        self._new_found = partial(ExpiringCache[Hashable, Answer], size, ttl, timer)
        self._new_unknown = partial(ExpiringCache[Hashable, Answer], unknown_size, unknown_ttl, timer)
        self.use(None)

    def use(self, snapshot: Snapshot | None) -> None:
        """Answer from `snapshot` from now on. What was cached from the last one is dropped with it."""
        self.snapshot = snapshot
        self._found = self._new_found()  # clear() would take 20 ms for 10,000 entries
        self._unknown = self._new_unknown()

    def expire(self) -> None:
        """Remove answers that have expired. To be called now and then."""
        self._found.expire()
        self._unknown.expire()

    def cached(self, key: Hashable) -> Answer | None:
        """Give the answer that was stored under `key`, or None; under None there is none."""
        answer = self._found.find(key)
        return self._unknown.find(key) if answer is None else answer

    def answer(
        self,
        find: Callable[[Snapshot], tuple[Record, ...]],
        key: Hashable,
        build: Callable[[Snapshot, tuple[Record, ...]], Answer],
    ) -> Answer:
        """Give what `build` makes of the customers that `find` gives, and store it under `key`.

        `key` must hold all that `find` and `build` depend on besides the snapshot; None is not stored.
        Raises NotLoaded, SnapshotFault, and whatever `find` and `build` raise.
        """
        if self.snapshot is None:
            raise NotLoaded
        records = find(self.snapshot)
        answer = build(self.snapshot, records)
        if key is not None:
            (self._found if records else self._unknown).store(key, answer, self._weigh(answer))
        return answer
