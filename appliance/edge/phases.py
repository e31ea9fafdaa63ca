"""What a connection is doing, and what it may do next.

    READING ----- a request for the application -----> RUNNING ---- its answer is sent ----> READING
       |                                                  |
       +--- the client does not take its answers --> BLOCKED --- it does again ------------> READING
       |
       +--- refused, or the last answer is sent --> LINGERING --- its time is over --> CLOSING

    READING    reads and parses. A signed request is answered on the spot, within the phase.
    RUNNING    the application answers a request.
    BLOCKED    more than the write buffer holds is unsent.
    LINGERING  nothing is answered any more; what comes is thrown away, so that the client can read the last answer.
    CLOSING    the transport sends what is unsent and ends the connection.
    DROPPED    the transport ends it at once, with what is unsent.
    GONE       the transport is lost.

While reading is paused, what has come waits as it came, unparsed. A deadline belongs to a phase: READING has those of
the parser's part of a request (head, body, between two), BLOCKED and CLOSING the client's time to take its answers,
LINGERING has a timer of its own, and RUNNING none, for it waits for nobody outside.
"""

from __future__ import annotations

import enum
from typing import Final


class Phase(enum.Enum):
    """What a connection is doing."""

    READING = enum.auto()
    RUNNING = enum.auto()
    BLOCKED = enum.auto()
    LINGERING = enum.auto()
    CLOSING = enum.auto()
    DROPPED = enum.auto()
    GONE = enum.auto()


READING, RUNNING, BLOCKED, LINGERING, CLOSING, DROPPED, GONE = Phase

ENDS: Final = frozenset({CLOSING, DROPPED, GONE})  # what any phase may be followed by

NEXT: Final[dict[Phase, frozenset[Phase]]] = {
    READING: frozenset({RUNNING, BLOCKED, LINGERING}) | ENDS,
    RUNNING: frozenset({READING, BLOCKED, LINGERING}) | ENDS,
    BLOCKED: frozenset({READING, LINGERING}) | ENDS,
    LINGERING: ENDS,
    CLOSING: ENDS - {CLOSING},
    DROPPED: frozenset({GONE}),
    GONE: frozenset(),
}
"""What may follow a phase. Anything else is a bug."""

PAUSED: Final = frozenset({RUNNING, BLOCKED})
"""The phases in which nothing is read."""

OPEN: Final = frozenset({READING, RUNNING, BLOCKED})
"""The phases in which requests are, or will be, answered."""


class IllegalMove(Exception):
    """A phase was to follow another that it cannot follow."""

    def __init__(self, before: Phase, after: Phase) -> None:
        super().__init__(f"{after.name} cannot follow {before.name}")
