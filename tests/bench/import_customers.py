"""How fast customers are imported and found, beside `sqlite3 .import` of the same file in the same run.

python -m tests.bench.import_customers [ROWS]    needs the command sqlite3; works in a folder of its own under TMPDIR
"""

from __future__ import annotations

import csv
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from appliance.customers.snapshot_store import open_newest
from appliance.ingest.importer import import_customers
from appliance.ingest.spec import ImportSpec
from tests.factory import import_spec

HEADER = ("email", "name", "plan", "since", "ltv", "company", "last_order")
LOOK_UPS = 20_000


def row(number: int) -> tuple[str, ...]:
    """Give a customer; the numbers are scattered, so that the file is not sorted by address."""
    mixed = (number * 2654435761) & 0xFFFFFFFF
    return (
        f"user{mixed:08x}@example{number % 997}.com",
        f"First{mixed % 97} Last{mixed % 89}",
        "Pro",
        f"20{10 + mixed % 15}-{1 + mixed % 12:02}-{1 + mixed % 28:02}",
        f"{mixed % 100_000 / 100:.2f}",
        f"Company & Sons <{number % 5000}>",
        f"#{100_000 + number}",
    )


def write(file: Path, rows: int) -> None:
    """Write the file."""
    with open(file, "w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(HEADER)
        writer.writerows(map(row, range(rows)))


def measured(command: list[str]) -> tuple[float, float]:
    """Run a command; give its seconds and its peak memory in MB."""
    began = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} failed")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def look_ups(folder: Path, spec: ImportSpec, rows: int) -> list[tuple[str, list[float]]]:
    """Time single look-ups of known and unknown addresses; give microseconds each, sorted."""
    snapshot = open_newest(folder, spec.digest())
    assert snapshot is not None
    dice = random.Random(1)
    known = [row(dice.randrange(rows))[0] for _ in range(LOOK_UPS)]
    result = []
    for name, addresses in (("known", known), ("unknown", [f"x{address}" for address in known])):
        times = []
        for address in addresses:
            began = time.perf_counter()
            found = snapshot.find((address,))
            times.append((time.perf_counter() - began) * 1e6)
            assert bool(found) is (name == "known")
        result.append((name, sorted(times)))
    return result


def main() -> None:
    """Measure and print a table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="bench-import-") as name:
        folder = Path(name)
        source = folder / "customers.csv"
        write(source, rows)
        print(f"{rows:,} rows, {source.stat().st_size / 1e6:.0f} MB of CSV")
        index = "CREATE INDEX by_email ON customers(email)"
        peer = ["sqlite3", str(folder / "peer.db"), ".mode csv", f".import {source} customers", index]
        ours = [sys.executable, "-m", "tests.bench.import_customers", "--import", str(source), str(folder / "state")]
        for title, command in (("sqlite3 .import and index", peer), ("sidebard import", ours)):
            seconds, peak = measured(command)
            print(f"{title:26} {seconds:6.1f} s {rows / seconds:10,.0f} rows/s {peak:6.0f} MB peak")
        (snapshot,) = (folder / "state").glob("*.db")
        print(
            f"snapshot {snapshot.stat().st_size / 1e6:.0f} MB, peer {(folder / 'peer.db').stat().st_size / 1e6:.0f} MB"
        )
        for title, times in look_ups(folder / "state", import_spec(source=source), rows):
            print(
                f"look-up, {title:8} mean {statistics.fmean(times):5.1f} us, p50 {times[len(times) // 2]:5.1f},"
                f" p99 {times[len(times) * 99 // 100]:5.1f}"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--import"]:
        spec = import_spec(source=Path(sys.argv[2]))
        print(import_customers(spec, Path(sys.argv[3]), clock=time.time, timer=time.perf_counter))
    else:
        main()
