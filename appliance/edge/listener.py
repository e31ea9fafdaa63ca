"""Accepting connections: how many, from whom, and what their first byte says.

asyncio's own servers accept as long as they can, spin at the descriptor limit and begin TLS, at 50 KB a connection, for
clients that never say a word. Here the first byte is awaited, and a full house makes room.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import resource
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final

from appliance.edge.connection import LINGER_SECONDS, Connection
from appliance.edge.overhead import RECEIVE_BUFFER
from appliance.edge.refusals import Refusal
from appliance.edge.site import Limits, Site
from appliance.edge.state import GRACE, SWEEP_SECONDS, ServerState

_BATCH: Final = 16  # accepts in one go; other events have their turn in between
_SPARE_DESCRIPTORS: Final = _BATCH + 8  # for what is being accepted or closed, a new snapshot, a log
_TLS_HANDSHAKE: Final = 0x16  # RFC 8446, 5.1: the record type of a ClientHello
_PAUSE: Final = 0.1
_BEAT: Final = 0.05
_LATE: Final = 0.005
CROWD: Final = 64  # connections fewer than there were, from which on it pays to return memory
_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Arrival:
    """A client that was accepted and has not got as far as HTTP: silent yet, or in its TLS handshake."""

    __slots__ = ("_listener", "peer", "since", "sock", "source", "task")

    def __init__(self, listener: Listener, sock: socket.socket, peer: str, source: str | None, since: float) -> None:
        self._listener = listener
        self.sock = sock
        self.peer = peer
        self.source = source
        self.since = since
        self.task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> bool:
        """Whether it could be dropped without an answer being lost: always."""
        return True

    @property
    def silent(self) -> bool:
        """Whether it has not said a word yet."""
        return self.task is None

    def check_overhead(self) -> None:
        """Do nothing: a handshake is bounded by OpenSSL, which refuses what does not belong to it."""

    def expire(self, now: float) -> None:
        """End it if it takes too long."""
        if now - self.since >= self._listener.limits.handshake_timeout:
            self.drop()

    def drop(self) -> None:
        """End it at once."""
        self._listener.drop_arrival(self)


class Crowd:
    """When it pays to return memory: while a crowd leaves, and at the two sweeps after that.

    Once, when the first have gone, is not enough: what those after them leave behind stays with the process, and the
    next crowd touches other pages. Six crowds of 900 took 93 to 122 MB so, and 93 to 95 with this.
    """

    def __init__(self) -> None:
        self._peak = 0  # connections at most, since one was last seen to leave
        self._before = 0
        self._sweeps = 0  # at which memory is still to be returned

    def comes(self, connections: int) -> None:
        """Note how many there are now that there is one more."""
        self._peak = max(self._peak, connections)

    def leaves(self, connections: int) -> bool:
        """Note how many there are at a sweep; return whether memory is to be returned."""
        if self._peak - connections >= CROWD or (self._sweeps and connections < self._before):
            self._peak = connections
            self._sweeps = 3
        self._before = connections
        if not self._sweeps:
            return False
        self._sweeps -= 1
        return True


class Listener:
    """Serves a site on listening sockets."""

    def __init__(
        self, sockets: Sequence[socket.socket], context: ssl.SSLContext | None, site: Site, limits: Limits
    ) -> None:
        """`sockets` are bound and listening; `context` is None for plain HTTP."""
        self._sockets = list(sockets)
        self._context = context
        self._site = site
        self.limits: Final = limits
        self._by_source: dict[str, int] = {}
        self._accepting = False
        self._crowd = Crowd()
        self._capacity = limits.max_connections
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._state.clients)

    @property
    def state(self) -> ServerState:
        """What its connections share."""
        return self._state

    def start(self) -> None:
        """Begin to accept; a loop is running."""
        _raise_mmap_threshold()
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._on_loop_error)
        self._state = ServerState(self._site, self.limits, self._loop.call_later, self._loop.call_soon)
        self._state.release = self._release
        self._capacity = min(self.limits.max_connections, _descriptors_left())
        for listening in self._sockets:
            listening.setblocking(False)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)  # inherited, as those below
            if listening.family != socket.AF_UNIX:
                # Accepted sockets inherit both. A peer that acknowledges nothing, or keeps its window shut, is gone
                # after this, also where a write deadline does not see it.
                milliseconds = int(self.limits.write_timeout * 1000)
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._accept_on()
        self._sweep_timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        self._beat_timer = self._loop.call_later(_BEAT, self._beat, self._site.timer() + _BEAT)

    def stop(self) -> None:
        """Accept no more and close what is idle; running requests go on, and their connections end with them."""
        self._state.stopping = True
        self._state.flush()
        self._accept_off()
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()
        for client in tuple(self._state.clients):
            if isinstance(client, Connection):
                client.finish()

    async def drain(self, seconds: float) -> int:
        """Wait until the running requests are answered, at most `seconds`, then close all; give how many were cut."""
        end = self._loop.time() + seconds
        while self.running and self._loop.time() < end:
            await asyncio.sleep(0.01)
        cut = self.running
        tasks = [client.task for client in self._state.clients if isinstance(client, Arrival) and client.task]
        for client in tuple(self._state.clients):
            client.drop()
        self._sweep_timer.cancel()
        self._beat_timer.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)  # the loop closes what was aborted at its next turn
        return cut

    @property
    def running(self) -> int:
        """How many clients are in the middle of a request, or of their handshake."""
        return sum(
            client.running
            if isinstance(client, Connection)
            else isinstance(client, Arrival)
            and (client.task is not None or self._site.timer() - client.since < LINGER_SECONDS)
            for client in self._state.clients
        )

    # Accepting.

    def _accept_on(self) -> None:
        if self._accepting or self._state.stopping:
            return
        self._accepting = True
        for listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self._accept, listening)

    def _accept_off(self) -> None:
        if self._accepting:
            self._accepting = False
            for listening in self._sockets:
                self._loop.remove_reader(listening.fileno())

    def _pause(self, seconds: float) -> None:
        """Accept no more for a moment, for a socket that cannot be accepted stays readable and would spin the loop."""
        self._accept_off()
        self._loop.call_later(seconds, self._accept_on)

    def _accept(self, listening: socket.socket) -> None:
        # In a rush nobody may be dropped before there was time to look whether they have said something.
        for _ in range(min(_BATCH, max(1, self._capacity // 4))):
            if self.connections >= self._capacity and not self._state.anyone_to_drop:
                self._pause(GRACE)
                return
            try:
                sock, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._state.drop_longest_waiting()
                self._pause(_PAUSE)
                return
            if self.connections >= self._capacity:
                self._state.drop_longest_waiting()
            self._admit(sock, address)

    def _admit(self, sock: socket.socket, address: Any) -> None:
        peer, source = _names(address)
        limit = self.limits.max_per_source
        if source is not None and limit is not None:
            if self._by_source.get(source, 0) >= limit:
                self._site.counters.accept_rejected()
                sock.close()
                return
            self._by_source[source] = self._by_source.get(source, 0) + 1
        else:
            source = None
        self._site.counters.connection_opened()
        sock.setblocking(False)
        arrival = Arrival(self, sock, peer, source, self._site.timer())
        self._state.clients.add(arrival)
        self._crowd.comes(len(self._state.clients))
        self._loop.add_reader(sock.fileno(), self._first_byte, arrival)

    def _release(self, source: str | None) -> None:
        """Note that a client of `source` has gone."""
        self._site.counters.connection_closed()
        if source is not None:
            left = self._by_source[source] - 1
            if left:
                self._by_source[source] = left
            else:
                del self._by_source[source]

    # From the first byte to HTTP.

    def _first_byte(self, arrival: Arrival) -> None:
        try:
            first = arrival.sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        if not first:
            arrival.drop()
            return
        self._loop.remove_reader(arrival.sock.fileno())
        context, verdict = self._context, None
        if context is not None and first[0] != _TLS_HANDSHAKE:
            context, verdict = None, Refusal.NOT_TLS
        arrival.task = self._loop.create_task(self._connect(arrival, context, verdict))

    async def _connect(self, arrival: Arrival, context: ssl.SSLContext | None, verdict: Refusal | None) -> None:
        connection = Connection(self._state, arrival.peer, arrival.source, verdict, arrival.sock)
        timeouts = {
            "ssl_handshake_timeout": self.limits.handshake_timeout,
            "ssl_shutdown_timeout": self.limits.write_timeout,
        }
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection, arrival.sock, ssl=context, **(timeouts if context else {})
            )
        except (OSError, asyncio.CancelledError):  # ssl.SSLError and TimeoutError are OSErrors
            arrival.sock.close()
            if not connection.made:
                self._site.counters.handshake_failed()
                self._release(arrival.source)
        finally:
            self._state.clients.discard(arrival)
            arrival.task = None

    def drop_arrival(self, arrival: Arrival) -> None:
        """End an arrival at once."""
        if arrival not in self._state.clients:
            return
        self._state.clients.discard(arrival)
        if arrival.task is not None:
            arrival.task.cancel()
            return
        self._loop.remove_reader(arrival.sock.fileno())
        arrival.sock.close()
        self._release(arrival.source)

    # Time and errors.

    def _sweep(self) -> None:
        self._sweep_timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        self._state.sweep()
        if self._crowd.leaves(self.connections):
            _give_back_memory()

    def _beat(self, due: float) -> None:
        """Look for those who take more of the loop than they say, as soon as others have to wait."""
        now = self._site.timer()
        self._beat_timer = self._loop.call_later(_BEAT, self._beat, now + _BEAT)
        if now - due > _LATE:
            self._state.check_overhead()

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Count what clients do to their connections; log what is our own fault."""
        if isinstance(context.get("exception"), OSError) and ("transport" in context or "protocol" in context):
            self._site.counters.handshake_failed()
        else:
            loop.default_exception_handler(context)


