"""Load, from `sidebard replay`: steady, too much, without kept connections, for long, beside idle ones.

R is what one worker can do: a closed loop of ten connections, on this machine, now. What a busy machine may break, such
as a percentile, is held to its limit in the long form alone.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time

import pytest

from tests.daemon import ROOT, Daemon, until
from tests.factory import CUSTOMERS, write_csv
from tests.service.test_log import metric
from tests.system.load import REQUEST, Crowd, client_context, connect, read_card, secure, source, within
from tests.system.processes import cpu, descriptors, memory
from tests.system.test_crowds import SLACK, SWEEP, timeouts
from tests.system.test_resources import answers

PEOPLE = 20_000
BODIES = 10_000
P99 = 50.0  # milliseconds
AGAIN = 5.0  # seconds until it is as before the overload
SLOPE = 1.0  # MB in ten minutes
MUCH = 20.0  # MB: what grows by so much in seconds would not last a day


def command(*arguments):
    return [sys.executable, "-m", "appliance", *map(str, arguments)]


def write_customers(folder, generation=0):
    """Write the customers beside and rename them, as an operator should."""
    people = (
        (f"person{one}@company{one % 977}.example", f"Person {one}", f"Plan {generation}") for one in range(PEOPLE)
    )
    write_csv(folder / "beside.csv", [*CUSTOMERS, *people])
    (folder / "beside.csv").rename(folder / "customers.csv")


@contextlib.contextmanager
def serving(folder):
    """Serve many customers with one worker, with a log, and make a corpus about them."""
    write_customers(folder)
    log = open(folder / "log", "wb")  # noqa: SIM115
    with log, Daemon(folder, customers=False, stdout=log.fileno()) as daemon:
        until(lambda: answers(daemon), "an answer")
        daemon.healthy()
        with open(folder / "corpus.jsonl", "wb") as corpus:
            subprocess.run(
                command("requests", "--config", daemon.config, "--count", BODIES), stdout=corpus, cwd=ROOT, check=True
            )
        yield daemon
        assert daemon.stop() == 0


def replay(daemon, seconds, *flags, watch=lambda: None):
    """Run it, calling `watch` ever again; give what it prints as JSON. That it says no is for the caller to judge."""
    url = f"https://localhost:{daemon.port}/helpscout"
    ca = daemon.folder / "state" / "self-signed" / "localhost.crt"
    arguments = ("replay", daemon.folder / "corpus.jsonl", "--url", url, "--ca", ca, "--duration", seconds, "--json")
    with tempfile.TemporaryFile() as result:  # an hour's course is more than a pipe holds
        process = subprocess.Popen(command(*arguments, *flags), cwd=ROOT, stdout=result)

        def ended():
            watch()
            return process.poll() is not None

        until(ended, "the end of the replay", patience=seconds + 60)
        assert process.returncode in (0, 1)
        result.seek(0)
        return json.load(result)


def nobody(daemon):
    until(lambda: metric(daemon, "connections") == 0, "nobody")


def warm(daemon):
    """Have it open and keep what it ever will."""
    replay(daemon, 1, "--connections", 50)
    nobody(daemon)


@pytest.fixture(scope="module")
def most(tmp_path_factory):
    """R."""
    with serving(tmp_path_factory.mktemp("most")) as daemon:
        replay(daemon, 1)
        return replay(daemon, 3)["answers_per_second"]


def all_right(figures):
    """Every answer that came was a card, and every request was answered."""
    return (figures["wrong"], figures["failures"], list(figures["statuses"])) == ({}, {}, ["200"])


def shown(figures):
    """Return what the table shows of a run."""
    return {
        "offered": f"{figures['rate']:,.0f}/s" if figures["rate"] else "as fast as it goes",
        "answered": f"{figures['answered']:,}",
        "not_started": figures["unsent"],
        "failed": figures["failed"],
        "wrong": sum(wrong["count"] for wrong in figures["wrong"].values()),
        "p50": f"{figures['latency']['p50']:.1f} ms",
        "p99": f"{figures['latency']['p99']:.1f} ms",
    }


class Memory:
    """The worker's memory over time."""

    def __init__(self, daemon):
        self.worker = daemon.workers()
        self.began = self.next = time.monotonic()
        self.samples: list[tuple[float, float]] = []

    def __call__(self):
        """Take a sample each second."""
        if time.monotonic() >= self.next:
            self.next += 1.0
            self.samples.append((time.monotonic() - self.began, memory(self.worker)))

    def after(self, seconds):
        """Return the samples from then on."""
        return [sample for sample in self.samples if sample[0] >= seconds]

    def slope(self, seconds):
        """Return how many MB it grew in ten minutes, by the line of least squares through the samples from then on."""
        samples = self.after(seconds)
        mean_x, mean_y = (sum(column) / len(samples) for column in zip(*samples, strict=True))
        spread = sum((x - mean_x) ** 2 for x, _ in samples)
        return 600 * sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread


def test_a_signed_replay(tmp_path, length, measured, request, most):
    """L1. Every answer is compared, by the byte, with what the same config gives in another process."""
    with serving(tmp_path) as daemon:
        warm(daemon)
        used, workers = Memory(daemon), daemon.workers()
        flags = ("--rate", 0.6 * most, "--connections", 32, "--compare", "--config", daemon.config)
        figures = replay(daemon, length.replay_seconds, *flags, watch=used)
        assert daemon.workers() == workers
    first = used.after(min(60, length.replay_seconds / 3))[0][1]
    last = used.samples[-1][1]
    measured(R=f"{most:,.0f}/s", **shown(figures), memory=f"{first:.1f}, then {last:.1f} MB")
    assert all_right(figures)
    assert last - first < MUCH
    if request.config.getoption("--long"):
        assert figures["latency"]["p99"] <= P99
        assert last < 1.05 * first


