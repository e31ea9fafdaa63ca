"""What the kernel says of the service's processes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tests.daemon import Daemon, children

MB = 1024 * 1024


def family(daemon: Daemon) -> list[int]:
    """Return the pids of the supervisor and its children."""
    return [daemon.pid, *children(daemon.pid)]


def cpu(pids: Iterable[int]) -> float:
    """Return how many seconds of CPU they have used together."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pids: Iterable[int], what: str = "Rss") -> float:
    """Return their memory in MB: Rss, or Pss, which counts what several share once."""
    kibibytes = 0
    for pid in pids:
        rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        kibibytes += next(int(row.split()[1]) for row in rows if row.startswith(f"{what}:"))
    return kibibytes * 1024 / MB


def descriptors(pids: Iterable[int]) -> int:
    """Return how many descriptors they have open together."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)
