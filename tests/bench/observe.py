"""How long it takes to count and log a request: the counters, the request log, the audit trail.

python -m tests.bench.observe
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

from appliance.observe.audit_file import AuditFile
from appliance.observe.audit_trail import AuditTrail
from appliance.observe.logs import RequestLog
from appliance.observe.shared_counters import SharedCounters
from appliance.observe.writer import Writer
from appliance.outcomes import Outcome, Reply, Response

FOUND = Reply(
    Response(200, b"x" * 1000, "application/json"),
    Outcome.FOUND,
    cache="hit",
    conversation=7,
    mailbox=1,
    agent=3,
    customer="0011223344556677",
)
ROUNDS, NUMBER = 7, 10_000


def measure(name: str, call: Callable[[], object]) -> None:
    """Print the best of some rounds; the disk and the pipe are read between calls as in the service."""
    best = min(timeit.repeat(call, number=NUMBER, repeat=ROUNDS)) / NUMBER
    print(f"{name:<14} {best * 1e6:6.2f} µs")


async def main() -> None:
    """Measure everything."""
    counters = SharedCounters(["helpscout"], 2).worker(0).counters
    measure("counters", lambda: counters.request("helpscout", Outcome.FOUND, "hit", 0.0002))
    log = RequestLog(Writer(os.open(os.devnull, os.O_WRONLY)), time.time)
    measure("request log", lambda: log.write(FOUND, "helpscout", 25, "192.0.2.1"))
    with tempfile.TemporaryDirectory() as folder:
        trail = AuditTrail(AuditFile(Path(folder, "trail")), counters, time.time)
        measure("audit trail", lambda: trail.write(FOUND, "helpscout", 25, "192.0.2.1"))
        await trail.close()


if __name__ == "__main__":
    asyncio.run(main())
