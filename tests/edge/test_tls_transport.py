"""The transport's table: each event in each state, with TLS 1.2 and 1.3, between real sockets; turns made by hand."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from appliance.edge import tls_transport
from appliance.edge.overhead import READ_SIZE
from appliance.edge.tls import server_context
from appliance.edge.tls_session import Pipes
from appliance.edge.tls_states import CLOSED, CLOSING, ENDED, OPEN, SHAKING, State
from appliance.edge.tls_transport import TLSProtocol, TLSTransport
from tests.edge.tls_client import ALERT, CLOSE_NOTIFY, FIN, VERSIONS, Peer, TLSClient
from tests.edge.turns import Turns
from tests.server import make_pair

GARBAGE: Final = b"\x17\x03\x03\x00\x20" + bytes(32)


class Recorder(TLSProtocol):
    """A protocol that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.keeps_open = False
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.told.append("data")

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.keeps_open

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")


class Both:
    """Both ends of a connection, and the turns of the loop."""

    def __init__(self, context: ssl.SSLContext, version: ssl.TLSVersion) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            theirs = socket.create_connection(listening.getsockname(), timeout=10)
            ours, _ = listening.accept()
        ours.setblocking(False)
        self.loop, self.protocol, self.pipes = Turns(), Recorder(), Pipes.new()
        self.peer = Peer(theirs, TLSClient(version))
        self.sock = ours
        self.shaken: list[bool] = []
        loop: Any = self.loop
        self.transport = TLSTransport(loop, ours, context, self.pipes, self.protocol, self.shaken.append)
        self.transport.begin()

    @property
    def state(self) -> State:
        return self.transport._state

    def until(self, condition: Callable[[], bool]) -> None:
        """Make turns until this holds."""
        end = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < end, (self.state, self.protocol.told, self.peer.ends)
            self.loop.turn()
            self.peer.look()

    def settle(self) -> None:
        """Make turns until nothing happens any more."""
        for _ in range(20):
            self.loop.turn()
            self.peer.look()

    def send(self, raw: bytes) -> None:
        self.peer.sock.sendall(raw)

    def bring(self, state: State) -> None:
        """Come into this state by the shortest way."""
        client = self.peer.client
        if state is SHAKING:
            hello = client.shake()
            message = hello[5:]
            # In two records, so that whatever comes next begins with one.
            begin, self.rest = (
                hello[:3] + len(part).to_bytes(2, "big") + part for part in (message[:40], message[40:])
            )
            self.send(begin)
            self.settle()
            return
        self.send(client.shake())
        self.until(lambda: self.state is OPEN and client.shaken)
        self.settle()  # the tickets
        if state is ENDED:
            self.transport.write_eof()
        elif state is CLOSING:
            self.transport.close()
        elif state is CLOSED:
            self.transport.abort()
        self.settle()
        assert self.state is state
        self.protocol.told.clear()

    def finish(self) -> None:
        self.transport.abort()
        self.settle()
        assert (self.loop.readers, self.loop.writers, self.sock.fileno()) == ({}, {}, -1)
        assert (self.pipes.incoming.pending, self.pipes.outgoing.pending) == (0, 0)
        assert len(self.shaken) == 1
        self.peer.sock.close()


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    certificate, key, _authority = make_pair(tmp_path_factory.mktemp("pair"))
    return server_context(certificate, key)


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def both(request: pytest.FixtureRequest, context: ssl.SSLContext) -> Iterator[Both]:
    made = Both(context, request.param)
    yield made
    made.finish()


def send_bytes(both: Both) -> None:
    both.send(both.rest if both.state is SHAKING else both.peer.client.records(b"request"))


def send_end(both: Both) -> None:
    # Within a handshake it is not encrypted.
    both.send(b"\x15\x03\x01\x00\x02\x01\x00" if both.state is SHAKING else both.peer.client.end())


EVENTS: Final[dict[str, Callable[[Both], object]]] = {
    "bytes": send_bytes,
    "fault": lambda both: both.send(GARBAGE),
    "close_notify": send_end,
    "FIN": lambda both: both.peer.sock.shutdown(socket.SHUT_WR),
    "reset": lambda both: both.peer.reset(),
    "write": lambda both: both.transport.write(b"response"),
    "write_eof": lambda both: both.transport.write_eof(),
    "close": lambda both: both.transport.close(),
    "abort": lambda both: both.transport.abort(),
}

