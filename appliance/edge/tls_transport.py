"""A transport for TLS on the descriptor of a socket, in the place of uvloop's, which costs 48 KB a connection.

What it reads goes through tls_session.py, which keeps nothing but an incomplete record; what it writes is encrypted at
once, and kept only as far as the kernel does not take it. The protocol above is told what asyncio says that it is told.

Its states, and what each event does in each of them, are the table of tls_states.py.

How a connection ends. Our end is a close_notify (RFC 8446, 6.1), and once it and all before it are with the kernel, a
FIN. Then what the client still sends is read on, for a closed socket with unread bytes resets the connection, and the
client's system may throw the response away (RFC 9112, 9.6). In CLOSING that needs no TLS: the client's own close_notify
counts as little as any other byte, and its FIN is waited for. After write_eof() the protocol is the one that reads on,
so close() waits for nothing but what is unsent. How long either lasts is for the protocol to say, with abort(): a
transport has no timers.

The client's end is its close_notify or its FIN, whichever comes first. A FIN alone might be forged, but cannot make a
short request of a longer one, which says how long it is (RFC 9112, 9.8). After it the client may still be reading, so
what was asked is answered.

A reset that comes with the last bytes would go unnoticed: on an error libuv calls back once more and then watches the
descriptor no longer, and that one read returns the bytes. If they are answered, sending tells; otherwise the protocol
calls notice_reset() from time to time, a system call only then.

Backpressure. Reading: pause_reading() costs nothing until the client sends more, which most do not. One turn reads
READ_SIZE bytes, and decrypts what they complete; of records that carry nothing overhead.py says how many there may be.
Writing: above `high` bytes that the kernel has not taken the protocol is told to pause.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, cast

from appliance.edge.overhead import ALLOWANCE, RATIO, READ_SIZE
from appliance.edge.tls_session import Pipes, TLSSession
from appliance.edge.tls_states import CLOSED, CLOSING, ENDED, OPEN, SHAKING

DISCARDED_BYTES: Final = 8 * 1024 * 1024
"""How much is read on after the end."""
_HIGH: Final = 64 * 1024


class TLSProtocol(asyncio.Protocol):
    """What a TLSTransport is for."""

    __slots__ = ()

    def overhead_exceeded(self) -> None:
        """End the connection: its records carry almost nothing."""


class TLSTransport(asyncio.Transport):
    """The server's end of a TLS connection."""

    __slots__ = (
        "_blocked",
        "_client_ended",
        "_context",
        "_descriptor",
        "_discarded",
        "_high",
        "_loop",
        "_low",
        "_on_shaken",
        "_overhead",
        "_paused",
        "_protocol",
        "_reading",
        "_sent_fin",
        "_session",
        "_sock",
        "_state",
        "_unanswered",
        "_unsent",
        "_waits_for_end",
        "_writing",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        context: ssl.SSLContext,
        pipes: Pipes,
        protocol: TLSProtocol,
        on_shaken: Callable[[bool], None],
    ) -> None:
        """Take a socket, which must not block, and is closed at the end. `begin` begins the handshake.

        `on_shaken` is told once whether the handshake has succeeded; if it has, the protocol is told in the same turn.
        """
        self._loop = loop
        self._sock = sock
        self._descriptor = sock.fileno()
        self._context = context
        self._session = TLSSession(context, pipes)
        self._protocol = protocol
        self._on_shaken: Callable[[bool], None] | None = on_shaken
        self._state = SHAKING
        self._unanswered = False  # nothing was sent since the last read
        self._unsent = bytearray()  # encrypted
        self._high, self._low = _HIGH, _HIGH // 4
        self._blocked = False  # the protocol was told to pause writing
        self._paused = False  # the protocol wants nothing more to read
        self._reading = self._writing = False  # the loop watches the descriptor for us
        self._client_ended = False
        self._sent_fin = False
        self._waits_for_end = False
        self._discarded = 0
        self._overhead = 0  # bytes of TLS beyond RATIO times their plaintext

    def begin(self) -> None:
        """Begin the handshake, with what has been received already, and watch the descriptor in the place of others."""
        self._watch()
        self._on_readable()

    # Reading.

    def _watch(self) -> None:
        if not self._reading:
            self._reading = True
            self._loop.add_reader(self._descriptor, self._on_readable)

    def _unwatch(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._descriptor)

    def _on_readable(self) -> None:
        if self._paused and self._state is not CLOSING:
            self._unwatch()
            return
        try:
            raw = self._sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        try:
            if self._state is CLOSING:
                self._discard(raw)
            elif raw:
                self._receive(raw)
            else:
                self._on_client_end()
        except Exception as error:  # a bug of the protocol's: the loop logs it
            self._lose(error)
            raise

    def _receive(self, raw: bytes) -> None:
        session = self._session
        self._unanswered = True
        try:
            data = session.receive(raw)
        except ssl.SSLError as error:
            self._fail(error)
            return
        if self._state is SHAKING:
            self._go_on_shaking()
        else:
            overhead = self._overhead + len(raw) - RATIO * len(data)
            self._overhead = overhead if overhead > 0 else 0  # max() takes 0.1 us
            if overhead > ALLOWANCE:
                self._protocol.overhead_exceeded()
                return
            if session.output:
                self._send_output()
        if data and (self._state is OPEN or self._state is ENDED):
            self._protocol.data_received(data)
        if session.ended:
            self._on_client_end()

    def _go_on_shaking(self) -> None:
        session = self._session
        if not session.established:
            self._send_output()
            self.notice_reset()
            return
        # The tickets: they go with the first response if that is ready within this turn.
        self._unsent += session.output
        session.output = b""
        self._loop.call_soon(self._send_tickets)
        self._state = OPEN
        on_shaken, self._on_shaken = self._on_shaken, None
        cast(Callable[[bool], None], on_shaken)(True)
        self._protocol.connection_made(self)

    def notice_reset(self) -> None:
        """Find out whether the client has reset the connection, if nothing else would have told."""
        if self._unanswered and self._state is not CLOSED:
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                self._lose(OSError(code, os.strerror(code)))

    def _discard(self, raw: bytes) -> None:
        self._discarded += len(raw)
        if not raw or self._discarded > DISCARDED_BYTES:
            self._lose(None)

    def _on_client_end(self) -> None:
        """Note that the client sends nothing more."""
        if self._client_ended or self._state is CLOSED:
            return
        self._client_ended = True
        self._unwatch()
        if self._state is SHAKING:
            self._lose(None)
        elif self._state is CLOSING:
            self._close_if_over()
        elif not self._protocol.eof_received() or self._state is ENDED:
            self.close()

    def pause_reading(self) -> None:
        """Read no more until `resume_reading`."""
        self._paused = True

    def resume_reading(self) -> None:
        """Read on."""
        self._paused = False
        if not self._client_ended and (self._state is OPEN or self._state is ENDED):
            self._watch()

    # Writing.

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Send this to the client, or keep what the kernel does not take."""
        if self._state is not OPEN or not data:
            return
        try:
            output = self._session.encrypt(cast(bytes, data))
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._send(output)
        if len(self._unsent) > self._high and not self._blocked:
            self._blocked = True
            self._protocol.pause_writing()

    def _send(self, output: bytes) -> None:
        if self._unsent:
            self._unsent += output
            if not self._writing:
                self._send_unsent()
            return
        self._unanswered = False
        try:
            sent = self._sock.send(output)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._lose(error)
            return
        if sent < len(output):
            self._unsent += memoryview(output)[sent:]
            self._start_writing()

    def _send_unsent(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._lose(error)
            return
        del self._unsent[:sent]
        if self._unsent:
            self._start_writing()
        else:
            self._stop_writing()

    def _send_output(self) -> None:
        output, self._session.output = self._session.output, b""
        if output:
            self._send(output)

    def _send_tickets(self) -> None:
        if self._unsent and not self._writing:
            self._send_unsent()
            self._close_if_over()

    def _on_writable(self) -> None:
        self._send_unsent()
        if self._state is not CLOSED and self._blocked and len(self._unsent) <= self._low:
            self._blocked = False
            self._protocol.resume_writing()
        self._close_if_over()

    def _start_writing(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._descriptor, self._on_writable)

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._descriptor)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say above how many unsent bytes the protocol is to pause, and at how many it resumes."""
        self._high = _HIGH if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        """Return how many bytes the kernel has not taken yet."""
        return len(self._unsent)

    # The end.

    def can_write_eof(self) -> bool:
        """Return True: TLS has a half-closed connection, too."""
        return True

    def write_eof(self) -> None:
        """Say to the client that this was all, and read on; if it has said the same, close."""
        if self._state is OPEN:
            self._state = ENDED
            self._send(self._session.end())
            if self._client_ended:
                self.close()
            else:
                self._close_if_over()

    def close(self) -> None:
        """Send what is unsent, end the connection, and discard what still comes."""
        if self._state is SHAKING:
            self._lose(None)
            return
        if self._state is OPEN:
            self._waits_for_end = not self._client_ended
            self.write_eof()
        if self._state is ENDED:
            self._state = CLOSING
            self._unwatch()
            self._close_if_over()

    def _close_if_over(self) -> None:
        """Go on with the end as far as what is unsent allows."""
        if self._unsent or not (self._state is ENDED or self._state is CLOSING):
            return
        if self._state is CLOSING and (self._client_ended or not self._waits_for_end):
            self._lose(None)
            return
        if not self._sent_fin:
            self._sent_fin = True
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError as error:  # the client has reset it
                self._lose(error)
                return
        if self._state is CLOSING:
            self._watch()

    def abort(self) -> None:
        """End the connection at once; what is unsent is lost."""
        self._lose(None)

    def _fail(self, error: ssl.SSLError) -> None:
        """Tell the client by OpenSSL's alert what it did wrong, and end the connection."""
        if self._state is not ENDED:
            self._send_output()
        with suppress(OSError):
            # What is unread would make the kernel reset the connection, and the client not see the alert.
            self._sock.shutdown(socket.SHUT_WR)
            self._sock.recv(64 * 1024)
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        if self._state is CLOSED:
            return
        self._state = CLOSED
        self._unsent.clear()
        self._unwatch()
        self._stop_writing()
        self._loop.call_soon(self._release, error)

    def _release(self, error: Exception | None) -> None:
        """Close the descriptor and let go of all that this holds: it would be a cycle."""
        self._sock.close()
        protocol, on_shaken = self._protocol, self._on_shaken
        del self._session, self._protocol
        self._on_shaken = None
        if on_shaken is not None:
            on_shaken(False)
        else:
            protocol.connection_lost(error)

    def is_closing(self) -> bool:
        """Return whether `close` or `abort` was called, or the connection is lost."""
        return self._state is CLOSING or self._state is CLOSED

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the context, as `sslcontext`; there is nothing else."""
        return self._context if name == "sslcontext" else default
