"""One process of a run, against peers that answer well, badly, late and not at all."""

import asyncio
import itertools
import socket
import ssl
import struct
import threading
import time

import pytest
import trustme
import uvloop

from appliance.cli.common import trust
from appliance.edge.tls import server_context
from appliance.http_client import (
    CLOSED,
    HINTS,
    MAX_RESPONSE,
    NO_ANSWER,
    NO_TLS,
    NOT_HTTP,
    NOT_TRUSTED,
    OTHER_NAME,
    TOO_LONG,
    parse_url,
)
from appliance.replay import driver
from appliance.replay.corpus_line import CorpusRequest
from appliance.replay.driver import Driver
from appliance.replay.interval_stats import Ended, IntervalStats
from appliance.replay.load_profile import LoadProfile, prepare_requests
from appliance.replay.result import summarize
from appliance.replay.target import LoadTarget, ResumingContext
from appliance.replay.timeline import Timeline
from tests.factory import make_app
from tests.ports import free_port
from tests.replay.peer import GOOD, answers, peer
from tests.server import make_pair, serving

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST
REQUESTS = [CorpusRequest("", b"%d" % number, "X-HelpScout-Signature", None, 200, number) for number in range(1, 8)]


def load(
    port,
    *,
    rate=None,
    duration=0.3,
    connections=2,
    close=False,
    scheme="http",
    context=None,
    compare=None,
    host="127.0.0.1",
    disturb=None,
):
    """Return the result of a run in this process; `disturb` is called in its loop after the first response."""
    url = parse_url(f"{scheme}://{host}:{port}/h")
    target = LoadTarget(url, "127.0.0.1", context)
    profile = LoadProfile(duration=duration, connections=connections, processes=1, rate=rate, close=close)
    requests = prepare_requests(REQUESTS, url, close=close, answer=compare)
    timeline = Timeline(profile)

    def tell(part: IntervalStats) -> None:
        timeline.add(part, 1)

    async def run():
        one = Driver(profile, target, requests, 0, tell=tell, timer=time.monotonic)
        await one.open()
        loop = asyncio.get_running_loop()

        def watch():
            if one._last:
                disturb()
            else:
                loop.call_later(0.001, watch)

        if disturb is not None:
            watch()
        seconds = await one.run(time.monotonic())
        return Ended(one.not_started, 0.0, seconds)

    ended = uvloop.run(run())
    timeline.finish()
    return summarize(target, profile, timeline, [ended], started=0.0, max_p99=None, interrupted=False)


def closes(connection, _count):
    connection.shutdown(socket.SHUT_RDWR)


def resets(connection, _count):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()


def test_a_closed_loop_goes_round_all_lines_on_kept_connections():
    with peer(answers()) as here:
        result = load(here.port)
    assert here.connections == 2
    assert result.answered == len(here.requests) > 20
    assert result.statuses == {200: result.answered}
    assert {request[-1:] for request in here.requests} == {b"%d" % number for number in range(1, 8)}
    assert (result.planned, result.faults, result.opened) == (None, (), 0)
    assert sum(point.answers for point in result.points) == result.answered


def test_an_open_loop_keeps_its_plan():
    with peer(answers()) as here:
        result = load(here.port, rate=100.0, connections=1)
    assert result.planned == 30
    assert result.answered + result.not_started == 30
    assert [request[-1:] for request in here.requests[:7]] == [b"%d" % number for number in range(1, 8)]
    assert result.seconds >= 0.29
    assert result.faults == ()


def test_a_stall_counts_for_all_that_it_delays():
    """One answer of the first connection is late by 0.3 s: of the planned requests, every one in that time is late."""
    stalled = threading.Event()

    def stalls_once(connection, _count):
        if not stalled.is_set():
            stalled.set()
            threading.Event().wait(0.3)
        connection.sendall(GOOD)

    with peer(stalls_once) as here:
        result = load(here.port, rate=100.0, duration=0.6, connections=1)
    assert result.latency["max"] >= 300
    assert result.latency["p75"] >= 50  # of 60 requests 30 waited, half of them for over 0.15 s
    assert result.waited + result.late + result.not_started >= 29
    assert any("waited for a free connection" in note for note in result.notes)