# State, event: the state after it, what the protocol is told, and what the client sees of the end.
Row = tuple[State, tuple[str, ...], tuple[str, ...]]
NOTHING: Final = ()
TABLE: Final[dict[tuple[State, str], Row]] = {
    (SHAKING, "bytes"): (OPEN, ("made",), NOTHING),  # the client's next flight comes by itself
    (SHAKING, "fault"): (CLOSED, NOTHING, (ALERT, FIN)),
    (SHAKING, "close_notify"): (CLOSED, NOTHING, (ALERT, FIN)),
    (SHAKING, "FIN"): (CLOSED, NOTHING, (FIN,)),
    (SHAKING, "reset"): (CLOSED, NOTHING, NOTHING),
    (SHAKING, "close"): (CLOSED, NOTHING, (FIN,)),
    (SHAKING, "abort"): (CLOSED, NOTHING, (FIN,)),
    (OPEN, "bytes"): (OPEN, ("data",), NOTHING),
    (OPEN, "fault"): (CLOSED, ("lost",), (ALERT, FIN)),
    (OPEN, "close_notify"): (CLOSED, ("eof", "lost"), (CLOSE_NOTIFY, FIN)),
    (OPEN, "FIN"): (CLOSED, ("eof", "lost"), (CLOSE_NOTIFY, FIN)),
    (OPEN, "reset"): (CLOSED, ("lost",), NOTHING),
    (OPEN, "write"): (OPEN, NOTHING, NOTHING),
    (OPEN, "write_eof"): (ENDED, NOTHING, (CLOSE_NOTIFY, FIN)),
    (OPEN, "close"): (CLOSING, NOTHING, (CLOSE_NOTIFY, FIN)),
    (OPEN, "abort"): (CLOSED, ("lost",), (FIN,)),
    (ENDED, "bytes"): (ENDED, ("data",), NOTHING),
    (ENDED, "fault"): (CLOSED, ("lost",), NOTHING),
    (ENDED, "close_notify"): (CLOSED, ("eof", "lost"), NOTHING),
    (ENDED, "FIN"): (CLOSED, ("eof", "lost"), NOTHING),
    (ENDED, "reset"): (CLOSED, ("lost",), NOTHING),
    (ENDED, "write"): (ENDED, NOTHING, NOTHING),
    (ENDED, "write_eof"): (ENDED, NOTHING, NOTHING),
    (ENDED, "close"): (CLOSED, ("lost",), NOTHING),
    (ENDED, "abort"): (CLOSED, ("lost",), NOTHING),
    (CLOSING, "bytes"): (CLOSING, NOTHING, NOTHING),
    (CLOSING, "fault"): (CLOSING, NOTHING, NOTHING),
    (CLOSING, "close_notify"): (CLOSING, NOTHING, NOTHING),
    (CLOSING, "FIN"): (CLOSED, ("lost",), NOTHING),
    (CLOSING, "reset"): (CLOSED, ("lost",), NOTHING),
    (CLOSING, "write"): (CLOSING, NOTHING, NOTHING),
    (CLOSING, "write_eof"): (CLOSING, NOTHING, NOTHING),
    (CLOSING, "close"): (CLOSING, NOTHING, NOTHING),
    (CLOSING, "abort"): (CLOSED, ("lost",), NOTHING),
    **{(CLOSED, event): (CLOSED, NOTHING, NOTHING) for event in ("write", "write_eof", "close", "abort")},
}


def test_the_table_is_complete() -> None:
    """The client is not heard in CLOSED, and the protocol does not know the transport in SHAKING."""
    missing = {(state, event) for state in State for event in EVENTS} - set(TABLE)
    assert missing == {(SHAKING, "write"), (SHAKING, "write_eof")} | {
        (CLOSED, event) for event in ("bytes", "fault", "close_notify", "FIN", "reset")
    }


