"""The stage before TLS: every look at the first bytes of a connection, to learn how it is to be continued.

    accept() --+-- from elsewhere ------------> SILENT -- a byte -----------------------------> (continued)
               |                                  ^  |                                               ^
               '-- from a balancer --> HEADER ----'  '-- of TLS, a validation runs --> HELLO --------'

    state    waits for                       looks                may end here, besides by handshake_timeout
    HEADER   a PROXY header, complete        peeks, then takes    malformed, too long, cut off: closed, counted and
             (proxy_header.py)               no byte beyond it    logged; its client has too many connections: rejected
    SILENT   the first byte                  peeks at one         the client ends it: closed
    HELLO    the whole ClientHello           peeks at 4 KiB       never: a ClientHello that is cut off, too long or
             (client_hello.py)                                    malformed is continued, and OpenSSL judges it

How it is continued: as plain HTTP if the listener has no TLS; with a refusal in plain HTTP if the first byte is not
TLS's; as a validation if its ClientHello is that of one (validation.py); else as HTTPS. What was peeked at is still in
the socket then. handshake_timeout runs from accept() to the end of the handshake, whatever the states between.

Memory: what is taken of a header is at most 2 KiB; what is peeked at stays in the kernel. Turns: each wake reads once,
and a client that sends byte after byte is woken for each in HEADER only. In HELLO the socket becomes readable when the
record is complete (SO_RCVLOWAT). A wake without new bytes means that they have ended, which ends that wait, or that the
kernel has little room left, as after bytes that came one by one: the next look is after a pause, or the loop would
spin. An ordinary connection costs one look of one byte.

A connection whose client is not known yet counts for max_connections alone: all of a balancer's come from one address.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, NamedTuple

from appliance.edge.client_hello import HANDSHAKE, record_length
from appliance.edge.pending_connection import HEADER, HELLO, SILENT, PendingConnection
from appliance.edge.proxy_header import MAX_HEADER, ProxyHeaderError, parse
from appliance.edge.refusals import Refusal
from appliance.edge.site import Counters
from appliance.edge.validation import Validations, validated_name
from appliance.observe.logs import log

MAX_HELLO: Final = 4 * 1024
"""Bytes of a ClientHello that are looked at. One with post-quantum key shares has 1.8 KiB, a validation's 0.3."""
_LOG_EVERY: Final = 60.0
_PAUSE: Final = 0.02


class Continuation(NamedTuple):
    """How a connection is to be continued."""

    context: ssl.SSLContext | None
    """Begins TLS; None: there is none."""
    refusal: Refusal | None = None
    """What the client gets, whatever it asks."""
    validation: bool = False
    """Whether it ends with its handshake."""


@dataclass(frozen=True, slots=True)
class Balancers:
    """The networks from which every connection begins with a PROXY header; from no other is one looked for."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    max_per_source: int | None = None
    """How many connections one client may have through them; None: any number."""

    def include(self, peer: str) -> bool:
        """Return whether a connection from this address ("" for a Unix socket) is a balancer's."""
        return bool(self.networks and peer) and any(ip_address(peer) in network for network in self.networks)


