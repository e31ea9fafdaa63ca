"""What a connection is doing, and what it may do next.

    READING ---- more came than one turn's share ----> YIELDING --- all of it is parsed ----> READING
       |                                                  |
       +---- a request for the application ----------> RUNNING ---- its answer is sent ----> READING or YIELDING
       |                                                  |
       +---- the client does not take its answers ---> BLOCKED ---- it does again ---------> READING or YIELDING
       |                                                  |
       +---- refused, or the last answer is sent ----> LINGERING -- its time is over -> CLOSING

    READING    reads and parses. A signed request is answered on the spot, within the phase.
    YIELDING   waits for its next turn; others have theirs in between.
    RUNNING    the application answers a request.
    BLOCKED    more than the write buffer holds is unsent.
    LINGERING  nothing is answered any more; what comes is thrown away, so that the client can read the last answer.
    CLOSING    the transport sends what is unsent and ends the connection.
    DROPPED    the transport ends it at once, with what is unsent.
    GONE       the transport is lost.

A connection has one request answered and SHARE bytes parsed in a turn of the loop, whatever it sends, and of those that
yield so many go on in one turn as TURN says, in the order in which they came (state.py). In YIELDING, RUNNING and
BLOCKED reading is paused, and what has come waits as it came, unparsed: one read, which the kernel's receive buffer
bounds (RECEIVE_BUFFER), and with TLS what is read ahead besides (READ_AHEAD). So what one client can take from the
others is a share of a turn, and of memory some ten KiB, however much it sends.

A deadline belongs to a phase: READING has those of the parser's part of a request (head, body, between two), BLOCKED
and CLOSING the client's time to take its answers, LINGERING has a timer of its own, and YIELDING and RUNNING have none,
for they wait for nobody outside.
"""

from __future__ import annotations

import enum
from typing import Final


class Phase(enum.Enum):
    """What a connection is doing."""

    READING = enum.auto()
    YIELDING = enum.auto()
    RUNNING = enum.auto()
    BLOCKED = enum.auto()
    LINGERING = enum.auto()
    CLOSING = enum.auto()
    DROPPED = enum.auto()
    GONE = enum.auto()


READING, YIELDING, RUNNING, BLOCKED, LINGERING, CLOSING, DROPPED, GONE = Phase

ENDS: Final = frozenset({CLOSING, DROPPED, GONE})  # what any phase may be followed by

NEXT: Final[dict[Phase, frozenset[Phase]]] = {
    READING: frozenset({YIELDING, RUNNING, BLOCKED, LINGERING}) | ENDS,
    YIELDING: frozenset({READING, RUNNING, BLOCKED, LINGERING}) | ENDS,
    RUNNING: frozenset({READING, YIELDING, BLOCKED, LINGERING}) | ENDS,
    BLOCKED: frozenset({READING, YIELDING, LINGERING}) | ENDS,
    LINGERING: ENDS,
    CLOSING: ENDS - {CLOSING},
    DROPPED: frozenset({GONE}),
    GONE: frozenset(),
}
"""What may follow a phase. Anything else is a bug."""

PAUSED: Final = frozenset({YIELDING, RUNNING, BLOCKED})
"""The phases in which nothing is read."""

OPEN: Final = frozenset({READING, YIELDING, RUNNING, BLOCKED})
"""The phases in which requests are, or will be, answered."""


class IllegalMove(Exception):
    """A phase was to follow another that it cannot follow."""

    def __init__(self, before: Phase, after: Phase) -> None:
        super().__init__(f"{after.name} cannot follow {before.name}")
