"""Compare sidebard with its peers: slices of load in turn, all servers up at once on one core, the load on another.

python -m tests.bench.peers [--turns N] [--seconds S] [--cases ABCDL] [--servers go,nginx,ceiling,sidebard]

A: TLS, kept connections, cached. B: TLS, kept connections, every customer new. C: a full TLS handshake a request.
D: plain HTTP, cached. L: single requests, 200 a second. SIDEBARD names another command, such as dist/sidebard.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sqlite3
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from tests.bench.peers import fixtures
from tests.bench.peers.figures import Slice, faults, spread, table, turns
from tests.bench.peers.fixtures import FOLDER, HERE
from tests.bench.peers.servers import SERVERS, Server, busy, servers, used
from tests.daemon import ROOT

CONNECTIONS: Final = 32
RATE: Final = 200  # of single requests, a second


class Case(NamedTuple):
    """A kind of load."""

    title: str
    kind: str
    tls: bool = True
    closes: bool = False


CASES: Final[Mapping[str, Case]] = {
    "A": Case("TLS, kept connections, cached", "hot"),
    "B": Case("TLS, kept connections, every customer new", "cold"),
    "C": Case("a full TLS handshake a request", "hot", closes=True),
    "D": Case("plain HTTP, cached", "hot", tls=False),
}


def load(server: Server, case: Case, seconds: int, cores: Sequence[int]) -> Slice:
    """Load a server on the first core, for a moment, from the second."""
    command = ["taskset", "--cpu-list", str(cores[1]), "wrk", "--threads", "1", "--connections", str(CONNECTIONS)]
    command += ["--duration", f"{seconds}s", "--script", str(HERE / "replay.lua"), server.url]
    environ = {
        **os.environ,
        "REQUESTS": str(fixtures.requests_of(case.kind)),
        "FIRST": str(server.asked),  # where the last slice ended: whoever is new is so in all of them
        "CLOSE": str(int(case.closes)),
    }
    if case.closes:
        environ["LD_PRELOAD"] = str(FOLDER / "noresume.so")
    before, busy_before = server.used(), [busy(core) for core in cores]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
    load_used = 0.0
    end = time.monotonic() + seconds - 0.05  # its figures are gone with it
    while time.monotonic() < end:
        time.sleep(0.05)
        load_used = used([process.pid])
    said, _ = process.communicate()
    cpu = server.used() - before
    anybody = [busy(core) - then for core, then in zip(cores, busy_before, strict=True)]
    number = re.search(r"(\d+) requests in ([\d.]+)(m?s)", said)
    assert process.returncode == 0, said
    assert number is not None, said
    server.asked += int(number[1])
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    # A connection that the server ends as it was asked to is no error, but one of wrk's "read".
    errors = (
        sum(int(found) for place, found in enumerate(broken.groups()) if place != 1 or not case.closes) if broken else 0
    )
    return Slice(
        float(number[2]) / (1000 if number[3] == "ms" else 1),
        int(number[1]),
        errors + (int(wrong[1]) if wrong else 0),
        cpu,
        max(0.0, anybody[0] - cpu),
        max(0.0, anybody[1] - load_used),
    )


def compare(name: str, running: Mapping[str, Server], count: int, seconds: int, cores: Sequence[int]) -> list[str]:
    """Measure a case, and print it; return why its figures are not usable."""
    case = CASES[name]
    slices: dict[str, list[Slice]] = {each: [] for each in running}
    for server in running.values():
        load(server, case, 1, cores)  # caches and clocks
    for order in turns(list(running), count):
        for each in order:
            slices[each].append(load(running[each], case, seconds, cores))
    print(f"\n{name}: {case.title}")
    print("\n".join(table(slices, next(iter(running)))))
    return [f"{name}: {fault}" for fault in faults(slices)]


def single(running: Mapping[str, Server], count: int, seconds: int, cores: Sequence[int]) -> None:
    """Measure single requests by `sidebard replay`, and print their times."""
    times: dict[str, list[dict[str, float]]] = {each: [] for each in running}
    for order in turns(list(running), count):
        for each in order:
            command = [
                "taskset",
                "--cpu-list",
                str(cores[1]),
                sys.executable,
                "-m",
                "appliance",
                "replay",
                "--insecure",
                "--json",
            ]
            command += [
                "--rate",
                str(RATE),
                "--connections",
                "1",
                "--duration",
                f"{seconds}s",
                "--url",
                running[each].url,
            ]
            said = subprocess.run(
                [*command, str(FOLDER / "corpus-hot.jsonl")], cwd=ROOT, capture_output=True, text=True, check=False
            ).stdout
            times[each].append(json.loads(said)["latency"])
    print(f"\nL: single requests, {RATE} a second, us\n{'':10}{'p50':>8}{'noise':>8}{'p99':>8}{'noise':>8}")
    for each, done in times.items():
        columns = [[one[key] * 1000 for one in done] for key in ("p50", "p99")]
        print(f"{each:10}" + "".join(f"{statistics.median(one):8,.0f}{f'± {spread(one):.0%}':>8}" for one in columns))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench-peers")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2, help="of each slice")
    parser.add_argument("--cases", default="ABCDL")
    parser.add_argument("--servers", default=",".join(SERVERS), help="the first is what the others are compared with")
    given = parser.parse_args()
    names = given.servers.split(",")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("bench-peers needs two cores: one for the servers, one for the load")
    fixtures.make()
    print(
        f"Python {platform.python_version()} ({platform.python_compiler()}), {ssl.OPENSSL_VERSION},"
        f" SQLite {sqlite3.sqlite_version}, {platform.platform()}\n"
        f"{given.turns} turns of {given.seconds} s for each server, {CONNECTIONS} connections,"
        f" {fixtures.CUSTOMERS:,} customers"
    )
    print(
        subprocess.run(
            [sys.executable, "-m", "appliance", "--version", "--verbose"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[1]
    )
    unusable: list[str] = []
    for tls in (True, False):
        wanted = [name for name, case in CASES.items() if name in given.cases and case.tls is tls]
        if not wanted and not (tls and "L" in given.cases):
            continue
        with servers(names, cores[0], tls) as running:
            for name in wanted:
                unusable += compare(name, running, given.turns, given.seconds, cores)
            if tls and "L" in given.cases:
                single(running, given.turns, given.seconds, cores)
            if tls:
                print("\nown memory, MB: " + ", ".join(f"{name} {each.memory():.0f}" for name, each in running.items()))
    if unusable:
        sys.exit("\nNot usable; run it again on a machine that does nothing else:\n" + "\n".join(unusable))


if __name__ == "__main__":
    main()
