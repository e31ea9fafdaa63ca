"""The listener over real sockets: the table of requests, and clients that mean no good."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time

import pytest

from appliance.edge.refusals import MAX_BODY_BYTES, Refusal
from appliance.edge.response import CONTINUE
from appliance.edge.site import Limits
from tests.edge.cases import CASES, GET, HALF, POST, post, reply_of
from tests.edge.live import exchange, live, reset
from tests.edge.records import APPLICATION, HANDSHAKE, KEY_UPDATE, Forger
from tests.edge.wire import split
from tests.factory import make_app, make_snapshot

SHORT = Limits(handshake_timeout=1, header_timeout=1, body_timeout=1, idle_timeout=1, write_timeout=1)


@pytest.fixture(scope="module")
def make_apps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("listener")
    snapshots = iter(range(1000))

    def make():
        inside = folder / str(next(snapshots))
        inside.mkdir()
        return {"/helpscout": make_app(make_snapshot(inside))}

    return make


@pytest.fixture(scope="module", params=["tls", "plain"])
def server(request, make_apps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair") if request.param == "tls" else None
    with live(make_apps, folder) as running:
        yield running


@pytest.fixture
def short(make_apps, tmp_path):
    with live(make_apps, tmp_path, SHORT) as running:
        yield running


def good(running):
    """Send a good request; give how long its answer took."""
    began = time.monotonic()
    with contextlib.closing(running.connect()) as connection:
        connection.sendall(POST)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    return time.monotonic() - began


def is_over(connection, seconds=5):
    """Say whether the server ends the connection within this time, whatever it says before."""
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


def expect(case, running, pieces):
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


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_whole(case, server):
    expect(case, server, [case.raw])


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES if len(case.raw) < 600])
def test_byte_by_byte(case, server):
    expect(case, server, [case.raw[at : at + 1] for at in range(len(case.raw))])


class TestTheFirstByte:
    @pytest.mark.parametrize("raw", [GET, b"SSH-2.0-x\r\n", b"\0", b"\x80\x2e\x01"], ids=["GET", "SSH", "NUL", "SSL2"])
    def test_no_tls_on_the_tls_port(self, raw, short):
        with contextlib.closing(short.connect(plain=True)) as connection:
            [answer] = split(exchange(connection, [raw]))
        assert (answer.status, answer.body) == (400, Refusal.NOT_TLS.reply.response.body)
        assert "text/plain" in answer.fields["Content-Type"]
        short.wait_for(lambda: short.outcomes == ["bad_request"])

    def test_silence(self, short):
        with contextlib.closing(short.connect(plain=True)) as connection:
            assert connection.recv(1) == b""
        assert short.outcomes == []

    def test_nothing_at_all(self, short):
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
    def test_one_that_comes_to_nothing(self, raw, short):
        with contextlib.closing(short.connect(plain=True)) as connection:
            connection.sendall(raw)
            assert is_over(connection)
        short.wait_for(lambda: "connection_closed" in short.site.counters.events)
        assert short.site.counters.events.count("handshake_failed") == 1

    def test_reset_within(self, short):
        connection = short.connect(plain=True)
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        short.wait_for(lambda: short.listener.running == 1)
        reset(connection)
        short.wait_for(lambda: "connection_closed" in short.site.counters.events)

    def test_an_old_version(self, short, monkeypatch):
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1
        monkeypatch.setattr(short, "client", old)
        with pytest.raises(ssl.SSLError):
            short.connect()
        short.wait_for(lambda: "handshake_failed" in short.site.counters.events)

    def test_tickets_and_protocol(self, short):
        with contextlib.closing(short.connect()) as first:
            first.sendall(POST)
            assert first.recv(65536)
            session = first.session
        raw = socket.create_connection(("127.0.0.1", short.port), timeout=10)
        context = short.client
        context.set_alpn_protocols(["h2", "http/1.1"])
        with contextlib.closing(context.wrap_socket(raw, server_hostname="localhost", session=session)) as second:
            assert second.session_reused
            assert second.selected_alpn_protocol() == "http/1.1"


class TestPeers:
    @pytest.mark.parametrize(
        "sent", [b"PO", HALF, POST, POST * 50, GET * 50], ids=["head", "body", "1", "50", "50 GET"]
    )
    def test_one_that_resets(self, sent, server):
        before = server.site.counters.events.count("connection_closed")
        connection = server.connect()
        connection.sendall(sent)
        reset(connection)
        server.wait_for(lambda: server.site.counters.events.count("connection_closed") > before)
        assert good(server) < 1

    @pytest.mark.parametrize("raw", [POST, GET], ids=["fast", "tornado"])
    def test_one_that_never_reads(self, raw, make_apps, tmp_path):
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
            assert good(running) < 1

    def test_one_whose_records_hold_almost_nothing(self, make_apps, tmp_path):
        """A byte in each is served up to a point, and what is between them is not: it is dropped and counted."""
        raw = post(body=b"x" * 9000)
        with live(make_apps, tmp_path) as running, contextlib.closing(running.connect()) as connection:
            for byte in POST:
                connection.sendall(bytes([byte]))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
            with contextlib.suppress(OSError):  # it may be dropped within
                for byte in raw[:-1]:
                    connection.sendall(bytes([byte]))
            running.wait_for(lambda: "dropped" in running.site.counters.events)
            assert is_over(connection)
            assert running.outcomes == ["found"]
            assert good(running) < 1

    def test_one_whose_records_are_small(self, make_apps, tmp_path):
        """Ten bytes in each are no flood, however long it lasts."""
        raw = post(body=b"x" * 40_000)
        with live(make_apps, tmp_path) as running, contextlib.closing(running.connect()) as connection:
            for at in range(0, len(raw), 10):
                connection.sendall(raw[at : at + 10])
            running.call(running.listener.state.check_overhead)
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
            assert "dropped" not in running.site.counters.events

    def test_silent_ones_end(self, short):
        silent = [short.connect(plain=True) for _ in range(20)] + [short.connect() for _ in range(5)]
        assert good(short) < 1
        short.wait_for(lambda: short.listener.connections == 0)
        for connection in silent:
            connection.close()


class TestBelowHTTP:
    """Records that carry nothing: no byte of them reaches the parser."""

    @pytest.fixture
    def forger(self, make_apps, tmp_path):
        with live(make_apps, tmp_path) as running:
            running.client.keylog_filename = str(tmp_path / "keys")
            with contextlib.closing(running.connect()) as connection:
                yield running, connection, Forger(connection, tmp_path / "keys")

    def flood(self, forger, make, most):
        """Send so many, or until the server ends it; it has when this was looked at."""
        running, connection, forged = forger
        with contextlib.suppress(OSError):
            for _ in range(most // 50):
                forged.send(b"".join(make(forged) for _ in range(50)))
        running.call(running.listener.state.check_overhead)
        assert is_over(connection)
        running.wait_for(lambda: "connection_closed" in running.site.counters.events)
        assert running.outcomes == []

    def test_a_request_in_forged_records(self, forger):
        """What is forged here is right: otherwise the other tests would show nothing."""
        _, connection, forged = forger
        forged.send(forged.record(HANDSHAKE, KEY_UPDATE) + forged.record(APPLICATION, POST))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")

    def test_key_updates(self, forger):
        running, *_ = forger
        self.flood(forger, lambda forged: forged.record(HANDSHAKE, KEY_UPDATE), 5_000)
        assert running.site.counters.events.count("dropped") == 1

    def test_empty_records(self, forger):
        """OpenSSL takes 32 in a row."""
        self.flood(forger, lambda forged: forged.record(APPLICATION, b""), 50)

    @pytest.mark.parametrize(("padding", "empty"), [(1000, 0), (0, 3), (100, 1)], ids=str)
    def test_records_that_hold_almost_nothing(self, forger, padding, empty):
        """A byte of a body in each: padded, or with empty ones between them."""
        running, _, forged = forger
        head = b"POST /helpscout HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MAX_BODY_BYTES
        forged.send(forged.record(APPLICATION, head))

        def make(forged):
            padded = forged.record(0, b"x" + bytes([APPLICATION]) + bytes(padding))
            return padded + b"".join(forged.record(APPLICATION, b"") for _ in range(empty))

        self.flood(forger, make, 5_000)
        assert running.site.counters.events.count("dropped") == 1


def test_a_thousand_silent_connections(make_apps, tmp_path):
    """From ten addresses, as many as may be connected: the next client is served all the same."""
    limits = Limits(max_connections=1000)
    with live(make_apps, tmp_path, limits) as running, contextlib.ExitStack() as stack:
        for number in range(1000):
            stack.enter_context(running.connect(f"127.0.0.{2 + number % 10}", plain=True))
        running.wait_for(lambda: running.listener.connections >= 990)
        assert max(good(running) for _ in range(20)) < 1
        assert running.listener.connections <= 1000
        assert running.site.counters.events.count("dropped") >= 1


def test_too_many_from_one_address(make_apps):
    with live(make_apps, None, Limits(max_per_source=3)) as running, contextlib.ExitStack() as stack:
        held = [stack.enter_context(running.connect("127.0.0.2")) for _ in range(3)]
        running.wait_for(lambda: running.listener.connections == 3)
        assert is_over(stack.enter_context(running.connect("127.0.0.2")))
        running.wait_for(lambda: "accept_rejected" in running.site.counters.events)
        assert good(running) < 1
        held.pop().close()
        running.wait_for(lambda: running.site.counters.events.count("connection_closed") == 2)
        again = stack.enter_context(running.connect("127.0.0.2"))
        again.sendall(POST)
        assert again.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_full_house_makes_room(make_apps):
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


def test_stopping(make_apps, tmp_path):
    with live(make_apps, tmp_path) as running, contextlib.ExitStack() as stack:
        idle, half, silent, late = (
            stack.enter_context(running.connect(plain=plain)) for plain in (False, False, True, False)
        )
        idle.sendall(POST)
        assert idle.recv(65536).startswith(b"HTTP/1.1 ")
        half.sendall(HALF)
        running.wait_for(lambda: running.listener.running == 3)  # the two that have said nothing yet may still do so
        running.call(running.listener.stop)
        assert is_over(idle)
        late.sendall(POST)
        assert b"\r\nConnection: close\r\n" in late.recv(65536)
        half.sendall(POST[len(HALF) :])
        assert b"\r\nConnection: close\r\n" in half.recv(65536)
        assert is_over(half)
        with pytest.raises(ConnectionRefusedError):
            running.connect()
        assert asyncio.run_coroutine_threadsafe(running.listener.drain(5), running.loop).result(10) == 0
        assert is_over(silent)


def test_draining_cuts_what_lasts_too_long(make_apps):
    with live(make_apps, None) as running, contextlib.closing(running.connect()) as half:
        half.sendall(HALF)
        running.wait_for(lambda: running.listener.running == 1)
        running.call(running.listener.stop)
        cut = asyncio.run_coroutine_threadsafe(running.listener.drain(0.05), running.loop).result(10)
        assert cut == 1
        assert is_over(half)


def test_the_next_request_is_served_at_once_when_the_house_is_full(tmp_path):
    """Nothing waits for a timeout: making room takes the place of one that only waits."""
    with live(dict, None) as running:
        running.listener._capacity = 5
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(running.connect())
            began = time.monotonic()
            connection = stack.enter_context(running.connect())
            connection.sendall(POST)
            assert connection.recv(100).startswith(b"HTTP/1.1 404 ")
            assert time.monotonic() - began < 0.5


def test_the_silent_go_first(make_apps, tmp_path):
    """A full house makes room at the cost of those who say nothing, though one in its handshake came before them."""
    with live(make_apps, tmp_path) as running, contextlib.ExitStack() as stack:
        running.listener._capacity = 4
        begun = stack.enter_context(running.connect(plain=True))
        begun.sendall(b"\x16\x03\x01")
        running.wait_for(lambda: running.listener.running >= 1)
        silent = [stack.enter_context(running.connect(plain=True)) for _ in range(8)]
        running.wait_for(lambda: sum(map(is_gone, silent)) == 5)
        assert not is_gone(begun)


def is_gone(connection):
    """Say whether the other side has closed or reset it; it has sent nothing."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
