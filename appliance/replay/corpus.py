"""A corpus: signed requests about the customers of a snapshot, in the shapes that help desks are known to send.

The same snapshot and seed make the same bytes. Nothing is kept, so a corpus may be larger than memory.
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
from appliance.replay.corpus_line import HEADER, CorpusLine
from appliance.sidebar.protocols.base import Conversation, HelpDesk

_AGENTS: Final = 20
_GOLDEN: Final = 0.6180339887


class CustomerSampler:
    """The customers of a snapshot, in random order; none comes twice before all have come."""

    def __init__(self, snapshot: Snapshot, names: Sequence[str], random: Random, *, fold_plus: bool) -> None:
        """`names` are the columns that hold addresses."""
        self._snapshot = snapshot
        self._reader = AddressReader(names, Columns(snapshot.metadata.columns), fold_plus=fold_plus)
        # Equal steps around all rows meet each row once if the step and the number of rows have no common divisor.
        # A step near the golden section puts neighbours far apart. It takes no list of ten million numbers.
        # With 8 rows the step is 5: rows 5, 2, 7, 4, 1, 6, 3, 0.
        self._rows = snapshot.metadata.rows
        self._place = random.randrange(self._rows) if self._rows else 0
        self._step = max(1, round(self._rows * _GOLDEN))
        while math.gcd(self._step, self._rows) > 1:
            self._step += 1

    def draw(self) -> tuple[str, ...]:
        """Return the addresses of the next customer, if there are any. Raises SnapshotError."""
        if not self._rows:
            return ()
        self._place = (self._place + self._step) % self._rows
        found = self._reader.read([self._snapshot.values(self._place + 1)])
        main = found.main[0]
        return (main, *(address for _, address in found.more)) if main else ()


def make_lines(
    customers: CustomerSampler, random: Random, protocol: HelpDesk, *, path: str, count: int, unknown: float
) -> Iterator[CorpusLine]:
    """Yield `count` lines; the share `unknown` of them, from 0 to 1, is about people who are no customers.

    `random` must be the one that `customers` was made with. Raises SnapshotError.
    """
    percents = [shape.percent for shape in protocol.shapes]
    for number in range(1, count + 1):
        is_unknown = random.random() < unknown
        addresses = (f"stranger-{number}@nobody.invalid",) if is_unknown else customers.draw()
        shape = random.choices(range(len(percents)), percents)[0]
        conversation = Conversation(number=number, addresses=addresses, agent=random.randrange(_AGENTS))
        body = protocol.sample(conversation, shape)
        yield CorpusLine(
            path=path,
            body=body.decode(),
            header="" if protocol.header == HEADER else protocol.header,
            signature=protocol.sign(body),
            expect=CARD_STATUS,
        )
