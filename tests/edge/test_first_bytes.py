"""The first bytes of connections over real sockets: PROXY headers, and the ClientHellos of validations."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

import pytest

from appliance.config.schema import Limits
from appliance.edge import first_bytes
from appliance.edge.first_bytes import Balancers
from appliance.edge.pending_connection import PendingConnection
from appliance.edge.tls import server_context
from tests.conftest import Logged
from tests.edge.cases import POST
from tests.edge.hellos import hello
from tests.edge.live import Live, exchange, live, reset
from tests.edge.proxy_headers import BAD, GOOD, LOCAL, UNSPEC, Good, block, v1, v2
from tests.edge.wire import split
from tests.server import make_pair

BALANCER = "127.0.0.7"
BALANCERS = Balancers((ip_network(f"{BALANCER}/32"), ip_network("2001:db8::/32")), max_per_source=3)
SHORT = Limits(max_per_source=1, handshake_timeout=1)
"""One connection from each address: what comes through a balancer is not counted as its own."""


@pytest.fixture(params=["tls", "plain"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Live]:
    with live(dict, tmp_path if request.param == "tls" else None, SHORT, BALANCERS) as running:
        yield running


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(dict, tmp_path_factory.mktemp("pair"), SHORT, BALANCERS) as running:
        yield running


def begin(running: Live, *pieces: bytes) -> socket.socket:
    """Return a connection through the balancer, which has sent these pieces."""
    raw = running.connect(BALANCER, plain=True)
    for piece in pieces:
        raw.sendall(piece)
    return raw


def ask(running: Live, raw: socket.socket) -> None:
    """Begin TLS, if that is what the port speaks, send a request, and read the response."""
    connection = raw if running.client is None else running.client.wrap_socket(raw, server_hostname="localhost")
    with contextlib.closing(connection):
        [answer] = split(exchange(connection, [POST]))
    assert answer.status == 404


def is_over(connection: socket.socket) -> bool:
    connection.settimeout(5)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def headers(running: Live) -> list[int]:
    """Return how much is taken of the header of each connection that is not done with it."""
    return [len(one.header) for one in running.listener._registry.clients if isinstance(one, PendingConnection)]


def grow_older(running: Live, seconds: float) -> None:
    """Have the connections begun earlier, as if so much time had passed."""
    for one in running.listener._registry.clients:
        if isinstance(one, PendingConnection):
            one.since -= seconds


def peers(running: Live) -> list[str]:
    return [peer for _, _, peer in running.site.request_log.lines]


class TestGoodHeaders:
    @pytest.mark.parametrize("header", [v1("192.0.2.9"), v2("192.0.2.9")], ids=["v1", "v2"])
    def test_the_client_is_known_by_its_address(self, header: bytes, served: Live) -> None:
        ask(served, begin(served, header))
        assert peers(served) == ["192.0.2.9"]

    @pytest.mark.parametrize(
        "header", [v1("192.0.2.9"), v2("192.0.2.9", bytes(99)), v2("192.0.2.9", bytes(2020))], ids=["v1", "v2", "long"]
    )
    def test_byte_by_byte(self, header: bytes, served: Live) -> None:
        ask(served, begin(served, *(header[at : at + 1] for at in range(len(header)))))
        assert peers(served) == ["192.0.2.9"]

    @pytest.mark.parametrize("good", [pytest.param(good, id=good.id) for good in GOOD])
    def test_each(self, good: Good, lasting: Live) -> None:
        lasting.site.request_log.lines.clear()
        ask(lasting, begin(lasting, good.raw))
        address = good.address or BALANCER
        assert peers(lasting) == [address.removeprefix("::ffff:") if "." in address else address]

    def test_with_the_request_in_one_piece(self) -> None:
        with live(dict, None, SHORT, BALANCERS) as running:
            for cut in (1, 20, len(v2("192.0.2.9")) + 9):
                whole = v2("192.0.2.9") + POST
                with contextlib.closing(begin(running, whole[:cut])) as raw:
                    assert split(exchange(raw, [whole[cut:]]))[0].status == 404
            assert peers(running) == ["192.0.2.9"] * 3

    def test_no_tls_on_the_tls_port(self, tmp_path: Path) -> None:
        """What follows the header is looked at as without one."""
        with live(dict, tmp_path, SHORT, BALANCERS) as running:
            with contextlib.closing(begin(running, v1("192.0.2.9"))) as raw:
                assert split(exchange(raw, [b"GET / HTTP/1.1\r\n\r\n"]))[0].status == 400
            running.wait_for(lambda: peers(running) == ["192.0.2.9"])

    def test_a_second_header(self, served: Live) -> None:
        """Only the first is one: nobody behind a balancer names another address."""
        with contextlib.closing(begin(served, v1("192.0.2.9") + v1("198.51.100.1"))) as raw:
            assert split(exchange(raw, []))[0].status == 400
        served.wait_for(lambda: peers(served) == ["192.0.2.9"])

    @pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", block(LOCAL, UNSPEC, b"")], ids=["v1", "v2"])
    def test_a_health_check(self, header: bytes, served: Live) -> None:
        """HAProxy's `check-send-proxy`, which asks nothing, and one that only connects."""
        for pieces in ((header,), ()):
            begin(served, *pieces).close()
        served.wait_for(lambda: served.site.counters.events.count("connection_closed") == 2)
        assert set(served.site.counters.events) == {"connection_opened", "connection_closed"}


