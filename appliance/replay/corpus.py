"""A corpus: signed requests about the customers of a snapshot, each of a shape that is known to come.

The same snapshot and seed give the same bytes. Nothing is kept, so a corpus may be longer than memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

from appliance.customers.address_reader import AddressReader
from appliance.customers.record import Columns
from appliance.customers.snapshot import Snapshot
from appliance.outcomes import CARD_STATUS
from appliance.replay.line import HEADER, Line
from appliance.sidebar.protocols.base import Conversation, HelpDesk

_AGENTS: Final = 20
_GOLDEN: Final = 0.6180339887


class Customers:
    """The customers of a snapshot, to be drawn without putting back until all were drawn."""

    def __init__(self, snapshot: Snapshot, names: Sequence[str], random: Random, *, fold_plus: bool) -> None:
        """`names` are the columns that hold addresses."""
        self._snapshot = snapshot
        self._reader = AddressReader(names, Columns(snapshot.facts.columns), fold_plus=fold_plus)
        # A walk in equal steps round all rows meets each once when the step has no divisor with their number in
        # common; one near the golden section has neighbours far apart. It needs no list of ten million numbers.
        self._rows = snapshot.facts.rows
        self._place = random.randrange(self._rows) if self._rows else 0
        self._step = max(1, round(self._rows * _GOLDEN))
        while math.gcd(self._step, self._rows) > 1:
            self._step += 1

    def draw(self) -> tuple[str, ...]:
        """Give the addresses of the next customer; none if it has none, or nobody is there. Raises SnapshotFault."""
        if not self._rows:
            return ()
        self._place = (self._place + self._step) % self._rows
        found = self._reader.read([self._snapshot.values(self._place + 1)])
        main = found.main[0]
        return (main, *(address for _, address in found.more)) if main else ()


def make_lines(
    customers: Customers, random: Random, protocol: HelpDesk, *, path: str, count: int, unknown: float
) -> Iterator[Line]:
    """Return `count` lines; the share `unknown` of them, from 0 to 1, asks for people whom nobody knows.

    `random` must be the one that `customers` was made with. Raises SnapshotFault.
    """
    percents = [shape.percent for shape in protocol.shapes]
    for number in range(1, count + 1):
        stranger = random.random() < unknown
        addresses = (f"stranger-{number}@nobody.invalid",) if stranger else customers.draw()
        shape = random.choices(range(len(percents)), percents)[0]
        conversation = Conversation(number=number, addresses=addresses, agent=random.randrange(_AGENTS))
        body = protocol.sample(conversation, shape)
        yield Line(
            path=path,
            body=body.decode(),
            header="" if protocol.header == HEADER else protocol.header,
            signature=protocol.sign(body),
            expect=CARD_STATUS,
        )
