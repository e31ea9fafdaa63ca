"""Accepting connections: how many, and from whom.

asyncio's own servers accept as long as they can, spin when there are no descriptors left, and begin TLS, at 50 KB a
connection, for clients that never send a byte. Here the first byte is awaited, and at capacity the connection that has
been idle longest is evicted. From accept() to HTTP:

    accept() -> PendingConnection, silent -- first_bytes.py --> in its handshake -- done --> Connection
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import resource
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final

from appliance.config.schema import Limits
from appliance.edge.connection import Connection
from appliance.edge.connections import GRACE, SWEEP_SECONDS, ConnectionRegistry
from appliance.edge.first_bytes import Balancers, Continuation, FirstBytes
from appliance.edge.memory import CrowdWatch, return_memory
from appliance.edge.overhead import READ_SIZE, ReceiveBuffer
from appliance.edge.pending_connection import HEADER, SILENT, PendingConnection
from appliance.edge.site import Site
from appliance.edge.sources import Sources, by_text, peer_and_source
from appliance.edge.tls_session import Pipes
from appliance.edge.tls_transport import TLSTransport
from appliance.edge.validation import ValidationConnection, Validations
from appliance.system.accept_queue import has_handshakes, receive_again

_BATCH: Final = 16  # accepts in one go; other events have their turn in between
_SPARE_DESCRIPTORS: Final = _BATCH + 8  # for what is being accepted or closed, a new snapshot, a log
_PAUSE: Final = 0.1
_LAST_HANDSHAKE: Final = 1.0  # for a round trip, and the 0.2 s for which a client's kernel may hold the last packet
_LAST_REQUEST: Final = 0.5  # for the next request of an idle connection: whoever asks all the time does so within it
_TURN: Final = 0.01
_LONG_TURN: Final = 0.05  # looking for handshakes takes 8 ms and more
_LAST_ACCEPTED: Final = 2048  # when stopping: twice the backlog, for more only come while it goes on
_NO_BALANCERS: Final = Balancers()
_NO_ROOM: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """Serves a site on listening sockets."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        context: ssl.SSLContext | None,
        site: Site,
        limits: Limits,
        loop: asyncio.AbstractEventLoop,
        balancers: Balancers = _NO_BALANCERS,
        validations: Validations | None = None,
    ) -> None:
        """`sockets` are bound and listening; `context` is None for plain HTTP."""
        self._sockets = list(sockets)
        self._site = site
        self._limits = limits
        self._loop = loop
        self._registry = ConnectionRegistry(site, limits, loop.call_later, loop.call_soon, self._release)
        self._capacity = min(limits.max_connections, _descriptors_left())
        self._balancers = balancers
        self._sources = Sources()
        self._first_bytes = FirstBytes(
            context, validations, site.counters, loop, identify=self._identify, proceed=self._continue
        )
        self._connecting: set[asyncio.Task[Any]] = set()
        self._pipes = Pipes.new()
        self._crowd = CrowdWatch()
        self._accepting = False
        self._sweep_timer: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._registry.clients)

    @property
    def running(self) -> int:
        """How many clients are in the middle of a request or of their handshake, or may be about to begin one."""
        return sum(client.running for client in self._registry.clients)

    def start(self) -> None:
        """Begin to accept."""
        self._loop.set_exception_handler(self._on_loop_error)
        for listening in self._sockets:
            listening.setblocking(False)
            self._set_options(listening)
        self._accept_on()
        self._sweep_timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def _set_options(self, sock: socket.socket) -> None:
        """Set what a client inherits that connects from now on; those who wait to be accepted have connected before."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_SIZE)
        if sock.family != socket.AF_UNIX:
            # A peer that acknowledges nothing, or keeps its window shut, is gone after this, also where a write
            # deadline does not see it.
            milliseconds = int(self._limits.write_timeout * 1000)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def stop(self) -> None:
        """Accept no more but who has connected already; each connection ends with its running or next request.

        A socket on which a handshake of TCP is under way stays open until `drain` has seen its end.
        """
        self._registry.stopping = True
        self._registry.flush()
        self._accept_off()
        self._accept_last()

    async def drain(self, seconds: float) -> int:
        """Wait until the running requests are answered, at most `seconds`, then end all; return how many were cut.

        A connection that is idle ends after a moment: its next request may be on its way, and would be lost.
        """
        now = self._loop.time()
        while self._accept_last() and self._loop.time() < now + min(seconds, _LAST_HANDSHAKE):
            await asyncio.sleep(_LONG_TURN)
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()
        # By turns of the loop, not by the clock: after a standstill it has yet to read what came meanwhile.
        for _ in range(round(min(seconds, _LAST_REQUEST) / _TURN)):
            if self.connections and self._loop.time() < now + seconds + _LAST_REQUEST:
                await asyncio.sleep(_TURN)
        for client in tuple(self._registry.clients):
            client.finish()
        while self.running and self._loop.time() < now + seconds:
            await asyncio.sleep(_TURN)
        cut = self.running
        for client in tuple(self._registry.clients):
            client.drop()
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        if self._connecting:
            await asyncio.wait(tuple(self._connecting))
        await asyncio.sleep(0)  # the loop closes what was aborted at its next turn
        return cut

    # Accepting.

    def _accept_on(self) -> None:
        if self._accepting or self._registry.stopping:
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
        """Accept no more for a moment: a socket that cannot be accepted stays readable, and would spin the loop."""
        self._accept_off()
        self._loop.call_later(seconds, self._accept_on)

    def _accept(self, listening: socket.socket) -> None:
        # In a rush nobody may be evicted before there was time to look whether they have sent something.
        for _ in range(min(_BATCH, max(1, self._capacity // 4))):
            if self.connections >= self._capacity and not self._registry.has_evictable:
                self._pause(GRACE)
                return
            try:
                sock, address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._registry.evict_longest_idle()
                self._pause(_PAUSE)
                return
            if self.connections >= self._capacity:
                self._registry.evict_longest_idle()
            self._admit(sock, address)

    def _accept_last(self) -> bool:
        """Accept who has connected, and close each socket that has seen its last client; return whether any is open.

        The kernel resets who is left when a socket is closed, and no balancer tries elsewhere then.
        """
        for listening in tuple(self._sockets):
            is_last = not has_handshakes(listening)
            self._accept_waiting(listening)
            if is_last:
                listening.close()
                self._sockets.remove(listening)
        return bool(self._sockets)

    def _accept_waiting(self, listening: socket.socket) -> None:
        for _ in range(_LAST_ACCEPTED):
            if self.connections >= self._capacity:
                return
            try:
                self._admit(*listening.accept())
            except ConnectionAbortedError:
                continue
            except OSError:
                return

    def _admit(self, sock: socket.socket, address: Any) -> None:
        peer, source = peer_and_source(address)
        state, limit = SILENT, self._limits.max_per_source
        if self._balancers.include(peer):
            state, source = HEADER, None
        elif source is None or limit is None:
            source = None
        elif not self._sources.add(source, limit):
            self._site.counters.accept_rejected()
            sock.close()
            return
        self._site.counters.connection_opened()
        sock.setblocking(False)
        self._set_options(sock)
        receive_again(sock)
        pending = PendingConnection(
            sock,
            peer,
            source,
            state,
            timer=self._site.timer,
            handshake_timeout=self._limits.handshake_timeout,
            drop=self._drop_pending,
        )
        self._registry.clients.add(pending)
        self._crowd.connected(len(self._registry.clients))
        self._first_bytes.begin(pending)

    def _identify(self, pending: PendingConnection, address: str) -> bool:
        """Take the address of a balancer's client; return False, and close, if it has too many connections."""
        pending.peer, source = by_text(address)
        limit = self._balancers.max_per_source
        if limit is None:
            return True
        if not self._sources.add(source, limit):
            self._site.counters.accept_rejected()
            pending.drop()
            return False
        pending.source = source
        return True

    def _release(self, source: str | None) -> None:
        """Note that a client of `source` has gone."""
        self._site.counters.connection_closed()
        if source is not None:
            self._sources.remove(source)

    # From the first bytes to HTTP.

    def _continue(self, pending: PendingConnection, continuation: Continuation) -> None:
        sock, (context, refusal, is_validation) = pending.sock, continuation
        connection: Connection | ValidationConnection
        if is_validation:
            connection = ValidationConnection(self._registry, pending.source)
        else:
            connection = Connection(self._registry, pending.peer, pending.source, refusal, ReceiveBuffer(sock))
        if context is None:
            taking = self._loop.connect_accepted_socket(lambda: connection, sock)
            task = self._loop.create_task(taking)
            self._connecting.add(task)
            # Not by a coroutine of ours: one that is cancelled before its first step runs no `finally`.
            task.add_done_callback(functools.partial(self._on_connected, pending, connection))
            pending.end_handshake = task.cancel
        else:
            transport = TLSTransport(
                self._loop, sock, context, self._pipes, connection, functools.partial(self._on_shaken, pending)
            )
            pending.end_handshake = transport.abort
            transport.begin()

    def _on_connected(
        self, pending: PendingConnection, connection: Connection | ValidationConnection, task: asyncio.Task[Any]
    ) -> None:
        """Take what has become of a connection without TLS."""
        self._connecting.discard(task)
        error = None if task.cancelled() else task.exception()
        succeeded = error is None and not task.cancelled()
        if not succeeded:
            pending.sock.close()
            self._registry.clients.discard(connection)  # uvloop does not tell it that it is lost
        self._on_shaken(pending, succeeded)
        if error is not None and not isinstance(error, OSError):  # a bug: the loop logs it
            raise error

    def _on_shaken(self, pending: PendingConnection, succeeded: bool) -> None:
        """Forget a pending connection: it is a client's connection now, or has failed."""
        self._registry.clients.discard(pending)
        pending.end_handshake = None
        if not succeeded:
            self._site.counters.handshake_failed()
            self._release(pending.source)

    def _drop_pending(self, pending: PendingConnection) -> None:
        if pending not in self._registry.clients:
            return
        self._registry.clients.discard(pending)
        if pending.end_handshake is not None:
            pending.end_handshake()
            return
        self._first_bytes.end(pending)
        pending.sock.close()
        self._release(pending.source)

    # Time and errors.

    def _sweep(self) -> None:
        self._sweep_timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        self._registry.sweep()
        if self._crowd.swept(self.connections):
            return_memory()

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Count what clients do to their connections; log what is a bug of our own."""
        if isinstance(context.get("exception"), OSError) and ("transport" in context or "protocol" in context):
            self._site.counters.handshake_failed()
        else:
            loop.default_exception_handler(context)


def _descriptors_left() -> int:
    """Return how many connections the limit of descriptors leaves room for."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, soft - len(os.listdir("/proc/self/fd")) - _SPARE_DESCRIPTORS)
