"""When requests start, and what bytes they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.http_client import parse_url
from appliance.replay.corpus_line import HEADER, CorpusRequest
from appliance.replay.load_profile import ClosedLoop, LoadProfile, OpenLoop, prepare_requests
from appliance.sidebar.protocols.base import BAD_SIGNATURE

URL = parse_url("https://card.example:8443/hook?a=b")


def test_the_bytes_of_a_request():
    line = CorpusRequest("/h", b"{}", HEADER, "sig=", 200, 7)
    (request,) = prepare_requests([line], URL, close=False)
    assert request.data == (
        b"POST /h HTTP/1.1\r\nHost: card.example:8443\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
        b"X-HelpScout-Signature: sig=\r\n\r\n{}"
    )
    assert (request.number, request.status, request.body) == (7, 200, None)


def test_what_a_line_leaves_out():
    line = CorpusRequest("", b"\xff", HEADER, None, None, 1)
    (request,) = prepare_requests([line], URL, close=True)
    assert request.data == (
        b"POST /hook?a=b HTTP/1.1\r\nHost: card.example:8443\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1\r\nConnection: close\r\n\r\n\xff"
    )
    assert request.status is None


@pytest.mark.parametrize(("expect", "status"), [(None, 403), (200, 200)])
def test_what_it_is_compared_with(expect, status):
    line = CorpusRequest("", b"x", HEADER, None, expect, 1)
    (request,) = prepare_requests([line], URL, close=False, answer=lambda _: BAD_SIGNATURE.response)
    assert (request.status, request.body) == (status, BAD_SIGNATURE.response.body)


@pytest.mark.parametrize(
    ("connections", "processes", "each"), [(10, 1, [10]), (10, 3, [4, 3, 3]), (2, 2, [1, 1])], ids=repr
)
def test_connections_are_shared_out(connections, processes, each):
    profile = LoadProfile(duration=1, connections=connections, processes=processes, rate=None)
    assert [profile.connections_of(process) for process in range(processes)] == each


@pytest.mark.parametrize(("duration", "step", "steps"), [(10, 0.5, 20), (60.5, 1, 61), (0.3, 0.015, 20), (20, 1, 20)])
def test_steps_of_the_course(duration, step, steps):
    profile = LoadProfile(duration=duration, connections=1, processes=1, rate=None)
    assert (profile.step, profile.steps) == (step, steps)


@given(st.floats(0.1, 1e5), st.floats(0.01, 1), st.integers(1, 5))
def test_all_processes_together_keep_the_rate(rate, duration, processes):
    profile = LoadProfile(duration=duration, connections=5, processes=processes, rate=rate)
    assert profile.planned is not None
    planned = min(profile.planned, 2000)
    starts = []
    for process in range(processes):
        schedule = OpenLoop(1000.0, rate, planned, process, processes)
        while not schedule.is_over:
            assert schedule.is_due(schedule.next)
            assert not schedule.is_due(schedule.next - 1e-6)
            starts.append(schedule.take(0.0))
        assert schedule.stop(2000.0) == 0
    assert sorted(starts) == [1000.0 + place / rate for place in range(planned)]


def test_what_was_never_started():
    schedule = OpenLoop(10.0, 100.0, 200, 0, 2)
    assert [schedule.take(0.0) for _ in range(3)] == [10.0, 10.02, 10.04]
    assert schedule.stop(10.105) == 3  # 10.06, 10.08 and 10.1
    assert schedule.is_over
    assert not schedule.is_due(20.0)


def test_a_closed_loop_is_always_due():
    schedule = ClosedLoop()
    assert schedule.is_due(0.0)
    assert schedule.take(5.0) == 5.0
    assert schedule.stop(6.0) == 0
    assert not schedule.is_due(7.0)
