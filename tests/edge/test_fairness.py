"""What one connection may take of a turn of the loop, in steps: bytes parsed, requests answered, memory kept."""

from __future__ import annotations

import asyncio
import gc

import pytest

from appliance.edge.connection import Connection
from appliance.edge.connections import CONNECTIONS_PER_TURN
from appliance.edge.persistence import MAX_REFUSALS
from appliance.edge.request_parser import BYTES_PER_TURN
from appliance.edge.requests import Request
from appliance.edge.response import CONTINUE
from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from tests.edge.cases import GET, POST, chunked, post
from tests.edge.wire import Wire, make_site, split, watch
from tests.factory import make_app

UNSIGNED = b"POST /helpscout HTTP/1.1\r\nHost:a\r\n\r\n"
EVENT = b"X-HelpScout-Event: convo.moved\r\n"
WEBHOOK = b"POST /helpscout HTTP/1.1\r\nHost:a\r\n" + EVENT
ABSOLUTE = POST.replace(b"/helpscout", b"http://a/helpscout", 1)


@pytest.fixture
def wire() -> Wire:
    return Wire(make_site({"/helpscout": make_app(None, others=[HelpScoutPage([b"x"])])}))


def statuses(wire: Wire) -> list[int]:
    return [answer.status for answer in split(bytes(wire.sent).replace(CONTINUE, b""))]


def answered(wire: Wire) -> int:
    return len(wire.site.request_log.lines)


