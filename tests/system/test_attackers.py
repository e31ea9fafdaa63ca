"""Attackers who want a worker for themselves, and a good client who must get its share."""

from __future__ import annotations

import json
import time

import pytest

from tests.daemon import Daemon, until
from tests.service.test_log import metric
from tests.system.attacks import PIPELINES, attack
from tests.system.load import good_client, within
from tests.system.processes import family, memory
from tests.system.test_resources import answers

# How many attack: the good client's p99 in seconds, at most, and the memory of all processes in MB.
PIPELINED = {1: (0.15, 120), 20: (0.3, 120), 100: (0.8, 120), 300: (None, 200)}
FLOODED = {1: 0.3, 20: 0.8}
STREAMS = 30
MIXED = 0.8
EXPECTED = {"stopping", "stopped", "worker_ready", "imported", "wrong_signature"}
SETTLED = 10.0  # MB that the second half of a long mixed attack may take beyond the first


def held_up(daemon, kind, connections, seconds, seed=0):
    """Attack; give the good client, the most memory that all processes took, and what the attackers say."""
    workers, used, began = daemon.workers(), [], time.monotonic()
    with attack(kind, daemon.port, connections, seconds, seed) as attackers, good_client(daemon.port) as good:

        def over():
            used.append((time.monotonic() - began, memory(family(daemon), "Pss")))
            return attackers.poll() is not None

        until(over, "the end of the attack", patience=seconds + 30)
        assert attackers.stdout is not None
        told = json.load(attackers.stdout)
    assert daemon.workers() == workers, "a worker was killed"
    good.all_answered()
    until(lambda: metric(daemon, "connections") == 0, "nobody")
    return good, used, told


def serving(folder):
    """Serve with one worker, and write a line for each request."""
    log = open(folder / "log", "wb")  # noqa: SIM115
    daemon = Daemon(folder, stdout=log.fileno())
    log.close()
    return daemon


def ready(daemon):
    until(lambda: answers(daemon), "an answer")
    daemon.healthy()


@pytest.mark.parametrize("kind", PIPELINES)
def test_pipelined_requests(tmp_path, length, measured, kind):
    numbers = {}
    with serving(tmp_path) as daemon:
        ready(daemon)
        for connections in PIPELINED:
            good, used, _ = held_up(daemon, kind, connections, length.pipeline_seconds)
            numbers[connections] = (good.p99, max(most for _, most in used))
        assert daemon.stop() == 0
    measured(
        good_p99=", ".join(f"{p99:.3f}" for p99, _ in numbers.values()) + f" s with {tuple(numbers)} connections",
        memory=", ".join(f"{most:.0f}" for _, most in numbers.values()) + " MB",
    )
    for connections, (most_seconds, most_memory) in PIPELINED.items():
        p99, used = numbers[connections]
        if most_seconds is not None:
            within(most_seconds, p99, f"99 of 100 requests beside {connections} attackers")
        assert used <= most_memory


def test_key_updates(tmp_path, length, measured):
    """Whoever floods below HTTP is dropped, and again when it comes back."""
    numbers = {}
    with serving(tmp_path) as daemon:
        ready(daemon)
        for connections in FLOODED:
            before = metric(daemon, "connections_dropped_total")
            good, used, told = held_up(daemon, "key updates", connections, length.flood_seconds)
            dropped = metric(daemon, "connections_dropped_total") - before
            assert connections <= dropped <= told["connections"]
            numbers[connections] = (good.p99, max(most for _, most in used), dropped)
        assert daemon.stop() == 0
    measured(
        good_p99=", ".join(f"{p99:.3f}" for p99, *_ in numbers.values()) + f" s with {tuple(numbers)} connections",
        memory=", ".join(f"{most:.0f}" for _, most, _ in numbers.values()) + " MB",
        dropped=", ".join(f"{dropped:.0f}" for *_, dropped in numbers.values()),
    )
    for connections, limit in FLOODED.items():
        within(limit, numbers[connections][0], f"99 of 100 requests beside {connections} attackers")


def test_hostile_streams(tmp_path, length, measured, request):
    """All kinds of requests, records and ends, by chance; every line that is logged is JSON, or reading it fails."""
    seed = 1
    with Daemon(tmp_path, config="[log]\nrequests = false") as daemon:
        daemon.wait_for("serving")
        daemon.ask()
        good, used, told = held_up(daemon, "mixed", STREAMS, length.mixed_seconds, seed)
        assert daemon.stop() == 0
        strange = [line for line in daemon.rest() if line["event"] not in EXPECTED]
    half = length.mixed_seconds / 2
    first = max(most for at, most in used if at < half)
    second = max(most for at, most in used if at >= half)
    measured(
        seconds=length.mixed_seconds,
        streams=STREAMS,
        connections=told["connections"],
        seed=seed,
        good_p99=f"{good.p99:.3f} s",
        memory=f"{first:.1f} MB at most in the first half, {second:.1f} in the second",
    )
    within(MIXED, good.p99, "99 of 100 requests of the good client")
    assert strange == [], json.dumps(strange)
    if request.config.getoption("--long"):
        assert second - first < SETTLED
