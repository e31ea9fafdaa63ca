"""What a child process gets from the supervisor, by way of the fork."""

from __future__ import annotations

import enum
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from appliance.bootstrap.deployment import Deployment
from appliance.observe.health import SupervisorStatus
from appliance.observe.shared_counters import ChildRow
from appliance.observe.shared_value import SharedValue
from appliance.observe.writer import Writer

END_AT_ONCE: Final = signal.SIGUSR2
"""Sent to a worker that is not to finish its running requests. Not a second SIGTERM: pkill sends one to all processes,
beside the supervisor's, and so does a stop soon after a reload to the workers that are stopping already."""


class ChildKind(enum.StrEnum):
    """What a child process does. The value is its name in the log."""

    WORKER = "worker"
    STEWARD = "steward"


@dataclass(frozen=True, slots=True)
class ChildContext:
    """What a child process gets from the supervisor."""

    deployment: Deployment
    row: ChildRow
    """Its own row of the shared memory: its counters, and what it reports to the supervisor."""

    supervisor: SharedValue[SupervisorStatus]
    writer: Writer
    terminal: bool
    """Whether the log is written for people."""

    wake: Callable[[], None]
    """Makes the supervisor read the rows now."""