class TestBadHeaders:
    @pytest.mark.parametrize("raw", [pytest.param(raw, id=name) for name, raw in BAD.items()])
    def test_each(self, raw: bytes, lasting: Live, logged: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(first_bytes, "_LOG_EVERY", -1.0)
        lasting.call(lambda: setattr(lasting.listener._first_bytes, "_quiet_until", 0.0))
        lasting.site.request_log.lines.clear()
        lasting.site.counters.events.clear()
        with contextlib.closing(begin(lasting, raw)) as connection:
            assert is_over(connection)
        lasting.wait_for(lambda: "connection_closed" in lasting.site.counters.events)
        assert lasting.site.counters.events.count("header_refused") == 1
        assert peers(lasting) == []
        line = logged.take("proxy_header_refused")
        assert (line["peer"], line["count"], line["level"]) == (BALANCER, 1, "warning")

    def test_no_flood(self, served: Live, logged: Logged) -> None:
        """A balancer that sends none: a line a minute says how many connections failed."""
        for _ in range(20):
            with contextlib.closing(begin(served, b"\x16\x03\x01")) as connection:
                assert is_over(connection)
        assert logged.take("proxy_header_refused")["count"] == 1
        assert served.site.counters.events.count("header_refused") == 20
        served.call(lambda: setattr(served.listener._first_bytes, "_quiet_until", 0.0))
        with contextlib.closing(begin(served, b"\x16\x03\x01")) as connection:
            assert is_over(connection)
        assert logged.take("proxy_header_refused")["count"] == 20

    @pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["closed", "reset"])
    def test_cut_off(self, end: Callable[[socket.socket], object], served: Live, logged: Logged) -> None:
        connection = begin(served, b"PROXY TCP4 ")
        served.wait_for(lambda: any(headers(served)))
        end(connection)
        served.wait_for(lambda: "connection_closed" in served.site.counters.events)
        assert "cut off" in str(logged.take("proxy_header_refused")["why"])
        assert served.site.counters.events.count("header_refused") == 1

    def test_late(self, served: Live, logged: Logged) -> None:
        """One that has not begun is silence, as from everybody else."""
        with contextlib.closing(begin(served, b"PROXY TCP4 ")) as begun, contextlib.closing(begin(served)) as silent:
            assert is_over(begun)
            assert is_over(silent)
        assert "in time" in str(logged.take("proxy_header_refused")["why"])
        assert served.site.counters.events.count("header_refused") == 1

    def test_the_deadline_is_that_of_the_handshake(self, logged: Logged) -> None:
        """It runs on from the header: one that trickles gains nothing."""
        with (
            live(dict, None, Limits(handshake_timeout=100), BALANCERS) as running,
            contextlib.closing(begin(running)) as connection,
        ):
            for taken, byte in enumerate(v2("192.0.2.9")[:9], 1):
                connection.sendall(bytes([byte]))
                running.wait_for(lambda taken=taken: headers(running) == [taken])
                running.call(lambda: grow_older(running, 10))
                running.call(running.listener._registry.sweep)
            assert running.call(lambda: headers(running)) == [9]
            running.call(lambda: grow_older(running, 10))
            assert is_over(connection)
        assert "in time" in str(logged.take("proxy_header_refused")["why"])

    @pytest.mark.parametrize("header", [v1("192.0.2.9"), v2("192.0.2.9")], ids=["v1", "v2"])
    def test_from_elsewhere_none_is_looked_for(self, header: bytes, served: Live) -> None:
        """It is no TLS, and no HTTP."""
        with contextlib.closing(served.connect("127.0.0.8", plain=True)) as raw:
            assert split(exchange(raw, [header]))[0].status == 400
        served.wait_for(lambda: peers(served) == ["127.0.0.8"])


