"""The listener over real sockets: the table of requests, and clients that mean no good."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.config.schema import Limits
from appliance.edge.refusals import MAX_BODY_BYTES, Refusal
from appliance.edge.response import CONTINUE
from appliance.system.accept_queue import has_handshakes, refuse_new
from tests.edge.cases import GET, HALF, POST, SAMPLE, Case, post, reply_of
from tests.edge.live import Live, MakeApps, exchange, live, reset
from tests.edge.records import APPLICATION, HANDSHAKE, KEY_UPDATE, Forger
from tests.edge.wire import split
from tests.factory import make_app, make_snapshot

Forging = tuple[Live, ssl.SSLSocket, Forger]

SHORT = Limits(handshake_timeout=1, header_timeout=1, body_timeout=1, idle_timeout=1, write_timeout=1)
PATIENT = Limits(handshake_timeout=900, header_timeout=900, body_timeout=900, idle_timeout=900, write_timeout=900)
"""No deadline ends a connection while a test runs: whoever is served then, was so without waiting for one."""


@pytest.fixture(scope="module")
def make_apps(tmp_path_factory: pytest.TempPathFactory) -> MakeApps:
    folder = tmp_path_factory.mktemp("listener")
    snapshots = iter(range(1000))

    def make() -> Any:
        inside = folder / str(next(snapshots))
        inside.mkdir()
        return {"/helpscout": make_app(make_snapshot(inside))}

    return make


@pytest.fixture(scope="module", params=["tls", "plain"])
def server(
    request: pytest.FixtureRequest, make_apps: MakeApps, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("pair") if request.param == "tls" else None
    with live(make_apps, folder) as running:
        yield running


@pytest.fixture
def short(make_apps: MakeApps, tmp_path: Path) -> Iterator[Live]:
    with live(make_apps, tmp_path, SHORT) as running:
        yield running


def ask(running: Live) -> None:
    """Send a good request and read its response."""
    with contextlib.closing(running.connect()) as connection:
        connection.sendall(POST)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


def is_over(connection: socket.socket, seconds: float = 5) -> bool:
    """Return whether the server ends the connection within this time, whatever it says before."""
    connection.settimeout(seconds)
    try:
        while connection.recv(65536):
            pass
    except ssl.SSLError:
        return True  # without a farewell
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def expect(case: Case, running: Live, pieces: list[bytes]) -> None:
    before = len(running.site.request_log.lines)
    with contextlib.closing(running.connect()) as connection:
        try:
            received = exchange(connection, pieces, len(case.answers), case.head)
        except ssl.SSLEOFError:  # the server needs not wait for the client's farewell
            pytest.fail("the answer was cut off")
    answers = split(received.replace(CONTINUE, b""), case.head)
    expected = [reply.response.status if (reply := reply_of(one)) else 200 for one in case.answers]
    assert [answer.status for answer in answers] == expected
    assert (answers[-1].fields.get("Connection") == "close") == case.closes
    running.wait_for(lambda: len(running.site.request_log.lines) - before == case.lines)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in SAMPLE])
def test_whole(case: Case, server: Live) -> None:
    """What sockets add to the table: SAMPLE_IDS says what each case stands for."""
    expect(case, server, [case.raw])


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in SAMPLE if len(case.raw) < 600])
def test_byte_by_byte(case: Case, server: Live) -> None:
    expect(case, server, [case.raw[at : at + 1] for at in range(len(case.raw))])


class TestTheFirstByte:
    @pytest.mark.parametrize("raw", [GET, b"SSH-2.0-x\r\n", b"\0", b"\x80\x2e\x01"], ids=["GET", "SSH", "NUL", "SSL2"])
    def test_no_tls_on_the_tls_port(self, raw: bytes, short: Live) -> None:
        with contextlib.closing(short.connect(plain=True)) as connection:
            [answer] = split(exchange(connection, [raw]))
        assert (answer.status, answer.body) == (400, Refusal.NOT_TLS.reply.response.body)
        assert "text/plain" in answer.fields["Content-Type"]
        short.wait_for(lambda: short.outcomes == ["bad_request"])

    def test_silence(self, short: Live) -> None:
        with contextlib.closing(short.connect(plain=True)) as connection:
            assert connection.recv(1) == b""
        assert short.outcomes == []

    def test_nothing_at_all(self, short: Live) -> None:
        short.connect(plain=True).close()
        short.wait_for(lambda: "connection_closed" in short.site.counters.events)
        assert "handshake_failed" not in short.site.counters.events


class TestHandshakes:
    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param(b"\x16", id="one byte"),
            pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", id="half a hello"),
            pytest.param(b"\x16\x03\x01\x00\x05hello", id="garbage"),
            pytest.param(b"\x16" + b"\xff" * 20000, id="much garbage"),
        ],
    )
    def test_one_that_comes_to_nothing(self, raw: bytes, short: Live) -> None:
        with contextlib.closing(short.connect(plain=True)) as connection:
            connection.sendall(raw)
            assert is_over(connection)
        short.wait_for(lambda: "connection_closed" in short.site.counters.events)
        assert short.site.counters.events.count("handshake_failed") == 1

    def test_reset_within(self, short: Live) -> None:
        connection = short.connect(plain=True)
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        short.wait_for(lambda: short.listener.running == 1)
        reset(connection)
        short.wait_for(lambda: "connection_closed" in short.site.counters.events)

    def test_an_old_version(self, short: Live, monkeypatch: pytest.MonkeyPatch) -> None:
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1
        monkeypatch.setattr(short, "client", old)
        with pytest.raises(ssl.SSLError):
            short.connect()
        short.wait_for(lambda: "handshake_failed" in short.site.counters.events)

    def test_tickets_and_protocol(self, short: Live) -> None:
        assert short.client is not None
        with contextlib.closing(short.connect_tls()) as first:
            first.sendall(POST)
            assert first.recv(65536)
            session = first.session
        short.client.set_alpn_protocols(["h2", "http/1.1"])
        with contextlib.closing(short.connect_tls(session=session)) as second:
            assert second.session_reused
            assert second.selected_alpn_protocol() == "http/1.1"


class TestPeers:
    @pytest.mark.parametrize(
        "sent", [b"PO", HALF, POST, POST * 50, GET * 50], ids=["head", "body", "1", "50", "50 GET"]
    )
    def test_one_that_resets(self, sent: bytes, server: Live) -> None:
        before = server.site.counters.events.count("connection_closed")
        connection = server.connect()
        connection.sendall(sent)
        reset(connection)
        server.wait_for(lambda: server.site.counters.events.count("connection_closed") > before)
        ask(server)

    @pytest.mark.parametrize("raw", [POST, GET], ids=["fast", "tornado"])
    def test_one_that_never_reads(self, raw: bytes, make_apps: MakeApps, tmp_path: Path) -> None:
        """Its window stays shut, so its answers stay here: until the write deadline, or the kernel's own, is over."""
        with live(make_apps, tmp_path, SHORT) as running, contextlib.closing(running.connect()) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(0.2)
            with contextlib.suppress(OSError):
                for _ in range(5000):
                    connection.sendall(raw * 20)
            answered = running.call(lambda: len(running.outcomes))
            running.wait_for(lambda: running.listener.connections == 0)
            assert answered < 90_000
            ask(running)

    def test_one_whose_records_hold_almost_nothing(self, make_apps: MakeApps, tmp_path: Path) -> None:
        """A byte in each is served up to a point, and what is between them is not: it is dropped and counted."""
        raw = post(body=b"x" * 9000)
        with live(make_apps, tmp_path) as running, contextlib.closing(running.connect()) as connection:
            for byte in POST:
                connection.sendall(bytes([byte]))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
            with contextlib.suppress(OSError):  # it may be dropped within
                for byte in raw[:-1]:
                    connection.sendall(bytes([byte]))
            running.wait_for(lambda: "connection_dropped" in running.site.counters.events)
            assert is_over(connection)
            assert running.outcomes == ["found"]
            ask(running)

    def test_one_whose_records_are_small(self, make_apps: MakeApps, tmp_path: Path) -> None:
        """Ten bytes in each are no flood, however long it lasts."""
        raw = post(body=b"x" * 40_000)
        with live(make_apps, tmp_path) as running, contextlib.closing(running.connect()) as connection:
            for at in range(0, len(raw), 10):
                connection.sendall(raw[at : at + 10])
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
            assert "connection_dropped" not in running.site.counters.events

    def test_silent_ones_end(self, short: Live) -> None:
        silent = [short.connect(plain=True) for _ in range(20)] + [short.connect() for _ in range(5)]
        ask(short)
        short.wait_for(lambda: short.listener.connections == 0)
        for connection in silent:
            connection.close()