def test_new_connections_that_wait_for_each_other_are_no_fault_of_the_generator():
    def slow(connection, _count):
        threading.Event().wait(0.1)
        connection.sendall(GOOD)

    with peer(slow) as here:
        result = load(here.port, rate=100.0, duration=0.8, connections=1, close=True)
    assert result.waited >= result.answered - 1 > 0
    assert result.late <= 1


def test_what_is_never_started_is_said():
    """A peer that answers when the time is over: the one connection waits, all others are not sent."""
    over = threading.Event()

    def waits(connection, _count):
        over.wait(10)
        connection.sendall(GOOD)

    with peer(waits) as here:
        threading.Timer(0.5, over.set).start()
        result = load(here.port, rate=100.0, connections=1)
    assert (result.answered, result.not_started) == (1, 29)
    assert any("29 planned requests were never started" in note for note in result.notes)


@pytest.mark.parametrize("rate", [None, 100.0])
def test_a_connection_for_each_request(rate):
    def answers_and_closes(connection, _count):
        connection.sendall(GOOD)
        connection.shutdown(socket.SHUT_WR)

    with peer(answers_and_closes) as here:
        result = load(here.port, rate=rate, close=True)
    assert result.opened == here.connections == result.answered > 0
    assert all(b"\r\nConnection: close\r\n" in request for request in here.requests)
    assert result.faults == ()


def test_an_answer_that_closes_is_followed_by_a_new_connection():
    with peer(answers(GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))) as here:
        result = load(here.port)
    assert result.answered > 2
    assert result.opened >= result.answered - 2
    assert result.faults == ()


def test_idle_connections_may_be_closed():
    """It is no failure, and the next request opens another."""

    def closes_soon(connection, _count):
        connection.send(GOOD, socket.MSG_MORE)  # both in one segment
        connection.shutdown(socket.SHUT_WR)

    with peer(closes_soon) as here:
        result = load(here.port, rate=4.0, duration=0.75)
    assert result.answered == 3
    assert result.opened >= 1
    assert result.faults == ()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_connection_whose_end_has_come_is_not_used_again(scheme, tmp_path):
    """Not even by a driver that stood still from before that end until after the next request was due."""
    stands_still, ended = threading.Event(), threading.Event()
    certificate, key, authority = make_pair(tmp_path)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    secure = scheme == "https"

    def closes_once(connection, _count):
        connection.sendall(GOOD)
        if here.connections == 1:
            stands_still.wait(10)
            connection.shutdown(socket.SHUT_WR)
            ended.set()

    def stand_still():
        stands_still.set()
        assert ended.wait(10)
        assert not threading.Event().wait(0.6)  # the next one is due after 0.5

    with peer(closes_once, server_context(certificate, key) if secure else None) as here:
        result = load(
            here.port,
            host="localhost",
            rate=2.0,
            duration=1.0,
            connections=1,
            disturb=stand_still,
            scheme=scheme,
            context=client if secure else None,
        )
    assert (result.answered, here.connections) == (2, 2)
    assert result.faults == ()


def test_a_connection_that_was_idle_for_long_is_not_trusted(monkeypatch):
    monkeypatch.setattr(driver, "_STALE", 0.01)
    with peer(answers()) as here:
        result = load(here.port, rate=10.0, duration=0.5, connections=1)
    assert result.answered + result.not_started == 5
    assert result.opened >= result.answered - 1  # the first may use what was opened before
    assert result.faults == ()


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        (closes, CLOSED.kind),
        (resets, "reset"),
        (answers(b"SSH-2.0-OpenSSH_9.2\r\n"), NOT_HTTP.kind),
        (answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + bytes(MAX_RESPONSE + 1)), TOO_LONG.kind),
    ],
    ids=["closed", "reset", "no HTTP", "too long"],
)
@pytest.mark.parametrize("rate", [None, 100.0], ids=["closed loop", "open loop"])
def test_failures_are_counted_by_kind(way, kind, rate):
    with peer(way) as here:
        result = load(here.port, rate=rate)
    assert set(result.failures) == {kind}
    assert (result.answered, result.failed) == (0, result.failures[kind])
    assert result.failed >= 2
    assert result.failed < 100  # whoever fails at once does not try again at once
    hint = f"; {HINTS[kind]}" if kind in HINTS else ""
    assert result.faults == (f"failed: {kind}: {result.failed} times{hint}", "nothing was answered")