@pytest.mark.parametrize(("state", "event"), [pytest.param(*key, id=f"{key[0].name}-{key[1]}") for key in TABLE])
def test_each(state: State, event: str, both: Both) -> None:
    after, told, seen = TABLE[state, event]
    both.bring(state)
    before = len(both.peer.ends)
    EVENTS[event](both)
    data = b"response" if (state, event) == (OPEN, "write") else b""

    def reached() -> bool:
        ends = both.peer.ends[before:]
        return (both.state, tuple(both.protocol.told), ends, both.peer.data) == (after, told, seen, data)

    both.until(reached)
    both.settle()
    assert reached()
    assert both.protocol.received == (b"request" if "data" in told else b"")
    assert both.shaken == [after is not CLOSED or state is not SHAKING]


def test_what_is_received_is_read_on_while_ended(both: Both) -> None:
    """Until the client's end."""
    both.bring(ENDED)
    for _ in range(3):
        both.send(both.peer.client.records(b"more"))
    both.until(lambda: both.protocol.received == b"more" * 3)
    both.send(both.peer.client.end())
    both.until(lambda: both.state is CLOSED)


@pytest.mark.parametrize("end", ["close_notify", "FIN"])
def test_a_client_that_has_ended_is_answered(end: str, both: Both) -> None:
    both.bring(OPEN)
    both.protocol.keeps_open = True
    EVENTS[end](both)
    both.until(lambda: "eof" in both.protocol.told)
    both.transport.write(b"response")
    both.until(lambda: both.peer.data == b"response")
    both.transport.write_eof()
    both.until(lambda: both.peer.ends == (CLOSE_NOTIFY, FIN))
    both.until(lambda: both.protocol.told == ["eof", "lost"])


class TestWhatIsUnsent:
    """A response that the kernel does not take whole is never cut off, however the connection ends meanwhile."""

    SIZE: Final = 1_000_000

    @pytest.fixture
    def full(self, both: Both) -> Both:
        both.bring(OPEN)
        both.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        both.transport.write(b"x" * self.SIZE)
        both.loop.turn()
        assert both.protocol.told == ["pause"]
        assert both.transport.get_write_buffer_size() > 64 * 1024
        return both

    def test_it_goes_on(self, full: Both) -> None:
        full.until(lambda: len(full.peer.data) == self.SIZE)
        assert full.protocol.told == ["pause", "resume"]
        assert (full.transport.get_write_buffer_size(), full.loop.writers) == (0, {})
        full.transport.write(b"y")
        full.until(lambda: full.peer.data[-1:] == b"y")

    @pytest.mark.parametrize("event", ["write_eof", "close", "FIN", "close_notify"])
    def test_the_end_comes_behind_it(self, event: str, full: Both) -> None:
        EVENTS[event](full)
        full.until(lambda: FIN in full.peer.ends)
        assert (len(full.peer.data), full.peer.ends) == (self.SIZE, (CLOSE_NOTIFY, FIN))
        assert (full.state is CLOSED) == (event in ("FIN", "close_notify"))

    def test_a_reset(self, full: Both) -> None:
        full.peer.reset()
        full.until(lambda: full.protocol.told == ["pause", "lost"])

    def test_an_abort(self, full: Both) -> None:
        full.transport.abort()
        full.until(lambda: full.protocol.told == ["pause", "lost"])
        assert full.transport.get_write_buffer_size() == 0


