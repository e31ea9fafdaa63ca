"""A corpus: signed requests about the customers of a snapshot, in the shapes that help desks are known to send.

The same snapshot and seed make the same bytes. Nothing is kept, so a corpus may be larger than memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final, NamedTuple

from appliance.customers.address_reader import AddressReader
from appliance.customers.record import Columns
from appliance.customers.snapshot import Snapshot
from appliance.outcomes import CARD_STATUS
from appliance.replay.corpus_line import HEADER, CorpusLine
from appliance.sidebar.protocols.base import Conversation, Sampled

_AGENTS: Final = 20
_GOLDEN: Final = 0.6180339887
_ID: Final = re.compile(r"[1-9][0-9]{0,18}")


class Drawn(NamedTuple):
    """A customer: the addresses, and the help desk's id if the customers have it."""

    addresses: tuple[str, ...] = ()
    customer: int | None = None


class Kind(NamedTuple):
    """One kind of requests, and which share of all they are, from 0 to 1."""

    source: Sampled
    share: float


class CustomerSampler:
    """The customers of a snapshot, in random order; none comes twice before all have come."""

    def __init__(
        self, snapshot: Snapshot, names: Sequence[str], random: Random, *, fold_plus: bool, id_column: str = ""
    ) -> None:
        """`names` are the columns that hold addresses, `id_column` is the one that holds the help desk's id, if any."""
        self._snapshot = snapshot
        columns = Columns(snapshot.metadata.columns)
        self._reader = AddressReader(names, columns, fold_plus=fold_plus)
        self._id = columns.find_index(id_column) if id_column else None  # it may be a column of related rows
        # Equal steps around all rows meet each row once if the step and the number of rows have no common divisor.
        # A step near the golden section puts neighbours far apart. It takes no list of ten million numbers.
        # With 8 rows the step is 5: rows 5, 2, 7, 4, 1, 6, 3, 0.
        self._rows = snapshot.metadata.rows
        self._place = random.randrange(self._rows) if self._rows else 0
        self._step = max(1, round(self._rows * _GOLDEN))
        while math.gcd(self._step, self._rows) > 1:
            self._step += 1

    def draw(self) -> Drawn:
        """Return the next customer; nothing of one if there are none. Raises SnapshotError."""
        if not self._rows:
            return Drawn()
        self._place = (self._place + self._step) % self._rows
        values = self._snapshot.values(self._place + 1)
        found = self._reader.read([values])
        main = found.main[0]
        text = values[self._id].strip() if self._id is not None else ""
        return Drawn(
            (main, *(address for _, address in found.more)) if main else (),
            int(text) if _ID.fullmatch(text) else None,
        )


def make_lines(
    customers: CustomerSampler, random: Random, kinds: Sequence[Kind], *, path: str, count: int, unknown: float
) -> Iterator[CorpusLine]:
    """Yield `count` lines of these kinds; the share `unknown`, from 0 to 1, is about people who are no customers.

    `random` must be the one that `customers` was made with. Raises SnapshotError.
    """
    sources, shares = [kind.source for kind in kinds], [kind.share for kind in kinds]
    for number in range(1, count + 1):
        is_unknown = random.random() < unknown
        drawn = Drawn((f"stranger-{number}@nobody.invalid",)) if is_unknown else customers.draw()
        source = random.choices(sources, shares)[0] if len(kinds) > 1 else sources[0]
        shape = random.choices(range(len(source.shapes)), [shape.percent for shape in source.shapes])[0]
        conversation = Conversation(
            number=number, addresses=drawn.addresses, customer=drawn.customer, agent=random.randrange(_AGENTS)
        )
        request = source.request(conversation, shape)
        yield CorpusLine(
            path=f"{path}?{request.query}" if request.query else path,
            method=request.method,
            body=None if request.method == "GET" else request.body.decode(),
            header="" if request.header == HEADER else request.header,
            signature=request.signature,
            event=request.event,
            expect=CARD_STATUS,
        )
