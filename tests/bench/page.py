"""What Help Scout's current platform costs: pages beside legacy messages, webhooks beside the disk, and the map of ids.

python -m tests.bench.page [ids] [webhooks] [pages]    pages need wrk and two cores: one for the service, one for wrk
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Collection
from pathlib import Path

from appliance.customers.id_map import IdMap, base_of, journal_of, line_of
from appliance.customers.ids import Known
from appliance.service.id_store import IdStore
from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from tests.daemon import Daemon
from tests.factory import SECRET, body_for, sign, visit_for
from tests.system.processes import memory

ROUNDS, SECONDS, CONNECTIONS = 3, 4, 32
WEBHOOKS = 300
IDS, LINES = 1_000_000, 100_000
LOOKUPS = 100_000
NOW = 1_790_000_000.0
PAGE = HelpScoutPage([SECRET.encode()])
SERVER_CORE, CLIENT_CORE = 0, 1


# Requests


def load(daemon: Daemon, path: str, script: Path | None) -> tuple[float, float]:
    """Return how many requests a second were answered, and the worker's CPU of one in microseconds."""
    worker = daemon.workers()[0]
    given = ["-s", str(script)] if script is not None else []
    url = f"https://127.0.0.1:{daemon.port}{path}"
    before = cpu(worker)
    shown = subprocess.run(
        ["taskset", "-c", f"{CLIENT_CORE}", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", *given, url],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Non-2xx" not in shown, shown
    [rate], [count] = re.findall(r"Requests/sec: +([\d.]+)", shown), re.findall(r"(\d+) requests in", shown)
    return float(rate), (cpu(worker) - before) / int(count) * 1e6


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_pages(daemon: Daemon, folder: Path) -> None:
    """Print the rates of cached messages and of cached pages, in alternating rounds."""
    body = body_for("ann@example.com")
    script = folder / "post.lua"
    fields = f'wrk.method = "POST"\nwrk.headers["X-HelpScout-Signature"] = "{sign(body).decode()}"\n'
    script.write_text(f"{fields}wrk.body = [==[{body.decode()}]==]\n")
    path = f"/helpscout?{visit_for(PAGE, customer_id=1).body.decode()}"
    found: dict[str, list[tuple[float, float]]] = {"message": [], "page": []}
    for _ in range(ROUNDS):
        found["message"].append(load(daemon, "/helpscout", script))
        found["page"].append(load(daemon, path, None))
    medians = {}
    for kind, rounds in found.items():
        rate, micros = (statistics.median(column) for column in zip(*rounds, strict=True))
        medians[kind] = rate
        print(f"cached {kind}: {rate:,.0f}/s, {micros:.0f} µs of the worker's CPU")
    print(f"page / message: {medians['page'] / medians['message']:.2f}")


# Webhooks


def measure_webhooks(daemon: Daemon, folder: Path) -> None:
    """Print how long a webhook waits for its answer, beside appends that are synced to the same disk in between."""
    confirmed, synced = [], []
    probe = os.open(folder / "state" / "probe", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with contextlib.closing(daemon.connect()) as connection:
        for number in range(WEBHOOKS):
            began = time.perf_counter()
            os.write(probe, b"x" * 80 + b"\n")
            os.fsync(probe)
            synced.append(time.perf_counter() - began)
            confirmed.append(deliver(connection, 1000 + number))
    os.close(probe)
    disk, answer = statistics.median(synced) * 1e3, statistics.median(confirmed) * 1e3
    print(
        f"webhook confirmed: {answer:.2f} ms; fsync of the same disk: {disk:.2f} ms;"
        f" beyond two of them: {answer - 2 * disk:.2f} ms"
    )


def deliver(connection: http.client.HTTPSConnection, customer: int) -> float:
    """Send an event of a customer; return the seconds until it is confirmed."""
    body = json.dumps({"id": customer, "_embedded": {"emails": [{"value": f"c{customer}@example.com"}]}}).encode()
    headers = {"X-HelpScout-Event": "customer.updated", "X-HelpScout-Signature": sign(body).decode()}
    began = time.perf_counter()
    connection.request("POST", "/helpscout", body, headers)
    response = connection.getresponse()
    response.read()
    assert response.status == 200
    return time.perf_counter() - began


# The map of ids


def in_child(call: Callable[[], None]) -> None:
    """Call it in a process of its own, whose memory says nothing of what came before."""
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        try:
            call()
            sys.stdout.flush()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def write_journal(folder: Path, first: int, count: int) -> None:
    """Write a first generation's journal of so many lines."""
    folder.mkdir(mode=0o700)
    with journal_of(folder, 1).open("wb") as journal:
        for customer in range(first, first + count):
            journal.write(line_of(customer, Known((f"customer{customer}@company.example",), NOW, int(NOW // 86400))))


def measure_ids(folder: Path) -> None:
    """Print the size of a base of many ids, how long a look-up takes, and what it adds to a reader's memory."""
    write_journal(folder, 600_000_000, IDS)

    def compact() -> None:
        store = IdStore(folder, NOW)
        began = time.perf_counter()
        store.compact(NOW)
        print(f"{IDS:,} ids: {base_of(folder, 2).stat().st_size / 1e6:.1f} MB, written in", end=" ")
        print(f"{time.perf_counter() - began:.1f} s")

    def look_up() -> None:
        ids, random_ids, times = IdMap(folder), random.Random(1), array("d", bytes(8 * LOOKUPS))
        assert ids.find(1) is None  # opened
        before = memory([os.getpid()])
        for number in range(LOOKUPS):
            customer = 600_000_000 + random_ids.randrange(IDS)
            began = time.perf_counter()
            held = ids.find(customer)
            times[number] = time.perf_counter() - began
            assert held is not None
        added = memory([os.getpid()]) - before
        p99 = statistics.quantiles(times, n=100)[98]
        print(
            f"look-up: median {statistics.median(times) * 1e6:.1f}, mean {statistics.mean(times) * 1e6:.1f},", end=" "
        )
        print(f"p99 {p99 * 1e6:.1f} µs; it adds {added:.1f} MB to the reader")

    in_child(compact)
    in_child(look_up)


def measure_start(folder: Path) -> None:
    """Print how long a long journal takes to be read at a start."""
    write_journal(folder, 1, LINES)

    def read() -> None:
        began = time.perf_counter()
        ids = IdMap(folder)
        ids.refresh()
        print(
            f"{LINES:,} lines of the journal, {ids.end / 1e6:.1f} MB: read in {time.perf_counter() - began:.2f} s,",
            end=" ",
        )
        began = time.perf_counter()
        IdStore(folder, NOW).close()
        print(f"opened by the steward in {time.perf_counter() - began:.2f} s")

    in_child(read)


def main(parts: Collection[str]) -> None:
    """Measure, and print a line for each."""
    with tempfile.TemporaryDirectory(prefix="bench-page-") as name:
        folder = Path(name)
        if "ids" in parts:
            measure_ids(folder / "many")
            measure_start(folder / "long")
        if not {"webhooks", "pages"} & set(parts):
            return
        served = folder / "service"
        served.mkdir()
        config = '[log]\nrequests = false\n[cache]\nttl = "1h"\n'
        taskset = ("taskset", "-c", f"{SERVER_CORE}", sys.executable, "-m", "appliance")
        with Daemon(served, config=config, app="[app.page]", program=taskset) as daemon:
            daemon.wait_for("serving")
            with contextlib.closing(daemon.connect()) as connection:
                deliver(connection, 1)
            if "webhooks" in parts:
                measure_webhooks(daemon, served)
            if "pages" in parts:
                measure_pages(daemon, served)
            daemon.stop()


if __name__ == "__main__":
    main(sys.argv[1:] or ("ids", "webhooks", "pages"))