def test_refused():
    assert set(load(free_port(), rate=50.0).failures) == {"refused"}


def test_no_answer(monkeypatch):
    monkeypatch.setattr(driver, "TIMEOUT", 0.1)
    monkeypatch.setattr(driver, "_SWEEP", 0.05)
    with peer(lambda _connection, _count: None) as here:
        result = load(here.port, connections=1)
    assert set(result.failures) == {NO_ANSWER.kind}


def test_wrong_answers():
    numbers = itertools.count()

    def every_second_is_refused(connection, _count):
        connection.sendall(GOOD if next(numbers) % 2 else b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")

    with peer(every_second_is_refused) as here:
        result = load(here.port, rate=100.0, connections=1)
    assert set(result.statuses) == {200, 503}
    (why,) = result.wrong
    assert why == "status 503 where 200 was expected"
    assert (result.wrong[why].count, result.wrong[why].first) == (result.statuses[503], 1)
    assert result.faults == (f"wrong: {why}: {result.statuses[503]} times, the first to line 1",)


@pytest.mark.parametrize(("body", "good"), [(b"card", True), (b"cart", False), (b"", False)])
def test_answers_are_compared_by_the_byte(body, good):
    class Answer:
        status = 200
        body = b""

    Answer.body = body
    with peer(answers()) as here:
        result = load(here.port, rate=50.0, compare=lambda _request: Answer)
    assert result.is_good is good
    assert sum(wrong.count for wrong in result.wrong.values()) == (0 if good else result.answered)


def test_a_body_in_pieces_is_one():
    class Answer:
        status = 200
        body = b"card"

    def in_pieces(connection, _count):
        for piece in (GOOD[:20], GOOD[20:-2], GOOD[-2:-1], GOOD[-1:]):
            connection.sendall(piece)

    with peer(in_pieces) as here:
        result = load(here.port, rate=50.0, compare=lambda _request: Answer)
    assert (result.wrong, result.failed) == ({}, 0)


def test_a_408_that_nobody_asked_for_is_no_answer():
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    with peer(answers(GOOD + late)) as here:
        result = load(here.port, rate=50.0)
    assert set(result.statuses) == {200}


def trusting(kind):
    """Return a context that trusts any certificate."""
    return trust(kind(ssl.PROTOCOL_TLS_CLIENT), None, insecure=True)


def test_certificates_are_checked(tmp_path):
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    context = ssl.create_default_context(cafile=tmp_path / "other.pem")
    with serving(dict, tmp_path) as server:
        result = load(server.port, scheme="https", context=context)
    assert set(result.failures) == {NOT_TRUSTED.kind}
    assert "pass its authority's certificate with --ca" in result.faults[0]


def test_a_certificate_is_for_a_name(tmp_path):
    with serving(dict, tmp_path) as server:
        result = load(server.port, scheme="https", context=server.client, host="other.example")
    assert set(result.failures) == {OTHER_NAME.kind}


def test_sessions_are_resumed(tmp_path):
    context = trusting(ResumingContext)
    with serving(lambda: {"/h": make_app(None)}, tmp_path) as server:
        result = load(server.port, scheme="https", context=context, rate=50.0, close=True, connections=1)
    assert set(result.statuses) == {403}
    assert result.connection == "resumed"
    assert result.offered == result.resumed == result.opened - 1 > 0


def test_no_tls_there():
    context = trusting(ssl.SSLContext)
    with peer(answers(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")) as here:
        result = load(here.port, scheme="https", context=context, rate=20.0)
    assert set(result.failures) == {NO_TLS.kind}