class TestATurn:
    @pytest.mark.parametrize("raw", [POST, UNSIGNED], ids=["signed", "unsigned"])
    def test_one_request_is_answered(self, raw: bytes, wire: Wire) -> None:
        wire.connection.data_received(raw * 9)
        for number in range(1, 10):
            assert (answered(wire), wire.paused) == (number, number < 9)
            wire.turn()
        assert (answered(wire), wire.turns) == (9, [])

    @pytest.mark.parametrize("raw", [GET, ABSOLUTE], ids=["GET", "absolute"])
    def test_one_request_is_handed_to_the_application(
        self, raw: bytes, wire: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is parsed while it runs: what waits is bytes, not requests."""
        made: list[Request] = []
        start = wire.connection._dispatch

        def dispatch(connection: Connection, request: Request) -> None:
            made.append(request)
            start(request)

        monkeypatch.setattr(Connection, "_dispatch", dispatch)

        async def run() -> None:
            wire.connection.data_received(raw * 9)
            for number in range(1, 10):
                assert (len(made), wire.paused) == (number, True)
                wire.turn()  # nothing of it comes before its answer
                assert (len(made), answered(wire)) == (number, number - 1)
                while answered(wire) < number:
                    await asyncio.sleep(0)
                wire.turn()

        asyncio.run(run())
        assert (answered(wire), wire.paused) == (9, False)

    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 4000, id="fields"),
            pytest.param(chunked(b"1\r\nx\r\n" * 40_000), id="chunks"),
            pytest.param(chunked(b"4\r\n\r\n\r\n\r\n" * 20_000), id="chunks of empty lines"),
            pytest.param(chunked(b"1;" + b"a" * 200_000), id="an extension"),
            pytest.param(chunked(b"0\r\n" + b"a:\r\n" * 50_000), id="trailers"),
            pytest.param(post(body=b"x" * 200_000), id="a body"),
            pytest.param(WEBHOOK + b"Content-Length: 4000000\r\n\r\n" + b"x" * 400_000, id="a webhook"),
            pytest.param(chunked(b"7a120\r\n" + b"x" * 500_000, EVENT), id="a webhook in chunks"),
            pytest.param(b"\r\n" * 7_000, id="empty lines"),
            pytest.param(UNSIGNED * 9, id="requests"),
        ],
    )
    def test_a_share_of_bytes_is_parsed(self, raw: bytes, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
        fed = watch(wire.connection._parser, monkeypatch)
        wire.connection.data_received(raw)
        for _ in range(10_000):
            assert sum(fed) <= BYTES_PER_TURN
            fed.clear()
            if not wire.turns:
                break
            wire.turn()
        assert not wire.turns

    def test_others_go_on_in_between(self, wire: Wire) -> None:
        """In one turn as many connections as CONNECTIONS_PER_TURN says, in their order, however many wait."""
        others = [wire, *(Wire(wire.site) for _ in range(3 * CONNECTIONS_PER_TURN))]
        for one in others[1:]:
            one.connection._registry = wire.registry
        for one in others:
            one.connection.data_received(POST * 3)
        counts = [len(statuses(one)) for one in others]
        assert counts == [1] * len(others)
        while wire.turns:
            before = counts
            wire.turn()
            counts = [len(statuses(one)) for one in others]
            assert 0 < sum(counts) - sum(before) <= CONNECTIONS_PER_TURN
            assert max(counts) - min(counts) <= 1
        assert counts == [3] * len(others)


class TestMemory:
    def test_what_waits_is_bytes(self, wire: Wire) -> None:
        """A request that waits as objects takes ten times its bytes."""
        wire.connection.data_received(GET[:1])
        before = len(gc.get_objects())

        async def run() -> None:
            wire.connection.data_received(GET[1:] + GET * 1000)
            assert len(gc.get_objects()) - before < 200
            wire.lose()
            await asyncio.sleep(0)

        asyncio.run(run())

    def test_trailers_are_thrown_away(self, wire: Wire) -> None:
        """Nobody looks at them: 200 KB would be 10 MB of names and values."""
        wire.connection.data_received(chunked(b"1\r\nx\r\n0\r\n" + b"a:\r\n" * 40_000))
        while wire.turns:
            wire.turn()
        assert wire.connection._parser.begun
        assert len(wire.connection._parser._fields) < 10

    def test_nothing_is_kept_of_what_is_parsed(self, wire: Wire) -> None:
        wire.connection.data_received(POST * 20)
        while wire.turns:
            wire.turn()
        parser = wire.connection._parser
        assert (parser.kept, parser._head, len(parser._body)) == (b"", b"", 0)


class TestWhatStays:
    @pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
    def test_who_says_that_this_was_all_is_answered_all(self, wire: Wire, tls: bool) -> None:
        wire.tls = tls
        wire.connection.data_received(POST * 5)
        assert wire.connection.eof_received()
        while wire.turns:
            wire.turn()
        assert statuses(wire) == [200] * 5
        assert wire.eof

    def test_a_stopping_server_answers_the_first_that_waits(self, wire: Wire) -> None:
        wire.connection.data_received(POST * 5)
        wire.registry.stopping = True
        wire.connection.finish()
        while wire.turns:
            wire.turn()
        answers = split(bytes(wire.sent))
        assert [answer.fields.get("Connection") for answer in answers] == [None, "close"]
        assert wire.eof

    def test_continue_comes_in_its_place(self, wire: Wire) -> None:
        asyncio.run(wire.feed([POST + post(b"Expect: 100-continue\r\n")]))
        before, after = bytes(wire.sent).split(CONTINUE)
        assert [len(split(part)) for part in (before, after)] == [1, 1]

    def test_who_is_refused_again_and_again_loses_the_connection(self, wire: Wire) -> None:
        asyncio.run(wire.feed([UNSIGNED * 100]))
        answers = split(bytes(wire.sent))
        assert [answer.status for answer in answers] == [403] * MAX_REFUSALS
        assert answers[-1].fields["Connection"] == "close"
        assert wire.eof

    def test_who_leaves_is_forgotten(self, wire: Wire) -> None:
        wire.connection.data_received(POST * 5)
        wire.lose()
        while wire.turns:
            wire.turn()
        assert answered(wire) == 1

    def test_who_is_dropped_is_not_answered(self, wire: Wire) -> None:
        wire.connection.data_received(POST * 5)
        wire.connection.drop()
        while wire.turns:
            wire.turn()
        assert answered(wire) == 1

    def test_who_does_not_take_its_answers_gets_one_turn_when_it_does(self, wire: Wire) -> None:
        wire.connection.data_received(POST * 5)
        wire.connection.pause_writing()
        wire.turn()
        assert answered(wire) == 1
        for _ in range(3):
            wire.connection.resume_writing()
            wire.connection.pause_writing()
        wire.connection.resume_writing()
        wire.turn()
        assert answered(wire) == 2


def test_a_bug_in_one_connection_leaves_the_others_their_turns(wire: Wire) -> None:
    class Connected:
        def __init__(self, taken: list[int], number: int) -> None:
            self.taken, self.number = taken, number

        def take_turn(self) -> None:
            self.taken.append(self.number)
            if self.number == 1:
                raise KeyError

    taken: list[int] = []
    for number in range(4):
        wire.registry.yield_turn(Connected(taken, number))
    with pytest.raises(KeyError):
        wire.turn()
    wire.turn()
    assert (taken, wire.turns) == ([0, 1, 2, 3], [])