class TestBelowHTTP:
    """Records that carry nothing: no byte of them reaches the parser."""

    @pytest.fixture
    def forger(self, make_apps: MakeApps, tmp_path: Path) -> Iterator[Forging]:
        with live(make_apps, tmp_path) as running:
            assert running.client is not None
            running.client.keylog_filename = str(tmp_path / "keys")
            with contextlib.closing(running.connect_tls()) as connection:
                yield running, connection, Forger(connection, tmp_path / "keys")

    def flood(self, forger: Forging, make: Callable[[Forger], bytes], most: int) -> None:
        """Send so many, or until the server ends it."""
        running, connection, forged = forger
        with contextlib.suppress(OSError):
            for _ in range(most // 50):
                forged.send(b"".join(make(forged) for _ in range(50)))
        assert is_over(connection)
        running.wait_for(lambda: "connection_closed" in running.site.counters.events)
        assert running.outcomes == []

    def test_a_request_in_forged_records(self, forger: Forging) -> None:
        """What is forged here is right: otherwise the other tests would show nothing."""
        _, connection, forged = forger
        forged.send(forged.record(HANDSHAKE, KEY_UPDATE) + forged.record(APPLICATION, POST))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")

    def test_key_updates(self, forger: Forging) -> None:
        running, *_ = forger
        self.flood(forger, lambda forged: forged.record(HANDSHAKE, KEY_UPDATE), 5_000)
        assert running.site.counters.events.count("connection_dropped") == 1

    def test_empty_records(self, forger: Forging) -> None:
        """OpenSSL takes 32 in a row."""
        self.flood(forger, lambda forged: forged.record(APPLICATION, b""), 50)

    @pytest.mark.parametrize(("padding", "empty"), [(1000, 0), (0, 3), (100, 1)], ids=str)
    def test_records_that_hold_almost_nothing(self, forger: Forging, padding: int, empty: int) -> None:
        """A byte of a body in each: padded, or with empty ones between them."""
        running, _, forged = forger
        head = b"POST /helpscout HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MAX_BODY_BYTES
        forged.send(forged.record(APPLICATION, head))

        def make(forged: Forger) -> Any:
            padded = forged.record(0, b"x" + bytes([APPLICATION]) + bytes(padding))
            return padded + b"".join(forged.record(APPLICATION, b"") for _ in range(empty))

        self.flood(forger, make, 5_000)
        assert running.site.counters.events.count("connection_dropped") == 1


def test_a_thousand_silent_connections(make_apps: MakeApps, tmp_path: Path) -> None:
    """From ten addresses, as many as may be connected: the next client is served all the same."""
    with live(make_apps, tmp_path, replace(PATIENT, max_connections=1000)) as running, contextlib.ExitStack() as stack:
        for number in range(1000):
            stack.enter_context(running.connect(f"127.0.0.{2 + number % 10}", plain=True))
        running.wait_for(lambda: running.listener.connections >= 990)
        for _ in range(20):
            ask(running)
        assert running.listener.connections <= 1000
        assert running.site.counters.events.count("connection_dropped") >= 1


def test_too_many_from_one_address(make_apps: MakeApps) -> None:
    with live(make_apps, None, Limits(max_per_source=3)) as running, contextlib.ExitStack() as stack:
        held = [stack.enter_context(running.connect("127.0.0.2")) for _ in range(3)]
        running.wait_for(lambda: running.listener.connections == 3)
        assert is_over(stack.enter_context(running.connect("127.0.0.2")))
        running.wait_for(lambda: "accept_rejected" in running.site.counters.events)
        ask(running)
        held.pop().close()
        running.wait_for(lambda: running.site.counters.events.count("connection_closed") == 2)
        again = stack.enter_context(running.connect("127.0.0.2"))
        again.sendall(POST)
        assert again.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_one_that_is_dropped_before_the_loop_has_begun_with_it(make_apps: MakeApps) -> None:
    """Its source's place is free again."""
    with live(make_apps, None, Limits(max_per_source=1)) as running:
        first_bytes = running.listener._first_bytes
        proceed = first_bytes._proceed

        def proceed_and_drop(pending: Any, continuation: Any) -> None:
            first_bytes._proceed = proceed
            proceed(pending, continuation)
            pending.drop()

        first_bytes._proceed = proceed_and_drop
        with contextlib.closing(running.connect("127.0.0.2")) as connection:
            connection.sendall(POST)
            assert is_over(connection)
        with contextlib.closing(running.connect("127.0.0.2")) as again:
            again.sendall(POST)
            assert again.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert "accept_rejected" not in running.site.counters.events


def test_the_longest_idle_is_evicted_at_capacity(make_apps: MakeApps) -> None:
    """The one that has waited longest goes; one that is in the middle of something the server does stays."""
    with live(make_apps, None, Limits(max_connections=2)) as running, contextlib.ExitStack() as stack:
        first, second = (stack.enter_context(running.connect()) for _ in range(2))
        for connection in (first, second):
            connection.sendall(POST)
            assert connection.recv(65536)
        first.sendall(POST)
        assert first.recv(65536)
        third = stack.enter_context(running.connect())
        third.sendall(POST)
        assert third.recv(65536)
        assert is_over(second)
        first.sendall(POST)
        assert first.recv(65536)


def test_who_connected_before_the_start_is_served_like_those_who_come_later() -> None:
    """Its socket has inherited nothing. Without TCP_NODELAY, its first response would wait 40 ms for an ACK."""
    options = (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
        (socket.SOL_SOCKET, socket.SO_RCVBUF),
    )

    def options_of_clients() -> list[list[int]]:
        sockets = [client.sock for client in running.listener._registry.clients]  # type: ignore[attr-defined]
        return [[sock.getsockopt(*option) for option in options] for sock in sockets]

    with contextlib.ExitStack() as stack:

        def connect(port: int) -> None:
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))

        with live(dict, None, before=connect) as running:
            connect(running.port)
            running.wait_for(lambda: running.listener.connections == 2)
            early, late = running.call(options_of_clients)
            assert early == late
            assert early[:2] == [1, int(Limits().write_timeout * 1000)]
            stack.close()