class TestLimits:
    def test_each_client_has_its_own(self, served: Live) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(5):  # the balancer itself has any number, before a header and after one that names nobody
                stack.enter_context(begin(served))
                stack.enter_context(begin(served, b"PROXY UNKNOWN\r\n"))
            held = [stack.enter_context(begin(served, v1("192.0.2.9"))) for _ in range(3)]
            served.wait_for(lambda: sum(served.listener._sources._connections.values()) == 3)
            assert is_over(stack.enter_context(begin(served, v1("192.0.2.9"))))
            assert served.site.counters.events.count("accept_rejected") == 1
            ask(served, begin(served, v1("192.0.2.10")))
            held.pop().close()
            served.wait_for(lambda: served.listener._sources._connections == {"192.0.2.9": 2})
            ask(served, begin(served, v1("192.0.2.9")))
        served.wait_for(lambda: not served.listener._sources._connections)

    def test_of_ipv6_a_network_is_one_client(self, served: Live) -> None:
        with contextlib.ExitStack() as stack:
            for number in range(3):
                stack.enter_context(begin(served, v2(f"2001:db8::{number}")))
            served.wait_for(lambda: list(served.listener._sources._connections.values()) == [3])
            assert is_over(stack.enter_context(begin(served, v2("2001:db8::9"))))


@dataclass
class OneValidation:
    """The validation of one name, if it runs."""

    own: ssl.SSLContext
    running: bool = True
    asked: list[str] = field(default_factory=list)

    def context(self, name: str) -> ssl.SSLContext | None:
        self.asked.append(name)
        return self.own if name == "localhost" else None


@pytest.fixture
def validation(tmp_path: Path) -> OneValidation:
    (tmp_path / "validation").mkdir()
    certificate, key, _ = make_pair(tmp_path / "validation")
    context = server_context(certificate, key)
    context.set_alpn_protocols(["acme-tls/1"])
    return OneValidation(context)


@pytest.fixture
def validated(tmp_path: Path, validation: OneValidation) -> Iterator[Live]:
    with live(dict, tmp_path, Limits(max_per_source=None, handshake_timeout=1), None, validation) as running:
        yield running


