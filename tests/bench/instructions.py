"""How many instructions a request takes: from the bytes that were received to those of its response, its log line and
its counters, without TLS and the kernel. Unlike a time it is the same on a busy machine. It needs valgrind.

python -m tests.bench.instructions [cached | new | unknown | builtin]...
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from appliance.cards.template import CardTemplate
from appliance.config.schema import Limits
from appliance.edge.connection import Connection
from appliance.edge.connections import ConnectionRegistry
from appliance.edge.site import Mount, Site, by_path
from appliance.observe.logs import RequestLog
from appliance.observe.shared_counters import SharedCounters
from appliance.observe.writer import Writer
from appliance.sidebar.app import Card
from tests.factory import NOW, body_for, import_spec, make_app, open_snapshot, run_import, sign, write_csv

CUSTOMERS = 200_000
PLACES = 500
"""Answers that the cache holds. A new one pushes another out, as in a server that is busy."""

FEW, MANY = 200, 1000
"""Requests of the two runs whose difference is taken, so that what is done once does not count."""

CASES = {
    "cached": "one of 40 customers, from the cache",
    "new": "a customer who is not in the full cache, by a template of 8 values",
    "unknown": "two addresses that nobody has",
    "builtin": "a customer who is not in the full cache, by the built-in card",
}
TEMPLATE = """<h4>{{ customer.name }}</h4><p class="muted">Customer since {{ customer.since }}</p><ul>\
<li>Plan: <strong>{{ customer.plan }}</strong></li><li>Lifetime value: ${{ customer.ltv }}</li>\
<li>Company: {{ customer.company }}</li><li>Last order: {{ customer.last_order }}</li>\
<li>Email: <a href="mailto:{{ customer.email }}">{{ customer.email }}</a></li></ul>"""


def email_of(number: int) -> str:
    """Return an address; those of neighbours are far apart in the snapshot."""
    scattered = number * 2654435761 & 0xFFFFFFFF
    return f"user{scattered:08x}@example{number % 997}.com"


def rows() -> Iterator[tuple[str, ...]]:
    """Return the customers, the header first. Each has one value that must be escaped."""
    yield "email", "name", "plan", "since", "ltv", "company", "last order"
    for n in range(CUSTOMERS):
        yield email_of(n), f"Ada Lovelace {n}", "Pro", "2019-05-24", f"{n}.50", f"Sons & Sons {n}", f"#{100000 + n}"


def request_of(number: int, *, known: bool = True) -> bytes:
    """Return a request about a customer, with a second address that nobody has, as Help Scout sends it."""
    body = body_for(
        email_of(number) if known else f"nobody.{number}@example.net",
        f"alt.{number}@mail.example.org",
        user={"id": "200001", "fname": "Agent", "lname": "Smith", "role": "owner", "convRedirect": 0},
        mailbox={"id": "3001", "email": "support@helpdesk.example.com"},
    )
    head = b"POST /helpscout HTTP/1.1\r\nHost: localhost\r\nX-HelpScout-Signature: %b\r\nContent-Length: %d\r\n\r\n"
    return head % (sign(body), len(body)) + body


class Socket:
    """A transport that counts what is written."""

    def __init__(self) -> None:
        self.written = 0

    def write(self, data: bytes) -> None:
        self.written += len(data)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> None:
        return None

    def set_write_buffer_limits(self, high: int) -> None:
        pass


class Loop:
    """An event loop: runs what is due as soon as a request is answered, and no timer."""

    def __init__(self) -> None:
        self.due: list[Callable[[], object]] = []

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.due.append(callback)

    def call_later(self, delay: float, callback: Callable[[], object]) -> None:
        pass

    def run(self) -> None:
        while self.due:
            self.due.pop()()


def make_registry(folder: Path, loop: Loop, *, template: bool) -> ConnectionRegistry:
    """Make the edge of a worker with a snapshot of the customers, its log and its counters."""
    app = make_app(
        open_snapshot(folder / "state", import_spec(folder / "customers.csv")),
        card=Card(CardTemplate(TEMPLATE, "card.html") if template else None),
        size=PLACES,
        unknown_size=PLACES,
    )
    writer = Writer(os.open(os.devnull, os.O_WRONLY), find_loop=lambda: loop)
    site = Site(
        mounts=by_path([Mount("/helpscout", "X-HelpScout-Signature", app)]),
        application=None,  # type: ignore[arg-type]  # every request takes the fast path
        request_log=RequestLog(writer, lambda: NOW),
        counters=SharedCounters(["helpscout"], 1).worker(0).counters,
        sample_refusal=lambda *_: None,
        timer=lambda: 1.0,
        clock=lambda: NOW,
    )
    return ConnectionRegistry(site, Limits(), loop.call_later, loop.call_soon, lambda _: None)


def run(folder: Path, case: str, count: int) -> None:
    """Fill the cache, and answer `count` requests."""
    loop, transport = Loop(), Socket()
    connection = Connection(make_registry(folder, loop, template=case != "builtin"), "192.0.2.1", None)
    connection.connection_made(transport)  # type: ignore[arg-type]
    numbers: list[Any] = [n % 40 if case == "cached" else n * 7 % CUSTOMERS for n in range(PLACES + MANY)]
    requests = [request_of(n, known=case != "unknown") for n in numbers]
    gc.collect()
    gc.disable()
    for request in requests[: PLACES + count]:
        connection.data_received(request)
        loop.run()
    print("bytes", transport.written)


def instructions(folder: Path, case: str, count: int) -> int:
    """Return how many instructions a process takes that answers `count` requests."""
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/{case}.{count}", sys.executable]
    command += ["-m", "tests.bench.instructions", "--folder", str(folder), "--count", str(count), case]
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], default=[])
    parser.add_argument("--folder", type=Path, help="where the customers and callgrind's files are kept")
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.count is not None:
        run(given.folder, given.cases[0], given.count)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        source = folder / "customers.csv"
        if not source.exists():
            run_import(import_spec(write_csv(source, rows())), folder / "state")
        for case in given.cases or CASES:
            few, many = instructions(folder, case, FEW), instructions(folder, case, MANY)
            print(f"{case:8} {(many - few) / (MANY - FEW) / 1000:6.1f} thousand a request: {CASES[case]}", flush=True)


if __name__ == "__main__":
    main()
