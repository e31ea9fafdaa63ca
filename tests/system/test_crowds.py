"""Many clients that are slow, silent or faulty, and a good one that must not notice."""

from __future__ import annotations

import contextlib
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from appliance.edge.refusals import MAX_WEBHOOK_BYTES
from tests.daemon import Daemon, until
from tests.factory import sign
from tests.service.test_log import metric
from tests.system.load import (
    BODY,
    FAULTS,
    HEAD,
    REQUEST,
    Crowd,
    client_context,
    connect,
    good_client,
    read_card,
    secure,
    source,
    stuff,
    within,
)
from tests.system.processes import descriptors, memory

SLACK = 0.5
SWEEP = 1.0  # deadlines are looked at once a second
LINGER = 1.0  # for so long a refused client may go on, so that it can read why
P99 = 0.050
NO_GROWTH = 1.0  # MB
RETURNED = 2 * SWEEP + 0.5  # seconds after a crowd in which its memory is returned
A_BLOCKED_ONE = 1.5  # MB: 256 KiB of requests that wait, and what TLS and the loop keep of them and of the answers
A_LARGE_ONE = 1.0  # MB: 256 KiB of a body, twice while it grows, and what TLS and the loop keep

WAYS = {"headers": REQUEST[:30], "body": HEAD + BODY[:10]}


def served(good):
    """The good client was, always and fast; give what is shown of it."""
    good.all_answered()
    within(P99, good.p99, "99 of 100 requests of the good client")
    return {"good_requests": len(good.seconds), "good_p99": f"{good.p99 * 1000:.1f} ms"}


def timeouts(seconds, *names):
    """Return config lines."""
    return "\n".join(
        f'{name}_timeout = "{seconds}s"' for name in names or ("handshake", "header", "body", "idle", "write")
    )


def crowds(daemon, waves, number, begin, byte=b""):
    """Have crowds come one after the other.

    Give all attackers, and the worker's memory while each crowd is there and when it has gone.
    """
    worker, memories, afterwards, attackers = daemon.workers(), [], [], []
    for _ in range(waves):
        with Crowd(byte) as crowd:
            for one in range(number):
                opened = time.monotonic()
                crowd.join(begin(connect(daemon.port, source(one))), opened)
            memories.append(memory(worker))
            until(lambda here=crowd: here.gone, "the end of the crowd", patience=60)
        if byte:
            gone = time.monotonic()
            until(lambda since=gone: time.monotonic() - since > RETURNED, "memory that is returned")
        afterwards.append(memory(worker))
        attackers += crowd.all
    return attackers, memories, afterwards


def shown(memories):
    return ", ".join(f"{one:.1f}" for one in memories) + " MB"


def test_silent_connections(tmp_path, length, measured):
    """They are closed on time, before they cost a TLS handshake's memory."""
    with Daemon(tmp_path, server=timeouts(length.timeout)) as daemon:
        daemon.wait_for("serving")
        daemon.ask()
        empty, opened = memory(daemon.workers()), descriptors(daemon.workers())
        with good_client(daemon.port) as good:
            attackers, memories, _ = crowds(daemon, length.waves, length.silent, lambda plain: plain)
        until(lambda: descriptors(daemon.workers()) == opened, "as many descriptors as before")
        assert daemon.stop() == 0
    longest = max(attacker.lived for attacker in attackers)
    measured(
        connections=f"{length.waves} x {length.silent}",
        closed_after_at_most=f"{longest:.1f} s (limit {length.timeout} s)",
        memory=shown([empty, *memories]),
        **served(good),
    )
    within(length.timeout + SWEEP + SLACK, longest, "closing a silent connection")
    assert memories[0] - empty < 5
    assert memories[-1] - memories[0] < NO_GROWTH


@pytest.mark.parametrize("part", WAYS)
def test_one_byte_a_second(tmp_path, length, measured, part):
    context = client_context()

    def begin(plain):
        connection = secure(plain, context)
        connection.sendall(WAYS[part])
        return connection

    with Daemon(tmp_path, server=timeouts(length.timeout)) as daemon:
        daemon.wait_for("serving")
        with good_client(daemon.port) as good:
            attackers, memories, afterwards = crowds(daemon, length.crowds, length.slow, begin, b"a")
        assert daemon.stop() == 0
    refused = [attacker.answered - attacker.opened for attacker in attackers if attacker.answered]
    longest = max(attacker.lived for attacker in attackers)
    measured(
        connections=f"{length.crowds} x {length.slow}",
        answered_408=len(refused),
        after=f"{min(refused):.1f} to {max(refused):.1f} s (limit {length.timeout} s)",
        closed_after_at_most=f"{longest:.1f} s",
        memory=shown(memories),
        afterwards=shown(afterwards),
        **served(good),
    )
    assert {attacker.received[:13] for attacker in attackers} == {b"HTTP/1.1 408 "}
    assert min(refused) > length.timeout - SLACK
    within(length.timeout + SWEEP + SLACK, max(refused), "refusing a slow client")
    within(length.timeout + SWEEP + LINGER + SLACK, longest, "closing its connection")
    assert max(memories) <= memories[0] * 1.05
    assert max(afterwards) <= min(afterwards) + 5


