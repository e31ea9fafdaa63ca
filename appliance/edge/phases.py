"""What a connection is doing, and what it may do next.

    READING ---- more came than one turn's share ----> YIELDING --- all of it is parsed ----> READING
       |                                                  |
       +---- a request for the application ----------> RUNNING ---- its response is sent --> READING or YIELDING
       |                                                  |
       +---- the client does not read its responses -> BLOCKED ---- it reads again --------> READING or YIELDING
       |                                                  |
       +---- refused, or the last response is sent --> LINGERING -- its time is over ------> CLOSING

    READING    reads and parses. The fast path answers within this phase.
    YIELDING   waits for its next turn; other connections have theirs in between.
    RUNNING    the application is answering a request.
    BLOCKED    more is unsent than the write buffer holds.
    LINGERING  nothing is answered any more; what is received is discarded, so that the client can read its response.
    CLOSING    the transport sends what is unsent and ends the connection.
    DROPPED    the transport ends it at once; what is unsent is lost.
    GONE       the transport is gone.

In one turn of the loop a connection has one request answered and BYTES_PER_TURN bytes parsed, whatever it sends; of the
connections that yield, CONNECTIONS_PER_TURN continue in one turn, in the order in which they yielded. In YIELDING,
RUNNING and BLOCKED reading is paused, and what was received waits unparsed: one read, which the kernel's receive buffer
bounds (READ_SIZE), and with TLS the record that it completes. So one client can take a bounded share of a turn
from the others, and some ten KiB of memory, however much it sends.
deadlines.py has what a connection may wait for in each phase, and for how long.
"""

from __future__ import annotations

import enum
from typing import Final


class Phase(enum.Enum):
    """What a connection is doing."""

    __hash__ = object.__hash__  # Enum's own is a function of Python, called for each look into a table below

    READING = enum.auto()
    YIELDING = enum.auto()
    RUNNING = enum.auto()
    BLOCKED = enum.auto()
    LINGERING = enum.auto()
    CLOSING = enum.auto()
    DROPPED = enum.auto()
    GONE = enum.auto()


READING, YIELDING, RUNNING, BLOCKED, LINGERING, CLOSING, DROPPED, GONE = Phase

ENDS: Final = frozenset({CLOSING, DROPPED, GONE})
"""What may follow any phase but these."""

TRANSITIONS: Final[dict[Phase, frozenset[Phase]]] = {
    READING: frozenset({YIELDING, RUNNING, BLOCKED, LINGERING}) | ENDS,
    YIELDING: frozenset({READING, RUNNING, BLOCKED, LINGERING}) | ENDS,
    RUNNING: frozenset({READING, YIELDING, BLOCKED, LINGERING}) | ENDS,
    BLOCKED: frozenset({READING, YIELDING, LINGERING}) | ENDS,
    LINGERING: ENDS,
    CLOSING: ENDS - {CLOSING},
    DROPPED: frozenset({GONE}),
    GONE: frozenset(),
}
"""What may follow each phase. Anything else is a bug."""

PAUSED: Final = frozenset({YIELDING, RUNNING, BLOCKED})
"""The phases in which nothing is read."""

OPEN: Final = frozenset({READING, YIELDING, RUNNING, BLOCKED})
"""The phases in which requests are, or will be, answered."""


class IllegalTransition(Exception):
    """A phase was to follow another that it cannot follow."""

    def __init__(self, before: Phase, after: Phase) -> None:
        super().__init__(f"{after.name} cannot follow {before.name}")


def transition(before: Phase, after: Phase) -> Phase:
    """Return the phase `after`. Raises IllegalTransition unless it may follow `before`."""
    if after not in TRANSITIONS[before]:
        raise IllegalTransition(before, after)
    return after