def certificate_for(running: Live, protocols: list[str], size: int = 100_000, name: str = "localhost") -> bytes:
    """Return the certificate that such a client gets, whose ClientHello is sent in pieces of this size."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(protocols)
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, sent, server_hostname=name)
    with contextlib.closing(running.connect(plain=True)) as raw:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                data = sent.read()
                for at in range(0, len(data), size):
                    raw.sendall(data[at : at + size])
                    running.call(lambda: None)  # a turn of its loop
                received.write(raw.recv(65536))
            else:
                break
        raw.sendall(sent.read())
        if tls.selected_alpn_protocol() == "acme-tls/1":
            assert is_over_within_tls(tls, received, raw)
        certificate = tls.getpeercert(binary_form=True)
        assert certificate is not None
        return certificate


def is_over_within_tls(tls: ssl.SSLObject, received: ssl.MemoryBIO, raw: socket.socket) -> bool:
    """Return whether the server says that this was all, without a word."""
    while True:
        try:
            return tls.read(1) == b""
        except ssl.SSLWantReadError:
            received.write(raw.recv(65536))
        except ssl.SSLZeroReturnError:
            return True


class TestValidations:
    def test_who_gets_which_certificate(self, validated: Live, validation: OneValidation) -> None:
        """Only a client that offers nothing else gets the validation's, and only while it runs."""
        special = certificate_for(validated, ["acme-tls/1"])
        own = certificate_for(validated, ["http/1.1"])
        assert special != own
        assert certificate_for(validated, ["acme-tls/1"], name="LOCALHOST") == special
        for protocols in (["acme-tls/1", "http/1.1"], ["http/1.1", "acme-tls/1"]):
            assert certificate_for(validated, protocols) == own
        assert certificate_for(validated, ["acme-tls/1"], name="other.example") == own
        assert validation.asked == ["localhost", "localhost", "other.example"]
        validation.running = False
        assert certificate_for(validated, ["acme-tls/1"]) == own
        assert len(validation.asked) == 3
        validated.wait_for(lambda: validated.listener.connections == 0)
        assert validated.outcomes == []

    @pytest.mark.parametrize("size", [1, 7, 100])
    def test_in_pieces(self, size: int, validated: Live, validation: OneValidation) -> None:
        assert certificate_for(validated, ["acme-tls/1"], size) != certificate_for(validated, ["http/1.1"], size)
        assert validation.asked == ["localhost"]

    def test_an_ordinary_client_meanwhile(self, validated: Live) -> None:
        with contextlib.closing(validated.connect_tls()) as connection:
            connection.sendall(POST)
            assert connection.recv(100).startswith(b"HTTP/1.1 404 ")

    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param(b"\x16", id="one byte"),
            pytest.param(hello(protocols=["acme-tls/1"])[:100], id="half of it"),
        ],
    )
    @pytest.mark.parametrize("end", [None, socket.socket.close, reset], ids=["late", "closed", "reset"])
    def test_one_that_is_not_complete(
        self, raw: bytes, end: Callable[[socket.socket], object] | None, validated: Live, validation: OneValidation
    ) -> None:
        with contextlib.closing(validated.connect(plain=True)) as connection:
            connection.sendall(raw)
            validated.wait_for(lambda: any(not one.silent for one in validated.listener._registry.clients))
            if end is None:
                assert is_over(connection)
            else:
                end(connection)
            validated.wait_for(lambda: "connection_closed" in validated.site.counters.events)
        assert validation.asked == []

    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param(b"\x16\x03\x01\xff\xff" + b"\x01" * 5000, id="longer than is looked at"),
            pytest.param(b"\x16\x03\x01\x00\x05hello", id="garbage"),
            pytest.param(b"\x16\x03\x01\x00\x00", id="empty"),
        ],
    )
    def test_one_that_is_none(self, raw: bytes, validated: Live) -> None:
        with contextlib.closing(validated.connect(plain=True)) as connection:
            connection.sendall(raw)
            validated.wait_for(lambda: "handshake_failed" in validated.site.counters.events)

    def test_the_end_of_it_takes_no_turns(self, validated: Live, monkeypatch: pytest.MonkeyPatch) -> None:
        """A connection that has ended within its ClientHello stays readable: it is looked at once more, not again."""
        looks: list[int] = []
        receive = first_bytes._receive
        monkeypatch.setattr(first_bytes, "_receive", lambda *given: looks.append(1) or receive(*given))
        with contextlib.closing(validated.connect(plain=True)) as connection:
            connection.sendall(hello(protocols=["acme-tls/1"])[:100])
            validated.wait_for(lambda: len(looks) >= 1)
            connection.shutdown(socket.SHUT_WR)
            validated.wait_for(lambda: "connection_closed" in validated.site.counters.events)
        assert len(looks) <= 3


def test_an_ordinary_connection_costs_one_look(
    validation: OneValidation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one byte: no validation runs, and it is from no balancer."""
    looks: list[int] = []
    receive = first_bytes._receive

    def watch(sock: socket.socket, size: int, flags: int = 0) -> bytes | None:
        looks.append(size)
        return receive(sock, size, flags)

    monkeypatch.setattr(first_bytes, "_receive", watch)
    validation.running = False
    with live(dict, tmp_path, None, BALANCERS, validation) as running:
        for _ in range(5):
            with contextlib.closing(running.connect()) as connection:
                connection.sendall(POST)
                assert connection.recv(100)
    assert looks == [1] * 5
