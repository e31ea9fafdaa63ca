"""The clients of the system tests, good and bad: on loopback, and bounded in number and in time."""

from __future__ import annotations

import contextlib
import re
import select
import selectors
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tests.factory import body_for, sign

PATIENCE = 30.0
PACE = 0.1  # seconds between two requests of the good client
BODY = body_for("ann@example.com")
HEAD = (
    b"POST /helpscout HTTP/1.1\r\nHost: localhost\r\nX-HelpScout-Signature: "
    + sign(BODY)
    + b"\r\nContent-Length: %d\r\n\r\n" % len(BODY)
)
REQUEST = HEAD + BODY
IP_BIND_ADDRESS_NO_PORT = 24  # ip(7)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class WrongAnswer(Exception):
    """What came back is not the card that was asked for."""


class TooSlow(AssertionError):
    """Something came later than it should: by a fault of the service, or because this machine did something else."""


def within(limit: float, seconds: float, what: str) -> None:
    """Raise TooSlow if something took longer than its limit."""
    if seconds > limit:
        raise TooSlow(f"{what} took {seconds:.3f} s, more than {limit:.3f}")


def client_context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Return a context that trusts whatever certificate is there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def connect(port: int, source: str = "127.0.0.1", receive_buffer: int = 0) -> socket.socket:
    """Return a TCP connection from a loopback address."""
    plain = socket.socket()
    try:
        plain.settimeout(PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source != "127.0.0.1":
            # Without the option a port is taken for all destinations, and those of one source soon run out.
            plain.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            plain.bind((source, 0))
        plain.connect(("127.0.0.1", port))
    except BaseException:
        plain.close()
        raise
    return plain


def secure(plain: socket.socket, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    """Shake hands on a connection."""
    try:
        return context.wrap_socket(plain, session=session)
    except BaseException:
        plain.close()
        raise


def read_card(connection: socket.socket) -> None:
    """Read one answer; it must be Ann's card. Raises WrongAnswer."""
    received = b""
    while not (ends := received.find(b"\r\n\r\n") + 4) > 4 or len(received) < ends + _length(received):
        more = connection.recv(65536)
        if not more:
            raise ConnectionResetError(f"closed after {len(received)} bytes")
        received += more
    if not received.startswith(b"HTTP/1.1 200 ") or b"Ann Lee" not in received:
        raise WrongAnswer(received[:100])


def _length(received: bytes) -> int:
    found = re.search(rb"\r\nContent-Length: (\d+)\r\n", received)
    return int(found[1]) if found else 0


class Visit(NamedTuple):
    """What a request on a connection of its own leaves behind."""

    session: ssl.SSLSession | None
    resumed: bool


def ask_once(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> Visit:
    """Ask for a card on a connection of its own."""
    with secure(connect(port), context, session) as connection:
        connection.sendall(REQUEST)
        read_card(connection)
        # The ticket of TLS 1.3 comes after the handshake, so the session is fetched last.
        return Visit(connection.session, bool(connection.session_reused))


class Failure(NamedTuple):
    """A request that was not answered with the card."""

    began: float
    ended: float
    why: str
    dropped: bool
    """Whether there was no answer, rather than a wrong one."""

    @property
    def may_be_slowness(self) -> bool:
        """Whether it may be no more than the end of a deadline."""
        return self.dropped and self.ended - self.began >= SHORTEST_DEADLINE


SHORTEST_DEADLINE = 1.0
"""Seconds: no test gives the service a shorter one, after which it rightly drops a client that says nothing."""


class Load:
    """Threads that ask, each request on a new connection, until the block ends; the good client is one with a pace."""

    def __init__(
        self,
        port: int,
        sides: int = 2,
        pace: float = 0.0,
        *,
        resumes: bool = False,
        version: ssl.TLSVersion | None = None,
    ) -> None:
        """Ask from so many sides, each at most once in `pace` seconds; `resumes` offers the ticket it got before."""
        self._port = port
        self._version = version
        self._pace = pace
        self._resumes = resumes
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, name="load") for _ in range(sides)]
        self.seconds: list[float] = []
        self.failures: list[Failure] = []
        self.offered = self.resumed = 0

    @property
    def p99(self) -> float:
        """Return how many seconds 99 of 100 requests took at most, with their handshakes."""
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]

    def all_answered(self) -> None:
        """Assert that every request was answered. Raise TooSlow if some were only dropped at a deadline."""
        assert [failure for failure in self.failures if not failure.may_be_slowness] == []
        if self.failures:
            raise TooSlow(f"{self.failures}: the service, or these clients, were held up")

    def _run(self) -> None:
        context, session = client_context(self._version), None
        began = time.monotonic()
        while not self._over.wait(max(0.0, began - time.monotonic())):
            began = time.monotonic()
            try:
                visit = ask_once(self._port, context, session)
            except (OSError, WrongAnswer) as error:
                self.failures.append(Failure(began, time.monotonic(), repr(error), isinstance(error, OSError)))
            else:
                self.seconds.append(time.monotonic() - began)
                self.offered += session is not None
                self.resumed += visit.resumed
                session = visit.session if self._resumes else None
            began += self._pace

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def good_client(port: int) -> Load:
    """Return a client that asks once each 100 ms, always on a new connection: the hardest way to be served."""
    return Load(port, sides=1, pace=PACE)