def _raise_mmap_threshold() -> None:
    """Keep glibc from mapping and unmapping the 256 KiB that uvloop's TLS sets aside for each read.

    Freeing a mapped block raises the size from which blocks are mapped (mallopt(3), M_MMAP_THRESHOLD). Without this a
    request cost three more system calls and as many page faults: 15 us on top of 20.
    """
    bytes(1 << 20)


def _give_back_memory() -> None:
    """Return to the system what a crowd of connections has left behind: 256 KiB for each of them with TLS.

    Freed between blocks in use it stays with the process otherwise (malloc_trim(3)). musl has no such call, nor need.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _descriptors_left() -> int:
    """Give how many connections the descriptor limit leaves room for."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft - len(os.listdir("/proc/self/fd")) - _SPARE_DESCRIPTORS)


def _names(address: Any) -> tuple[str, str | None]:
    """Give an address for the log, and the source that it counts for; None for a Unix socket.

    Whoever has one IPv6 address has 2^64 of them: a source is a /64 (RFC 4291, 2.5.4).
    """
    if not isinstance(address, tuple):
        return "", None
    peer = str(address[0]).partition("%")[0]
    if ":" not in peer:
        return peer, peer
    packed = socket.inet_pton(socket.AF_INET6, peer)
    if packed[:12] == bytes(10) + b"\xff\xff":  # an IPv4 client of a dual-stack socket (RFC 4291, 2.5.5.2)
        peer = socket.inet_ntop(socket.AF_INET, packed[12:])
        return peer, peer
    return peer, packed[:8].hex()
