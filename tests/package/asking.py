"""Ask for a card on port 443, each time on a new connection, until SIGTERM; then print what came of it.

Usage: python -m tests.package.asking SIDES
"""

from __future__ import annotations

import json
import signal
import sys

from tests.daemon import until
from tests.system.load import Load, ask_once, client_context

PORT = 443
AFTERWARDS = 20  # answers are waited for: what happened must be over by then


def main(sides: int) -> None:
    """Say when the first answer has come, ask on, and print the outcome as JSON."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    ask_once(PORT, client_context())
    sys.stdout.write("answered\n")
    sys.stdout.flush()
    with Load(PORT, sides=sides, pace=0.02) as load:
        signal.sigwait({signal.SIGTERM})
        before = len(load.seconds)
        until(lambda: len(load.seconds) > before + AFTERWARDS, "answers after it")
    failed = [failure.why for failure in load.failures]
    json.dump({"answered": len(load.seconds), "failed": failed, "slowest": max(load.seconds)}, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]))
