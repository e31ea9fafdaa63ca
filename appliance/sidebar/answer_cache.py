"""Finished answers, for as long as the snapshot that they were made from is in use."""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable
from functools import partial
from typing import Final

import msgspec

from appliance.customers.cache import ExpiringCache
from appliance.outcomes import Outcome, Response

PLACE: Final = 4 * 1024
"""Bytes that an answer may have for one place in the cache: the default of 10,000 places is 40 MB."""


class CacheState(enum.StrEnum):
    """Whether an answer came from a cache."""

    HIT = "hit"
    MISS = "miss"


class CachedAnswer(msgspec.Struct, frozen=True, gc=False):
    """The part of a reply that does not depend on who asked."""

    outcome: Outcome
    response: Response
    customer: str | None = None
    fault: str = ""
    address: str = ""

    @property
    def weight(self) -> int:
        """How many places it takes: one, and one more for each PLACE bytes."""
        return 1 + len(self.response.body) // PLACE


class AnswerCache:
    """Two TTL caches.

    Found and unknown are kept apart, so that a flood of strangers cannot push the customers out, and so that a new
    customer is seen sooner than an old one's change.
    """

    def __init__(
        self, *, size: int, ttl: float, unknown_size: int, unknown_ttl: float, timer: Callable[[], float]
    ) -> None:
        """Sizes are places, times seconds of `timer`; 0 of either turns that cache off."""
        self._new_found = partial(ExpiringCache[Hashable, CachedAnswer], size, ttl, timer)
        self._new_unknown = partial(ExpiringCache[Hashable, CachedAnswer], unknown_size, unknown_ttl, timer)
        self.clear()

    def clear(self) -> None:
        """Forget everything. New caches, for emptying one of 10,000 entries would take 20 ms."""
        self._found = self._new_found()
        self._unknown = self._new_unknown()

    def expire(self) -> None:
        """Remove answers that have expired. To be called now and then."""
        self._found.expire()
        self._unknown.expire()

    def find(self, key: Hashable) -> CachedAnswer | None:
        """Return the answer that was stored under `key`, or None."""
        answer = self._found.find(key)
        return self._unknown.find(key) if answer is None else answer

    def store(self, key: Hashable, answer: CachedAnswer, *, found: bool) -> None:
        """Keep an answer under all that it depends on besides the snapshot; `found` says that it is a customer's."""
        (self._found if found else self._unknown).store(key, answer, answer.weight)