def test_stopping(make_apps: MakeApps, tmp_path: Path) -> None:
    with live(make_apps, tmp_path) as running, contextlib.ExitStack() as stack:
        idle, kept, half, silent, late = (
            stack.enter_context(running.connect(plain=plain)) for plain in (False, False, False, True, False)
        )
        for connection in (idle, kept):
            connection.sendall(POST)
            assert connection.recv(65536).startswith(b"HTTP/1.1 ")
        half.sendall(HALF)
        running.wait_for(lambda: running.listener.running == 3)  # the two that have said nothing yet may still do so
        running.call(running.listener.stop)
        for connection in (kept, late):  # a request on its way, on a connection that was idle or new
            connection.sendall(POST)
            assert b"\r\nConnection: close\r\n" in connection.recv(65536)
        half.sendall(POST[len(HALF) :])
        assert b"\r\nConnection: close\r\n" in half.recv(65536)
        assert is_over(half)
        with pytest.raises(ConnectionRefusedError):
            running.connect()
        draining = asyncio.run_coroutine_threadsafe(running.listener.drain(5), running.loop)
        assert idle.recv(1) == b""  # in good order, and without a request
        assert draining.result(10) == 0
        assert is_over(silent)


def test_stopping_answers_who_has_connected(make_apps: MakeApps, tmp_path: Path) -> None:
    """The kernel has, though nobody has accepted them yet: closing the socket would reset them."""
    with live(make_apps, tmp_path) as running, contextlib.ExitStack() as stack:

        def connect_and_stop() -> list[socket.socket]:
            waiting = [running.connect(plain=True) for _ in range(40)]
            running.listener.stop()
            return waiting

        assert running.client is not None
        for raw in running.call(connect_and_stop):
            connection = stack.enter_context(running.client.wrap_socket(raw, server_hostname="localhost"))
            connection.sendall(POST)
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def connect_and_refuse(running: Live, raw: socket.socket) -> None:
    """Connect, but for the last acknowledgement, which comes with the first data; then refuse new clients."""
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    raw.connect(("127.0.0.1", running.port))
    (listening,) = running.listener._sockets
    refuse_new(listening)
    assert has_handshakes(listening)


