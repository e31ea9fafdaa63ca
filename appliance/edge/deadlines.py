"""What a connection may wait for, and for how long.

    it waits for                                           at most                          then
    the client to read its responses                       write_timeout                    RESPONSES_UNREAD
    a request, or the next one                             idle_timeout                     IDLE
    the rest of a head                                     header_timeout                   REQUEST_UNFINISHED
    the rest of a body                                     body_timeout                     REQUEST_UNFINISHED
    CLOSING: the client to read what is unsent             write_timeout                    END_UNANSWERED
    CLOSING: the client to answer the end of TLS           LINGER_SECONDS                   END_UNANSWERED

LINGERING has a timer of its own. YIELDING and RUNNING have no deadline, for they wait for nothing outside.
"""

from __future__ import annotations

import enum
from typing import Final

from appliance.config.schema import Limits
from appliance.edge.phases import CLOSING, READING, Phase
from appliance.edge.request_parser import BETWEEN, BODY, HEAD, Part

LINGER_SECONDS: Final = 1.0


class Overdue(enum.Enum):
    """Which deadline has passed."""

    RESPONSES_UNREAD = "the client does not read its responses"
    END_UNANSWERED = "the client does not end the connection"
    IDLE = "no request has come"
    REQUEST_UNFINISHED = "a request has not arrived whole"


def find_overdue(
    limits: Limits, phase: Phase, part: Part, age: float, blocked: float | None, has_unsent: bool
) -> Overdue | None:
    """Return which deadline has passed; None: none.

    `age` is how many seconds ago the wait began, `blocked` the same of a wait for the client to read, if there is one.
    """
    if blocked is not None and blocked >= limits.write_timeout:
        return Overdue.RESPONSES_UNREAD
    if phase is CLOSING:
        # The client need not answer the end of TLS, but may still be reading what is unsent.
        return Overdue.END_UNANSWERED if age >= (limits.write_timeout if has_unsent else LINGER_SECONDS) else None
    if phase is not READING:
        return None
    if part is BETWEEN and age >= limits.idle_timeout:
        return Overdue.IDLE
    if (part is HEAD and age >= limits.header_timeout) or (part is BODY and age >= limits.body_timeout):
        return Overdue.REQUEST_UNFINISHED
    return None
