"""More attackers than the service has descriptors."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import time
from typing import Any

import pytest

from tests.daemon import Daemon
from tests.system.load import Crowd, connect, good_client, within
from tests.system.processes import cpu, family

DESCRIPTORS = 64
ATTACKERS = 110
IDLE = 1.0
IMPATIENT = "\n".join(f'{name}_timeout = "1s"' for name in ("handshake", "header", "body", "idle"))


@pytest.mark.parametrize(("pause", "most_cpu"), [(1.0, 0.5), (0.1, 2.0)], ids=["idle", "rushing"])
def test_more_attackers_than_descriptors(tmp_path, monkeypatch, length, measured, pause, most_cpu):
    """They hold all they can and come back when they are dropped, each second or at once; a good client is served."""
    popen: Any = subprocess.Popen

    def limited(*arguments, **options):
        limit = (DESCRIPTORS, DESCRIPTORS)
        return popen(*arguments, **options, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limit))

    monkeypatch.setattr(subprocess, "Popen", limited)
    with Daemon(tmp_path, server=IMPATIENT) as daemon, Crowd() as crowd:
        daemon.wait_for("serving")
        processes = family(daemon)
        for _ in range(ATTACKERS):
            crowd.join(connect(daemon.port), time.monotonic())
        before, end = cpu(processes), time.monotonic() + length.attack_seconds
        with good_client(daemon.port) as good:
            back = time.monotonic()
            while time.monotonic() < end:
                if time.monotonic() >= back:
                    back += pause
                    dropped = sum(attacker.closed is not None for attacker in crowd.all)
                    for _ in range(ATTACKERS - len(crowd.all) + dropped):
                        crowd.join(connect(daemon.port), time.monotonic())
                with contextlib.suppress(AssertionError):  # silence is fine
                    daemon.read(0.1)
        used = cpu(processes) - before
        assert daemon.stop() == 0
        daemon.rest()
    lines = len([line for line in daemon.lines if line["event"] != "request"])
    slowest = max(good.seconds)
    measured(
        seconds=length.attack_seconds,
        requests=len(good.seconds),
        failed=len(good.failures),
        slowest=f"{slowest:.3f} s",
        CPU=f"{used:.2f} s",
        log_lines=lines,
        attackers=len(crowd.all),
    )
    good.all_answered()
    within(IDLE + 1, slowest, "the slowest request")
    within(0.2, length.attack_seconds / len(good.seconds), "a request on average")
    assert used < most_cpu
    assert lines < 10