@pytest.mark.parametrize("ends", ["before the stop", "after the stop"])
def test_stopping_answers_who_is_in_the_handshake_of_tcp(ends: str, make_apps: MakeApps, tmp_path: Path) -> None:
    """When new clients are refused, this one takes itself for connected, and its last acknowledgement is held back."""
    with live(make_apps, tmp_path) as running, socket.socket() as raw:

        def begin() -> None:
            connect_and_refuse(running, raw)
            if ends == "after the stop":
                running.listener.stop()

        running.call(begin)
        if ends == "before the stop":
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            running.wait_for(lambda: running.listener.connections == 1)
            running.call(running.listener.stop)
        draining = asyncio.run_coroutine_threadsafe(running.listener.drain(5), running.loop)
        assert running.client is not None
        with running.client.wrap_socket(raw, server_hostname="localhost") as connection:
            connection.sendall(POST)
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        assert draining.result(10) == 0


def test_without_tls_a_connection_made_while_new_ones_are_refused_is_kept(make_apps: MakeApps) -> None:
    """Its first request comes with the end of its handshake, and would be all that it could receive."""
    with live(make_apps, None) as running, socket.socket() as raw:
        raw.settimeout(10)
        running.call(lambda: connect_and_refuse(running, raw))
        for _ in range(2):
            raw.sendall(POST)
            assert raw.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_draining_waits_longer_if_the_machine_stood_still(make_apps: MakeApps, tmp_path: Path) -> None:
    """A client that stood still, too, has yet to send what it would have sent meanwhile."""
    with live(make_apps, tmp_path) as running, contextlib.closing(running.connect()) as kept:
        kept.sendall(POST)
        assert kept.recv(65536).startswith(b"HTTP/1.1 200 ")
        running.call(running.listener.stop)
        draining = asyncio.run_coroutine_threadsafe(running.listener.drain(5), running.loop)
        # For longer than an idle connection is kept:
        assert not running.call(lambda: threading.Event().wait(0.5))
        kept.sendall(POST)
        assert kept.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert draining.result(10) == 0