def test_overload(tmp_path, length, measured, request, most):
    """L2. Twice of what it can do, then half of it."""
    with serving(tmp_path) as daemon:
        workers = daemon.workers()
        much = replay(daemon, length.overload_seconds, "--rate", 2 * most, "--connections", 200)
        less = replay(daemon, AGAIN + length.overload_seconds, "--rate", 0.5 * most, "--connections", 32)
        assert daemon.workers() == workers
    after = [point["p99"] for point in less["points"] if point["at"] > AGAIN]
    measured(
        R=f"{most:,.0f}/s",
        **shown(much),
        **{f"then_{name}": number for name, number in shown(less).items()},
        worst_p99_after_5_s=f"{max(after):.1f} ms",
    )
    assert set(much["statuses"]) <= {"200", "503"}
    assert set(much["failures"]) <= {"refused"}
    assert much["answered"] > 0
    assert all_right(less)
    if request.config.getoption("--long"):
        assert max(after) <= P99


@pytest.mark.parametrize("flag", ["--close", "--resume"], ids=["full handshakes", "resumed"])
def test_a_connection_for_each_request(tmp_path, length, measured, flag):
    """L3."""
    with serving(tmp_path) as daemon:
        warm(daemon)
        before = descriptors(daemon.workers())
        figures = replay(daemon, length.handshake_seconds, flag)
        nobody(daemon)
        until(lambda: descriptors(daemon.workers()) <= before, "as many descriptors as before")
    resumed = {"resumed": f"{figures['resumed']:,} of {figures['offered']:,}"} if flag == "--resume" else {}
    measured(**shown(figures), connections=f"{figures['opened']:,}", **resumed)
    assert all_right(figures)
    assert figures["opened"] == figures["answered"]
    if flag == "--resume":
        assert figures["offered"] > 0
        assert figures["resumed"] >= 0.95 * figures["offered"]


def test_soak(tmp_path, length, measured, request, most):
    """L4. A new customers file now and then."""
    with serving(tmp_path) as daemon:
        warm(daemon)
        used, before, started = Memory(daemon), descriptors(daemon.workers()), daemon.health()["data"]["generation"]
        next_file = time.monotonic() + length.refresh_seconds
        files = 0

        def watch():
            nonlocal next_file, files
            used()
            if time.monotonic() > next_file:
                next_file += length.refresh_seconds
                files += 1
                write_customers(tmp_path, files)

        figures = replay(daemon, length.soak_seconds, "--rate", 0.3 * most, "--connections", 32, watch=watch)
        nobody(daemon)
        until(lambda: descriptors(daemon.workers()) <= before, "as many descriptors as before")
        imported = daemon.health()["data"]["generation"] - started
    first, last = used.after(length.soak_seconds / 3)[0][1], used.samples[-1][1]
    measured(
        R=f"{most:,.0f}/s",
        **shown(figures),
        imports=f"{imported} of {files} files",
        memory=f"{first:.1f}, then {last:.1f} MB",
    )
    assert all_right(figures)
    assert last - first < MUCH
    if request.config.getoption("--long"):
        slope = used.slope(length.soak_seconds / 3)
        measured(slope=f"{slope:+.2f} MB in ten minutes")
        assert slope < SLOPE
        assert imported >= files - 1


def test_idle_connections(tmp_path, length, measured):
    """L5. More of them than the service holds, each after a good request: a good client displaces one."""
    context = client_context()

    def begin(plain):
        connection = secure(plain, context)
        connection.sendall(REQUEST)
        read_card(connection)
        return connection

    write_customers(tmp_path)
    server = f"max_connections = {length.capacity}\n{timeouts(length.timeout)}"
    daemon = Daemon(tmp_path, server=server, config="[log]\nrequests = false", customers=False)
    with daemon, Crowd() as crowd:
        daemon.wait_for("serving")
        with open(tmp_path / "corpus.jsonl", "wb") as corpus:
            subprocess.run(command("requests", "--config", daemon.config), stdout=corpus, cwd=ROOT, check=True)
        for one in range(length.idle):
            crowd.join(begin(connect(daemon.port, source(one))), time.monotonic())
        workers = daemon.workers()
        before, began = cpu(workers), time.monotonic()
        good = replay(daemon, length.timeout, "--rate", 10, "--close")
        until(lambda: crowd.gone, "the end of the crowd", patience=60)
        used, seconds = cpu(workers) - before, time.monotonic() - began
        assert daemon.stop() == 0
        lines = len([line for line in daemon.rest() if line["event"] != "stopped"])
    longest = max(attacker.lived for attacker in crowd.all)
    measured(
        connections=f"{length.idle} with room for {length.capacity}",
        closed_after_at_most=f"{longest:.1f} s (limit {length.timeout} s)",
        CPU=f"{used / seconds:.1%}",
        log_lines=lines,
        **shown(good),
        slowest=f"{good['latency']['max']:.1f} ms",
    )
    assert all_right(good)
    within(length.timeout + SWEEP, good["latency"]["max"] / 1000, "a request of the good client")
    within(length.timeout + SWEEP + SLACK, longest, "closing an idle connection")
    assert used / seconds < 0.10
    assert lines < 10
