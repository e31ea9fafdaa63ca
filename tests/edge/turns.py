"""An event loop whose turns are made by hand, for what watches descriptors."""

from __future__ import annotations

import select
from collections.abc import Callable


class Turns:
    """An event loop of which a test makes each turn."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], object]] = {}
        self.writers: dict[int, Callable[[], object]] = {}
        self.soon: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def add_reader(self, descriptor: int, callback: Callable[[], object]) -> None:
        self.readers[descriptor] = callback

    def remove_reader(self, descriptor: int) -> None:
        del self.readers[descriptor]

    def add_writer(self, descriptor: int, callback: Callable[[], object]) -> None:
        self.writers[descriptor] = callback

    def remove_writer(self, descriptor: int) -> None:
        del self.writers[descriptor]

    def call_soon(self, callback: Callable[..., object], *given: object) -> None:
        self.soon.append((callback, given))

    def turn(self) -> None:
        readable, writable, _ = select.select(list(self.readers), list(self.writers), [], 0)
        for watched, ready in ((self.readers, readable), (self.writers, writable)):
            for descriptor in ready:
                if descriptor in watched:
                    watched[descriptor]()
        soon, self.soon = self.soon, []
        for callback, given in soon:
            callback(*given)