def test_clients_that_never_read(tmp_path, length, measured):
    """They are dropped at the write deadline, and until then cost a bounded buffer each."""
    context = client_context()
    server = timeouts(length.timeout, "write") + "\n" + timeouts(60, "handshake", "header", "body", "idle")
    with Daemon(tmp_path, server=server, config="[log]\nrequests = false") as daemon, contextlib.ExitStack() as stack:
        daemon.wait_for("serving")
        daemon.ask()
        until(lambda: metric(daemon, "connections") == 0, "nobody")
        empty = memory(daemon.workers())
        plain = [connect(daemon.port, receive_buffer=4096) for _ in range(length.never_read)]
        connections = [stack.enter_context(secure(one, context)) for one in plain]
        sent = stuff(connections)
        full, stuffed = memory(daemon.workers()), time.monotonic()
        with good_client(daemon.port) as good:
            until(lambda: metric(daemon, "connections") <= 1, "the end of them", patience=60)
            lived = time.monotonic() - stuffed
            dropped = metric(daemon, "connections_dropped_total")
        assert daemon.stop() == 0
    measured(
        connections=length.never_read,
        requests_sent=sent,
        dropped=int(dropped),
        gone_after=f"{lived:.1f} s (limit {length.timeout} s)",
        memory=f"{empty:.1f}, {full:.1f} MB",
        **served(good),
    )
    within(length.timeout + SWEEP + SLACK, lived, "dropping clients that never read")
    assert full - empty < A_BLOCKED_ONE * length.never_read


def test_large_webhooks_that_come_slowly(tmp_path, length, measured):
    """Each may have as much of its body held as a message, and no more of it: the rest is only hashed."""
    body = b"{}" + b" " * (MAX_WEBHOOK_BYTES - 2)
    head = b"POST /helpscout HTTP/1.1\r\nHost: localhost\r\nX-HelpScout-Event: convo.moved\r\n"
    head += b"X-HelpScout-Signature: %b\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" % sign(body)
    pieces = [body[at : at + 0x10000] for at in range(0, len(body), 0x10000)]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    server = timeouts(60, "handshake", "header", "body", "idle", "write")
    with Daemon(tmp_path, server=server, app="[app.page]") as daemon, contextlib.ExitStack() as stack:
        daemon.wait_for("serving")
        daemon.ask()
        empty = memory(daemon.workers())
        with good_client(daemon.port) as good:
            crowd = [
                stack.enter_context(secure(connect(daemon.port), client_context())) for _ in range(length.never_read)
            ]
            memories = []
            for chunk in [head, *chunks]:
                for connection in crowd:
                    connection.sendall(chunk)
                memories.append(memory(daemon.workers()))
            for connection in crowd:
                connection.sendall(b"0\r\n\r\n")
            answers = {connection.recv(12) for connection in crowd}
        assert daemon.stop() == 0
        oversized = [line for line in daemon.rest() if line["event"] == "webhook_oversized"]
    measured(
        connections=length.never_read,
        memory=f"{empty:.1f}, {max(memories):.1f}, {memories[-1]:.1f} MB",
        **served(good),
    )
    assert answers == {b"HTTP/1.1 200"}
    assert [line["bytes"] for line in oversized] == [MAX_WEBHOOK_BYTES] * length.never_read
    assert max(memories) - empty < A_LARGE_ONE * length.never_read


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_peers(tmp_path, length, measured, fault):
    """No line but of requests, nothing left behind, nobody else held up."""
    context = client_context()
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        daemon.ask()
        until(lambda: metric(daemon, "connections") == 0, "nobody")
        opened = descriptors(daemon.workers())
        with good_client(daemon.port) as good, ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(FAULTS[fault], daemon.port, context) for _ in range(length.faults)]:
                done.result()
        until(lambda: metric(daemon, "connections") == 0, "nobody")
        until(lambda: descriptors(daemon.workers()) == opened, "as many descriptors as before")
        daemon.send(signal.SIGTERM)
        events = {str(line["event"]) for line in daemon.rest()}
    measured(times=length.faults, **served(good))
    assert events <= {"request", "stopping", "stopped", "refusals_not_logged"}


def test_stalled_peers(tmp_path, length, measured):
    """Half a request, then nothing for a while, then the other half: answered as any other."""
    context = client_context()
    with Daemon(tmp_path) as daemon, contextlib.ExitStack() as stack:
        daemon.wait_for("serving")
        with good_client(daemon.port) as good:
            connections = [stack.enter_context(secure(connect(daemon.port), context)) for _ in range(length.faults)]
            for connection in connections:
                connection.sendall(REQUEST[:-20])
            stalled = time.monotonic()
            until(lambda: time.monotonic() - stalled > length.stall, "the end of the stall")
            for connection in connections:
                connection.sendall(REQUEST[-20:])
                read_card(connection)
        assert daemon.stop() == 0
    measured(connections=length.faults, stall=f"{length.stall} s", **served(good))
