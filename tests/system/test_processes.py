"""Workers that are killed, frozen and replaced while requests come in."""

from __future__ import annotations

import os
import signal
import ssl
import sys
import time

import pytest

from tests.daemon import ROOT, Daemon, until
from tests.service.test_reload import TLS, served, write_pair
from tests.system.load import Load, within

IMPATIENT = (sys.executable, str(ROOT / "tests" / "service" / "impatient.py"))


def both_ready(daemon):
    return daemon.health()["workers"]["ready"] == 2


def test_killed_workers(tmp_path, length, measured):
    """Only the requests that were running in the killed worker fail."""
    killed, ready_after = [], []
    with Daemon(tmp_path, workers=2) as daemon:
        daemon.wait_for("serving")
        with Load(daemon.port, sides=4) as load:
            for _ in range(length.kills):
                until(lambda: both_ready(daemon), "both workers")
                victim = daemon.workers()[0]
                os.kill(victim, signal.SIGKILL)
                at = time.monotonic()
                assert daemon.wait_for("worker_died")["pid"] == victim
                killed.append((at, time.monotonic()))  # until it has died it may be given connections
                until(lambda: both_ready(daemon), "a new worker")
                ready_after.append(time.monotonic() - at)
        assert daemon.health()["workers"]["restarts"] == length.kills
        assert daemon.stop() == 0
    measured(
        kills=length.kills,
        requests=len(load.seconds),
        failed=len(load.failures),
        ready_again_after_at_most=f"{max(ready_after):.2f} s",
    )
    unexplained = [
        failure
        for failure in load.failures
        if not any(failure.began <= died and failure.ended >= at for at, died in killed)
    ]
    assert unexplained == []
    assert len(load.failures) <= 4 * length.kills
    assert len(load.seconds) > 20 * length.kills
    within(1.0, max(ready_after), "replacing a killed worker")


def test_frozen_worker(tmp_path, length, measured):
    program = (sys.executable, "-m", "appliance") if length.stuck_after == 15 else IMPATIENT
    with Daemon(tmp_path, workers=2, program=program) as daemon:
        daemon.wait_for("serving")
        stuck = daemon.workers()[0]
        with Load(daemon.port, sides=4) as load:
            os.kill(stuck, signal.SIGSTOP)
            frozen = time.monotonic()
            assert daemon.wait_for("worker_stuck", patience=length.stuck_after + 5)["pid"] == stuck
            assert daemon.wait_for("worker_died")["signal"] == signal.SIGKILL
            until(lambda: both_ready(daemon), "a new worker")
            replaced_after = time.monotonic() - frozen
        assert stuck not in daemon.workers()
        assert daemon.stop() == 0
    measured(requests=len(load.seconds), failed=len(load.failures), replaced_after=f"{replaced_after:.1f} s")
    assert len(load.failures) <= 4  # what each side had running there
    within(length.stuck_after + 3, replaced_after, "replacing a frozen worker")


def test_reloads(tmp_path, length, measured):
    with Daemon(tmp_path, workers=2) as daemon:
        daemon.wait_for("serving")
        with Load(daemon.port, sides=4) as load:
            for _ in range(length.reloads):
                before = daemon.workers()
                daemon.send(signal.SIGHUP)
                daemon.wait_for("reloaded")
                until(lambda old=before: not set(old) & set(daemon.workers()), "the end of the old workers")
        assert daemon.stop() == 0
    measured(SIGHUPs=length.reloads, requests=len(load.seconds), failed=len(load.failures))
    assert load.failures == []
    assert len(load.seconds) > 20 * length.reloads


def test_certificate_swaps(tmp_path, length, measured):
    slowest = 0.0
    write_pair(tmp_path)
    with Daemon(tmp_path, workers=2, config=TLS) as daemon:
        daemon.wait_for("serving")
        with Load(daemon.port, sides=4) as load:
            for _ in range(length.swaps):
                new, began = write_pair(tmp_path), time.monotonic()
                daemon.wait_for("certificate_changed")
                daemon.wait_for("reloaded")
                slowest = max(slowest, time.monotonic() - began)
                assert served(daemon) == new
        assert daemon.stop() == 0
    measured(
        swaps=length.swaps,
        requests=len(load.seconds),
        failed=len(load.failures),
        served_after_at_most=f"{slowest:.1f} s",
    )
    assert load.failures == []
    assert len(load.seconds) > 20 * length.swaps
    within(5.0, slowest, "serving another certificate")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda one: one.name)
def test_resumption_by_either_worker(tmp_path, length, measured, version):
    with Daemon(tmp_path, workers=2) as daemon:
        daemon.wait_for("serving")
        with Load(daemon.port, sides=4, resumes=True, version=version) as load:
            until(lambda: load.offered >= 200, "some handshakes")
        assert daemon.stop() == 0
    measured(tickets_offered=load.offered, resumed=load.resumed)
    assert load.failures == []
    assert load.resumed >= 0.95 * load.offered
