"""Files to preview, and `sidebard preview` as a process of its own."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.coverage_env import COVERAGE
from tests.daemon import PATIENCE, ROOT
from tests.factory import write_csv

CONFIG = """[server]
state = "state"
[customers]
source = "customers.csv"
addresses = ["email"]
[[app]]
secrets = ["file:nothing-here"]
card = "card.html"
"""


def write_files(folder: Path) -> None:
    """Write a config, customers and a card."""
    write_csv(folder / "customers.csv")
    (folder / "sidebard.toml").write_text(CONFIG)
    (folder / "card.html").write_text("<h4>{{ customer.name }}</h4>\n")


class Preview:
    """A running preview and its address."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """End it as Ctrl-C does; give its exit code."""
        os.kill(self.process.pid, number)
        return self.process.wait(PATIENCE)


@contextmanager
def preview(*arguments: str | Path, **environ: str) -> Iterator[Preview]:
    """Start it with these arguments and nothing else in its environment, and end it."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "appliance", "preview", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**COVERAGE, "PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **environ},
    )
    assert process.stdout is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        assert ready, "it has printed no address"
        yield Preview(process, process.stdout.readline().strip())
    finally:
        if process.poll() is None:
            process.terminate()  # and it takes its folder away
        process.wait(PATIENCE)
        process.stdout.close()
