"""What ends a connection: deadlines, a peer that does not read or leaves, a server that stops, a bug of our own."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from appliance.config.schema import Limits
from appliance.edge.connection import LINGER_BYTES, Connection
from appliance.edge.refusals import Refusal
from appliance.edge.request_parser import BYTES_PER_TURN
from appliance.outcomes import Outcome, Reply
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.protocols.base import HelpDesk, SignedRequest
from tests.conftest import Logged
from tests.edge.cases import GET, HALF, POST, chunked, post
from tests.edge.wire import Wire, make_site, split
from tests.factory import Timer, make_app

LIMITS = Limits(header_timeout=3, body_timeout=5, idle_timeout=7, write_timeout=9)


@pytest.fixture
def timer() -> Timer:
    return Timer(1000.0)


@pytest.fixture
def wire(timer: Timer) -> Wire:
    return Wire(make_site({"/helpscout": make_app(None)}, timer), LIMITS)


def feed(wire: Wire, *pieces: bytes) -> None:
    asyncio.run(wire.feed(pieces))


def pass_time(wire: Wire, timer: Timer, seconds: float, step: float = 1.0) -> None:
    """Let time pass, with a sweep a second."""
    end = timer.now + seconds
    while timer.now < end and not wire.closed:
        timer.now += step
        wire.registry.sweep()


def turns(wire: Wire) -> int:
    """Let turns of the loop pass until nothing is left to do; return how many."""
    count = 0
    while wire.turns:
        wire.turn()
        count += 1
    return count


def statuses(wire: Wire) -> list[int]:
    return [answer.status for answer in split(bytes(wire.sent))]


@pytest.mark.parametrize(
    ("sent", "limit", "answers"),
    [
        pytest.param(b"", 7, [], id="nothing"),
        pytest.param(b"\r\n", 7, [], id="a blank line"),
        pytest.param(b"P", 3, [408], id="a byte of the method"),
        pytest.param(b"POST /helpscout HTTP/1.1\r\n", 3, [408], id="half a head"),
        pytest.param(HALF, 5, [408], id="half a body"),
        pytest.param(POST, 7, [200], id="a request, then nothing"),
        pytest.param(POST + b"P", 3, [200, 408], id="a request and a byte"),
        pytest.param(POST + HALF, 5, [200, 408], id="a request and a half"),
    ],
)
def test_deadlines(sent: bytes, limit: int, answers: list[int], wire: Wire, timer: Timer) -> None:
    feed(wire, sent) if sent else None
    pass_time(wire, timer, limit - 1)
    assert (wire.closed, len(statuses(wire))) == (False, len(answers) - (408 in answers))
    pass_time(wire, timer, 2)
    wire.fire()
    assert wire.closed
    assert statuses(wire) == answers
    outcomes = [reply.outcome for reply, _app, _peer in wire.site.request_log.lines]
    assert outcomes == [Outcome.NOT_LOADED if status == 200 else Outcome.TOO_SLOW for status in answers]


@pytest.mark.parametrize(("raw", "limit"), [(b"GET / HTTP/1.1\r\nX: " + b"y" * 90, 3), (HALF, 5)], ids=["head", "body"])
def test_one_byte_a_second_does_not_help(raw: bytes, limit: int, wire: Wire, timer: Timer) -> None:
    """The deadlines are for the whole: a head of its own, a body of its own."""

    async def trickle() -> None:
        begun = raw.find(b"\r\n\r\n") + 4 if limit == 5 else 1
        await wire.feed([raw[:begun]])
        for at in range(begun, begun + 20):
            if wire.sent:
                return
            await wire.feed([raw[at : at + 1]])
            timer.now += 1
            wire.registry.sweep()

    start = timer.now
    asyncio.run(trickle())
    assert statuses(wire) == [408]
    assert timer.now - start == limit


@pytest.mark.parametrize(
    ("raw", "limit"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000, 3, id="head"),
        pytest.param(post(body=b"x" * 200_000), 5, id="body"),
        pytest.param(chunked(b"1\r\nx\r\n" * 40_000), 5, id="chunks"),
    ],
)
def test_more_than_a_share_a_second_does_not_help(raw: bytes, limit: int, wire: Wire, timer: Timer) -> None:
    """What is parsed in several turns has one deadline, too."""

    async def burst() -> None:
        begun = raw.find(b"\r\n\r\n") + 4 if limit == 5 else 1
        await wire.feed([raw[:begun]])
        for at in range(begun, len(raw), BYTES_PER_TURN + 1000):
            if wire.sent:
                return
            await wire.feed([raw[at : at + BYTES_PER_TURN + 1000]])
            timer.now += 1
            wire.registry.sweep()

    start = timer.now
    asyncio.run(burst())
    assert statuses(wire) == [408]
    assert timer.now - start == limit


def test_blank_lines_do_not_keep_it_open(wire: Wire, timer: Timer) -> None:
    async def trickle() -> None:
        while not wire.closed:
            await wire.feed([b"\r\n"])
            timer.now += 1
            wire.registry.sweep()

    start = timer.now
    asyncio.run(trickle())
    assert wire.sent == b""
    assert timer.now - start == 7


def test_a_request_now_and_then_keeps_it_open(wire: Wire, timer: Timer) -> None:
    for _ in range(20):
        feed(wire, POST)
        pass_time(wire, timer, 6)
    assert not wire.closed


def test_after_a_refusal_it_reads_on(wire: Wire, timer: Timer) -> None:
    """Bytes that nobody read would reset the connection, and the refusal with it."""
    feed(wire, b"garbage\0\r\n\r\n")
    assert statuses(wire) == [400]
    assert (wire.eof, wire.closed, wire.paused) == (True, False, False)
    feed(wire, POST, b"x" * LINGER_BYTES)
    assert wire.closed
    assert statuses(wire) == [400]


def test_after_a_refusal_it_waits_a_second_at_most(wire: Wire) -> None:
    feed(wire, b"garbage\0\r\n\r\n")
    wire.fire()
    assert wire.closed


def test_after_a_refusal_the_client_may_close(wire: Wire) -> None:
    feed(wire, b"garbage\0\r\n\r\n")
    assert not wire.connection.eof_received()
    wire.lose()
    assert wire.timers == []


def test_tls_is_half_closed_too(timer: Timer) -> None:
    """The client learns at once that the refusal was all, and what it still sends is read on."""
    wire = Wire(make_site({}, timer), LIMITS, tls=True)
    feed(wire, b"garbage\0\r\n\r\n")
    assert (wire.eof, wire.closed, wire.paused) == (True, False, False)


class TestAClientThatDoesNotRead:
    def test_it_is_dropped(self, wire: Wire, timer: Timer) -> None:
        feed(wire, POST)
        wire.stuck = True
        wire.connection.pause_writing()
        assert wire.paused
        pass_time(wire, timer, 8)
        assert not wire.closed
        pass_time(wire, timer, 2)
        assert wire.aborted
        assert wire.site.counters.events == ["connection_dropped"]

    def test_it_may_read_again(self, wire: Wire, timer: Timer) -> None:
        feed(wire, POST)
        wire.connection.pause_writing()
        pass_time(wire, timer, 8)
        wire.connection.resume_writing()
        assert not wire.paused
        feed(wire, POST)
        pass_time(wire, timer, 3)
        assert not wire.closed

    def test_what_it_asks_in_advance_is_answered_when_it_reads(self, wire: Wire) -> None:
        """Answers are larger than requests: 256 KiB of these would be kept as a megabyte of those."""
        wire.high = 10_000
        wire.connection.data_received(POST * 500)
        wire.connection.data_received(POST * 500)  # it was on its way when reading paused
        turns(wire)
        assert len(wire.sent) < 11_000
        while statuses(wire) != [200] * 1000:
            before = len(wire.sent)
            wire.high += 50_000
            wire.connection.resume_writing()
            turns(wire)
            assert before < len(wire.sent) < wire.high + 1_000
        wire.connection.resume_writing()
        assert not wire.paused

    def test_what_is_unsent_at_the_end_has_the_same_time(self, wire: Wire, timer: Timer) -> None:
        feed(wire, post(b"Connection: close\r\n"))
        wire.stuck = True
        wire.fire()
        assert wire.closed
        for _ in range(8):
            timer.now += 1
            wire.registry.sweep()
        assert not wire.aborted
        timer.now += 1
        wire.registry.sweep()
        assert wire.aborted


def test_the_end_of_tls_need_not_be_answered(timer: Timer) -> None:
    """Neither what follows a response, nor what ends an idle connection."""
    answered, idle = (Wire(make_site({"/helpscout": make_app(None)}, timer), LIMITS, tls=True) for _ in range(2))
    feed(answered, post(b"Connection: close\r\n"))
    assert answered.eof
    answered.fire()
    assert answered.closed
    pass_time(idle, timer, 7)
    assert (idle.closed, idle.aborted) == (True, False)
    timer.now += 1
    idle.registry.sweep()
    assert idle.aborted


class TestTheClientLeaves:
    @pytest.mark.parametrize("sent", [b"", b"PO", HALF, POST], ids=["nothing", "head", "body", "all"])
    def test_between_bytes(self, sent: bytes, wire: Wire) -> None:
        feed(wire, sent) if sent else None
        assert not wire.connection.eof_received()
        wire.lose()
        assert wire.registry.clients == set()
        assert len(wire.site.request_log.lines) == (sent == POST)

    def test_while_the_application_answers(self, wire: Wire) -> None:
        async def leave() -> None:
            wire.connection.data_received(GET)
            wire.lose()
            for _ in range(20):
                await asyncio.sleep(0)

        asyncio.run(leave())
        assert wire.sent == b""

    def test_half(self, wire: Wire) -> None:
        """A client that has said all may still listen: what it had asked before is answered."""

        async def leave() -> None:
            wire.connection.data_received(GET + POST)
            assert wire.connection.eof_received()
            await wire.settle()

        asyncio.run(leave())
        assert (statuses(wire), wire.eof) == ([405, 200], True)

    def test_nothing_of_it_is_left(self, wire: Wire) -> None:
        """Without the collector's help: it would come late, and a TLS connection weighs 30 KB."""
        feed(wire, POST, GET, b"PO")
        wire.lose()
        gc.disable()
        try:
            connection = weakref.ref(wire.connection._registry)
            del wire.connection
            kept = [one for one in gc.get_objects() if isinstance(one, Connection) and one._registry is connection()]
        finally:
            gc.enable()
        assert kept == []