def test_draining_cuts_what_lasts_too_long(make_apps: MakeApps) -> None:
    with live(make_apps, None) as running, contextlib.closing(running.connect()) as half:
        half.sendall(HALF)
        running.wait_for(lambda: running.listener.running == 1)
        running.call(running.listener.stop)
        cut = asyncio.run_coroutine_threadsafe(running.listener.drain(0.05), running.loop).result(10)
        assert cut == 1
        assert is_over(half)


def test_the_next_request_is_served_at_capacity() -> None:
    with live(dict, None, replace(PATIENT, max_connections=5)) as running, contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(running.connect())
        connection = stack.enter_context(running.connect())
        connection.sendall(POST)
        assert connection.recv(100).startswith(b"HTTP/1.1 404 ")


def test_the_silent_go_first(make_apps: MakeApps, tmp_path: Path) -> None:
    """At capacity those who have sent nothing are evicted, though one in its handshake connected before them."""
    with live(make_apps, tmp_path, replace(PATIENT, max_connections=4)) as running, contextlib.ExitStack() as stack:
        begun = stack.enter_context(running.connect(plain=True))
        begun.sendall(b"\x16\x03\x01")
        running.wait_for(lambda: running.listener.running >= 1)
        silent = [stack.enter_context(running.connect(plain=True)) for _ in range(8)]
        running.wait_for(lambda: sum(map(is_gone, silent)) == 5)
        assert not is_gone(begun)


def is_gone(connection: socket.socket) -> bool:
    """Return whether the other side has closed or reset it; it has sent nothing."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
