"""How long a start takes, until the first answer over TLS, and what the service needs when nothing happens.

python -m tests.bench.start [--turns N] [--workers N] [PROGRAM ...]

Each PROGRAM is an executable (default: this source); all of them start in turn, from a snapshot. CPU is that of all
processes until the first answer, by the kernel's own account: it tells a slower program from a busy machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.daemon import PATIENCE, Daemon, children

SOURCE = (sys.executable, "-m", "appliance")
QUIET = 4.0
"""Seconds after the first answer: what only a start needs is returned by then."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("program", nargs="*", default=[shlex.join(SOURCE)])
    arguments = parser.parse_args()
    programs = [tuple(shlex.split(program)) for program in arguments.program]
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        folder = Path(place)
        with started(programs[0], folder, arguments.workers) as daemon:  # leaves a snapshot behind
            first_answer(daemon)
        starts: dict[tuple[str, ...], list[tuple[float, float]]] = {program: [] for program in programs}
        versions: dict[tuple[str, ...], list[float]] = {program: [] for program in programs}
        for _ in range(arguments.turns):
            for program in programs:
                starts[program].append(start(program, folder, arguments.workers))
                versions[program].append(version(program, folder))
        for program in programs:
            wall, cpu = zip(*starts[program], strict=True)
            print(f"{shlex.join(program)}, {arguments.workers} workers, {arguments.turns} starts:")
            print(f"  first answer   median {statistics.median(wall):.3f} s, best {min(wall):.3f}")
            print(f"  CPU until then median {statistics.median(cpu):.3f} s, best {min(cpu):.3f}")
            asked = versions[program]
            print(f"  --version      median {statistics.median(asked):.3f} s, best {min(asked):.3f}")
            print(f"  idle           {idle(program, folder, arguments.workers)}")


@contextlib.contextmanager
def started(program: tuple[str, ...], folder: Path, workers: int) -> Iterator[Daemon]:
    """Start a program in a folder, and stop it at the end."""
    environ = {"TMPDIR": str(folder)}
    with Daemon(folder, workers=workers, program=program, environ=environ) as daemon:
        yield daemon
        assert daemon.stop() == 0


def start(program: tuple[str, ...], folder: Path, workers: int) -> tuple[float, float]:
    """Return the seconds to the first answer, and the CPU of all processes until then."""
    began = time.monotonic()
    with started(program, folder, workers) as daemon:
        first_answer(daemon)
        return time.monotonic() - began, sum(map(cpu_of, family(daemon.pid)))


def first_answer(daemon: Daemon) -> None:
    """Ask until there is one, each millisecond."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            assert "Ann Lee" in daemon.ask()
            return
        except ConnectionRefusedError:
            time.sleep(0.001)
    raise AssertionError("no answer")


def version(program: tuple[str, ...], folder: Path) -> float:
    """Return the seconds of `--version`."""
    began = time.monotonic()
    environ = {"PATH": os.environ["PATH"], "TMPDIR": str(folder)}
    subprocess.run([*program, "--version"], check=True, capture_output=True, env=environ)
    return time.monotonic() - began


def idle(program: tuple[str, ...], folder: Path, workers: int) -> str:
    """Return the memory (PSS) of each process, and of all."""
    with started(program, folder, workers) as daemon:
        first_answer(daemon)
        time.sleep(QUIET)
        each = [pss(pid) for pid in family(daemon.pid)]
    return f"{sum(each):.1f} MB (PSS; {', '.join(f'{one:.1f}' for one in each)})"


def family(pid: int) -> list[int]:
    """Return a process and those below it."""
    return [pid, *(each for child in children(pid) for each in family(child))]


def cpu_of(pid: int) -> float:
    """Return the seconds that a process has run."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def pss(pid: int) -> float:
    """Return the MB of a process, with its share of what several use."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


if __name__ == "__main__":
    main()