class TestTheServerStops:
    def test_idle(self, wire: Wire) -> None:
        feed(wire, POST)
        wire.registry.stopping = True
        wire.connection.finish()
        assert wire.closed

    @pytest.mark.parametrize("sent", [b"PO", HALF], ids=["head", "body"])
    def test_a_request_that_has_begun_is_answered(self, sent: bytes, wire: Wire) -> None:
        feed(wire, sent)
        wire.registry.stopping = True
        wire.connection.finish()
        assert not wire.closed
        feed(wire, POST[len(sent) :])
        [answer] = split(bytes(wire.sent))
        assert (answer.status, answer.fields["Connection"], wire.eof) == (200, "close", True)

    def test_on_the_other_road(self, wire: Wire) -> None:
        async def stop() -> None:
            wire.connection.data_received(GET + GET)
            wire.registry.stopping = True
            wire.connection.finish()
            await wire.settle()

        asyncio.run(stop())
        assert (statuses(wire), wire.eof) == ([405], True)

    @pytest.mark.parametrize(("raw", "status"), [(POST, 200), (GET, 405)], ids=["fast", "tornado"])
    def test_a_connection_that_was_on_its_way_is_answered(self, raw: bytes, status: int, timer: Timer) -> None:
        """Its client connected before the port was given up: at a reload it must not notice."""
        wire = Wire(make_site({"/helpscout": make_app(None)}, timer), LIMITS)

        async def come_late() -> None:
            late = Connection(wire.registry, "", None)
            wire.registry.stopping = True
            late.connection_made(wire)
            late.data_received(raw)
            await wire.settle()

        asyncio.run(come_late())
        [answer] = split(bytes(wire.sent))
        assert (answer.status, answer.fields["Connection"], wire.eof) == (status, "close", True)