@dataclass(eq=False, slots=True)
class Attacker:
    """A connection of a crowd."""

    sock: socket.socket
    opened: float
    next_byte: float
    received: bytes = b""
    answered: float | None = None
    closed: float | None = None

    @property
    def lived(self) -> float:
        """Return how many seconds it was open."""
        assert self.closed is not None
        return self.closed - self.opened


class Crowd:
    """Connections that say nothing, or one byte each second, and are watched by a thread until the block ends."""

    def __init__(self, byte: bytes = b"") -> None:
        """`byte` is what each says each second; by default nothing."""
        self._byte = byte
        self._arrivals: deque[Attacker] = deque()
        self._selector = selectors.DefaultSelector()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="crowd")
        self.all: list[Attacker] = []

    @property
    def gone(self) -> bool:
        """Whether every one of them was closed by the server."""
        return all(attacker.closed for attacker in self.all)

    def join(self, connection: socket.socket, opened: float) -> None:
        """Let one more connection, which was opened then, be part of it."""
        connection.setblocking(False)
        attacker = Attacker(connection, opened, time.monotonic() + 1.0)
        self.all.append(attacker)
        self._arrivals.append(attacker)

    def _watch(self) -> None:
        while not self._over.is_set():
            while self._arrivals:
                attacker = self._arrivals.popleft()
                self._selector.register(attacker.sock, selectors.EVENT_READ, attacker)
                self._read(attacker)  # TLS may have it already
            for key, _ in self._selector.select(0.02):
                self._read(key.data)
            if self._byte:
                self._drip()

    def _drip(self) -> None:
        now = time.monotonic()
        for key in list(self._selector.get_map().values()):
            if now >= key.data.next_byte:
                key.data.next_byte += 1.0
                try:
                    key.data.sock.send(self._byte)
                except OSError:
                    self._close(key.data)

    def _read(self, attacker: Attacker) -> None:
        try:
            received = attacker.sock.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            received = b""
        if not received:
            self._close(attacker)
        elif attacker.answered is None:
            attacker.answered = time.monotonic()
        attacker.received += received

    def _close(self, attacker: Attacker) -> None:
        attacker.closed = time.monotonic()
        self._selector.unregister(attacker.sock)
        attacker.sock.close()

    def __enter__(self) -> Crowd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for attacker in self.all:
            attacker.sock.close()
        self._selector.close()


def source(number: int, each: int = 100) -> str:
    """Return the loopback address of the client with this number: `each` of them to an address, from 127.0.0.2 on."""
    return f"127.0.0.{2 + number // each}"


def stuff(connections: list[ssl.SSLSocket]) -> int:
    """Send requests, and read no answer, until none of the connections takes any more; give how many were sent."""
    sent, open_ones = 0, list(connections)
    requests = REQUEST * 8
    for connection in connections:
        connection.setblocking(False)
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 0.5:
        _, writable, _ = select.select([], open_ones, [], 0.1)
        for connection in writable:
            try:
                connection.send(requests)
            except ssl.SSLWantWriteError:
                continue
            except OSError:
                open_ones.remove(connection)
                continue
            sent += 8
            quiet_since = time.monotonic()
    return sent


# What peers and networks do to a connection. Each ends with the connection closed, by whichever side.


def reset_in_the_body(port: int, context: ssl.SSLContext) -> None:
    """Send half of a request, then RST."""
    with secure(connect(port), context) as connection:
        connection.sendall(HEAD + BODY[: len(BODY) // 2])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def reset_after_the_answer(port: int, context: ssl.SSLContext) -> None:
    """Read the answer, then RST."""
    with secure(connect(port), context) as connection:
        connection.sendall(REQUEST)
        read_card(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def reset_in_the_handshake(port: int, context: ssl.SSLContext) -> None:
    """Send the beginning of a ClientHello, then RST."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    with connect(port) as plain:
        plain.sendall(outgoing.read()[:100])
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def half_close(port: int, context: ssl.SSLContext) -> None:
    """Say that this was all in the middle of a body; the other side may answer or not, but ends it."""
    with secure(connect(port), context) as connection:
        connection.sendall(HEAD + BODY[:-1])
        socket.socket.shutdown(connection, socket.SHUT_WR)
        with contextlib.suppress(ssl.SSLError, ConnectionResetError):
            while connection.recv(65536):
                pass


def byte_by_byte(port: int, context: ssl.SSLContext) -> None:
    """Send each byte in a TLS record and a segment of its own; it is a good request all the same."""
    with secure(connect(port), context) as connection:
        for number in range(len(REQUEST)):
            connection.sendall(REQUEST[number : number + 1])
        read_card(connection)


FAULTS: dict[str, Callable[[int, ssl.SSLContext], None]] = {
    "RST in the handshake": reset_in_the_handshake,
    "RST in the body": reset_in_the_body,
    "RST after the answer": reset_after_the_answer,
    "half-closed in the body": half_close,
    "every byte on its own": byte_by_byte,
}


def keep_busy(port: int, connections: int, seconds: float) -> int:
    """Ask on kept connections, on each again as soon as it was answered; give how many answers there were."""
    answers, context = 0, client_context()
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(connections):
            connection = stack.enter_context(secure(connect(port), context))
            connection.sendall(REQUEST)
            selector.register(connection, selectors.EVENT_READ, connection)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for key, _ in selector.select(1.0):
                read_card(key.data)
                answers += 1
                key.data.sendall(REQUEST)
    return answers