class FirstBytes:
    """The stage, for the connections of one listener."""

    def __init__(
        self,
        context: ssl.SSLContext | None,
        validations: Validations | None,
        counters: Counters,
        loop: asyncio.AbstractEventLoop,
        *,
        identify: Callable[[PendingConnection, str], bool],
        proceed: Callable[[PendingConnection, Continuation], None],
    ) -> None:
        """`identify` takes the address of a client, and returns whether it may have one more connection.

        `proceed` continues a connection, of which this reads no more.
        """
        self._ordinary = Continuation(context)
        self._no_tls = Continuation(None, Refusal.NOT_TLS)
        self._validations = validations if context is not None else None
        self._counters = counters
        self._loop = loop
        self._identify = identify
        self._proceed = proceed
        self._bad_headers = 0  # since the last line in the log
        self._quiet_until = 0.0

    def begin(self, pending: PendingConnection) -> None:
        """Wait for the first bytes of a connection; its state says for which."""
        ready = self._read_header if pending.state is HEADER else self._look
        self._loop.add_reader(pending.sock.fileno(), ready, pending)

    def end(self, pending: PendingConnection) -> None:
        """Wait no more: the connection is closed for another reason, such as its deadline."""
        self._loop.remove_reader(pending.sock.fileno())
        if pending.pause is not None:
            pending.pause.cancel()
        if pending.header and pending.late:
            self._note_bad_header(pending, "it did not arrive in time")

    # HEADER.

    def _read_header(self, pending: PendingConnection) -> None:
        data = _receive(pending.sock, MAX_HEADER, socket.MSG_PEEK)
        if data is None:
            return
        if not data:
            if pending.header:
                self._refuse_header(pending, "it is cut off")
            else:
                pending.drop()
            return
        known = len(pending.header)
        try:
            found = parse(pending.header + data)
        except ProxyHeaderError as error:
            self._refuse_header(pending, str(error))
            return
        # All that was received so far belongs to a header that is not complete.
        size = found.length - known if found is not None else len(data)
        taken = _receive(pending.sock, size) or b""
        pending.header += taken
        if found is None or len(taken) < size:  # reset since the look: the next one sees it
            return
        pending.header, pending.state = b"", SILENT
        if found.address is not None and not self._identify(pending, found.address):
            return
        self._loop.add_reader(pending.sock.fileno(), self._look, pending)  # in the place of this one
        self._look(pending)

    def _refuse_header(self, pending: PendingConnection, why: str) -> None:
        pending.header = b""
        self._note_bad_header(pending, why)
        pending.drop()

    def _note_bad_header(self, pending: PendingConnection, why: str) -> None:
        """Count it, and log it at most once a minute: a balancer that is set up wrongly fails with every client."""
        self._counters.header_refused()
        self._bad_headers += 1
        now = self._loop.time()
        if now >= self._quiet_until:
            log.warning("proxy_header_refused", peer=pending.peer, why=why, count=self._bad_headers)
            self._bad_headers, self._quiet_until = 0, now + _LOG_EVERY

    # SILENT and HELLO.

    def _look(self, pending: PendingConnection) -> None:
        validations = self._validations
        looking = validations is not None and validations.running
        data = _receive(pending.sock, MAX_HELLO if looking else 1, socket.MSG_PEEK)
        if data is None:
            return
        if not data and pending.state is SILENT:
            pending.drop()
            return
        if self._ordinary.context is None:
            continuation = self._ordinary
        elif data[:1] != _HANDSHAKE:  # b"" of a HELLO that is reset
            continuation = self._no_tls if data else self._ordinary
        elif validations is not None and looking:
            if self._wait_for_more(pending, data):
                return
            continuation = self._choose(validations, data)
        else:
            continuation = self._ordinary
        if pending.state is HELLO:
            pending.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        if continuation.context is None:
            self._loop.remove_reader(pending.sock.fileno())  # TLS puts its own in the place of this one
        self._proceed(pending, continuation)

    def _wait_for_more(self, pending: PendingConnection, data: bytes) -> bool:
        """Return whether the rest of this ClientHello is to be waited for, and wait for it."""
        length = record_length(data)
        if len(data) >= length or length > MAX_HELLO:
            return False
        if len(data) > pending.seen:
            pending.state, pending.seen = HELLO, len(data)
            pending.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, length)
        elif _has_ended(pending.sock):
            return False
        else:
            self._loop.remove_reader(pending.sock.fileno())
            pending.pause = self._loop.call_later(_PAUSE, self.begin, pending)
        return True

    def _choose(self, validations: Validations, data: bytes) -> Continuation:
        name = validated_name(data[: record_length(data)])
        context = validations.context(name) if name is not None else None
        return self._ordinary if context is None else Continuation(context, validation=True)


_HANDSHAKE: Final = bytes([HANDSHAKE])


def _has_ended(sock: socket.socket) -> bool:
    """Return whether nothing more will come than what is there."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))


def _receive(sock: socket.socket, size: int, flags: int = 0) -> bytes | None:
    """Return the next bytes; b"" if the connection has ended, None if there are none yet."""
    try:
        return sock.recv(size, flags)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""