class TestABug:
    class Broken(SidebarApp):
        name = "helpscout"
        protocols = ()

        def __init__(self) -> None:
            pass

        def answer(self, request: SignedRequest, protocol: HelpDesk | None = None) -> Reply:
            raise KeyError("ann@example.com")

    @pytest.mark.parametrize("fast", [True, False], ids=["fast", "tornado"])
    def test_in_the_app(self, fast: bool, timer: Timer, logged: Logged) -> None:
        wire = Wire(make_site({"/helpscout": self.Broken()}, timer, fast), LIMITS)
        feed(wire, POST + POST)
        wire.fire()
        assert (statuses(wire), wire.closed) == ([500], True)
        [answer] = split(bytes(wire.sent))
        assert answer.body == Refusal.INTERNAL_ERROR.reply.response.body
        assert wire.site.counters.requests == [("helpscout", Outcome.INTERNAL_ERROR, "")]
        line = logged.take("request_fault")
        assert line["error"] == "KeyError"
        assert "example.com" not in str(line)

    def test_in_the_application(self, wire: Wire, logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> None:
            raise KeyError("ann@example.com")

        monkeypatch.setattr(wire.site.application, "start_request", fail)
        feed(wire, GET)
        assert statuses(wire) == [500]
        assert logged.take("request_fault")["error"] == "KeyError"