class TestReading:
    def test_pausing(self, both: Both) -> None:
        """It costs nothing until more comes; the loop is told then, once."""
        both.bring(OPEN)
        both.transport.pause_reading()
        both.settle()
        assert both.loop.readers
        both.send(both.peer.client.records(b"one"))
        both.until(lambda: not both.loop.readers)
        both.settle()
        assert both.protocol.received == b""
        both.transport.resume_reading()
        both.until(lambda: both.protocol.received == b"one")

    def test_no_more_than_a_share_in_a_turn(self, both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
        both.bring(OPEN)
        shares: list[int] = []
        receive = both.transport._session.receive
        session = both.transport._session

        class Watched:
            output, ended = b"", False

            def receive(self, raw: bytes) -> bytes:
                shares.append(len(raw))
                return receive(raw)

            encrypt, end = session.encrypt, session.end

        both.transport._session = Watched()  # type: ignore[assignment]
        both.send(both.peer.client.records(b"z" * 60_000))
        both.until(lambda: len(both.protocol.received) == 60_000)
        assert max(shares) <= READ_SIZE

    def test_what_comes_after_the_end_has_a_bound(self, both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tls_transport, "DISCARDED_BYTES", 10_000)
        both.bring(CLOSING)
        both.send(bytes(9_000))
        both.settle()
        assert both.state is CLOSING
        both.send(bytes(1_001))
        both.until(lambda: both.state is CLOSED)

    def test_a_reset_that_comes_with_the_last_bytes(self, both: Both) -> None:
        """libuv watches a descriptor no longer after it has told of an error once."""
        both.bring(OPEN)
        both.send(both.peer.client.records(b"request"))
        both.peer.reset()
        select.select([both.sock], [], [], 5)
        both.loop.turn()
        assert both.state is OPEN
        both.transport.notice_reset()
        both.loop.turn()
        assert both.protocol.told == ["data", "lost"]

    def test_a_reset_that_comes_with_half_a_hello(self, both: Both) -> None:
        """It is asked for at once: a connection in its handshake has no sweep."""
        both.send(both.peer.client.shake()[:40])
        both.peer.reset()
        select.select([both.sock], [], [], 5)
        both.transport._on_readable()
        assert both.state is CLOSED
        both.loop.turn()
        assert both.shaken == [False]

    def test_a_reset_that_comes_with_a_request(self, both: Both) -> None:
        """Sending the response tells."""
        both.bring(OPEN)
        both.send(both.peer.client.records(b"request"))
        both.peer.reset()
        select.select([both.sock], [], [], 5)
        both.loop.turn()
        both.transport.write(b"response")
        both.loop.turn()
        assert both.protocol.told == ["data", "lost"]

    def test_whoever_is_answered_is_asked_nothing(self, both: Both) -> None:
        both.bring(OPEN)
        asked: list[object] = []
        both.transport._sock = Asked(both.sock, asked)  # type: ignore[assignment]
        for answered in (True, False):
            both.protocol.received = b""
            both.send(both.peer.client.records(b"request"))
            both.until(lambda: both.protocol.received == b"request")
            if answered:
                both.transport.write(b"response")
            both.transport.notice_reset()
            assert bool(asked) is not answered
        both.transport._sock = both.sock


def test_tickets_go_with_a_response_of_the_same_turn(context: ssl.SSLContext) -> None:
    """And with no other: they are sent at the end of the turn in any case."""
    both = Both(context, ssl.TLSVersion.TLSv1_3)
    client, sent = both.peer.client, []
    both.send(client.shake())
    both.loop.turn()
    flight = both.peer.sock.recv(65536)
    both.send(client.shake(flight) + client.records(b"request"))
    both.protocol.data_received = lambda data: both.transport.write(b"response")  # type: ignore[method-assign]
    send = both.transport._sock.send
    both.transport._sock = Spy(both.transport._sock, lambda data: sent.append(len(data)) or send(data))  # type: ignore[assignment]
    both.until(lambda: both.peer.data == b"response")
    assert len(sent) == 1
    both.finish()


class Asked:
    """A socket that notes what it is asked."""

    def __init__(self, sock: socket.socket, asked: list[object]) -> None:
        self._sock, self._asked = sock, asked

    def getsockopt(self, *given: int) -> int:
        self._asked.append(given)
        return self._sock.getsockopt(*given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class Spy:
    """A socket whose `send` is another."""

    def __init__(self, sock: socket.socket, send: Callable[[bytes], object]) -> None:
        self._sock = sock
        self.send = send

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def test_a_bug_in_the_protocol_ends_the_connection(both: Both) -> None:
    """And is raised, so that the loop logs it."""

    def fail(data: bytes) -> None:
        raise KeyError

    both.bring(OPEN)
    both.protocol.data_received = fail  # type: ignore[method-assign]
    both.send(both.peer.client.records(b"request"))
    with pytest.raises(KeyError):
        both.until(lambda: False)
    both.until(lambda: both.protocol.told == ["lost"])
