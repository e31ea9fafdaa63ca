"""The TTL cache: first in, first out, expiring by an injected timer, bounded by the weight of what it holds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Final, TypeVar

import cachetools

MAX_EXPIRED_AT_ONCE: Final = 1000
"""Entries that one `expire` removes at most: about 1 ms of the event loop."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ExpiringCache(cachetools.Cache[Key, tuple[float, Value, int]]):
    """A cachetools cache of `(expires, value, weight)`, oldest out first, with a storage of its own.

    Entries of one lifetime expire in the order in which they came, so the oldest is also the next to expire, and
    nothing has to be kept in order by use. One OrderedDict holds them in that order, with their weights: cachetools'
    own two dicts beside it made storing in a full cache 2.6 times as expensive, and its TTLCache keeps linked lists.
    (A plain dict's next(iter()) walks the holes that evictions leave: 25 us a miss at 10,000 entries.)
    """

    def __init__(self, size: int, lifetime: float, timer: Callable[[], float]) -> None:
        """Hold entries of a total weight of `size` for `lifetime` seconds of `timer`; either at 0 holds nothing."""
        self._size: Final = size if lifetime > 0 else 0
        super().__init__(self._size)
        self._lifetime = lifetime
        self._timer = timer
        self._entries: OrderedDict[Key, tuple[float, Value, int]] = OrderedDict()
        self._weight = 0

    def find(self, key: Key) -> Value | None:
        """Return the live value under `key`, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, value, _ = entry
        if self._timer() < expires:
            return value
        del self[key]
        return None

    def store(self, key: Key, value: Value, weight: int = 1) -> None:
        """Keep `value` under `key` for one lifetime from now, unless it weighs more than the whole cache may."""
        if weight <= self._size:
            self._put(key, (self._timer() + self._lifetime, value, weight))

    def expire(self) -> None:
        """Remove what has expired, at most MAX_EXPIRED_AT_ONCE entries, so that a quiet cache gives its memory back."""
        now = self._timer()
        for _ in range(min(MAX_EXPIRED_AT_ONCE, len(self._entries))):
            key, (expires, _, _) = next(iter(self._entries.items()))
            if now < expires:
                return
            del self[key]

    @property
    def currsize(self) -> int:
        """The weight of all entries."""
        return self._weight

    def popitem(self) -> tuple[Key, tuple[float, Value, int]]:
        """Remove and return the oldest entry. Raises KeyError when empty."""
        if not self._entries:
            raise KeyError("the cache is empty")
        key, entry = self._entries.popitem(last=False)
        self._weight -= entry[2]
        return key, entry

    # The storage, in place of that of the base.

    def __getitem__(self, key: Key) -> tuple[float, Value, int]:
        return self._entries[key]

    def __setitem__(self, key: Key, value: tuple[float, Value, int]) -> None:
        if value[2] > self._size:
            raise ValueError("value too large")
        self._put(key, value)

    def _put(self, key: Key, entry: tuple[float, Value, int]) -> None:
        entries = self._entries
        if key in entries:
            del self[key]  # stored again, it is the youngest
        weight = self._weight + entry[2]
        while weight > self._size:
            weight -= entries.popitem(last=False)[1][2]
        entries[key] = entry
        self._weight = weight

    def __delitem__(self, key: Key) -> None:
        self._weight -= self._entries.pop(key)[2]

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[Key]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
