"""The TLS of one connection, without a socket: bytes of the network in, plaintext out, and the other way round.

Every session of a loop works through the same pair of pipes, OpenSSL's memory BIOs. Whatever calls a session fills the
pipe, lets OpenSSL take all of it, and takes all that OpenSSL answers; **between two calls both pipes are empty**. A
record of which only a part has arrived is kept by OpenSSL itself, which frees that buffer as soon as the record is
complete. So a connection costs what OpenSSL keeps of it, 14 KB; with pipes of its own, which never shrink, 18 KB, and
more after one large response.

                    shaking                        established                     ended
    receive(...)    goes on with the handshake;    decrypts                        discards
                    at its end decrypts the rest
    encrypt(...)    -                              one record for each 16 KiB      the same: only the client has ended
    end()           -                              a close_notify                  a close_notify
    a bad record    SSLError, and an alert is      SSLError, and an alert is       discarded
                    in `output`                    in `output`

`established` is set by the handshake's end, `ended` by the client's close_notify. OpenSSL is never told that the
connection below it has ended, so what a client means that ends it without a close_notify is decided by the transport,
and neither OP_IGNORE_UNEXPECTED_EOF nor the alert that OpenSSL 3 sends without it plays a part.

Reading never has to wait for writing, nor writing for reading: a pipe takes any number of bytes; a KeyUpdate that the
client asks for goes out with the next response; a renegotiation is refused (OP_NO_RENEGOTIATION).
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Final, NamedTuple

_MAX_PLAINTEXT: Final = 16 * 1024
"""What a record holds at most (RFC 8446, 5.1): one read takes the whole of it, so nothing decrypted stays behind."""


class Pipes(NamedTuple):
    """What OpenSSL reads and writes. The sessions of one thread share a pair."""

    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO

    @classmethod
    def new(cls) -> Pipes:
        """Return an empty pair."""
        return cls(ssl.MemoryBIO(), ssl.MemoryBIO())


class TLSSession:
    """The server's side of one TLS connection."""

    __slots__ = ("_incoming", "_outgoing", "_tls", "ended", "established", "output")

    def __init__(self, context: ssl.SSLContext, pipes: Pipes) -> None:
        """Wait for a ClientHello."""
        self._incoming, self._outgoing = pipes
        self._tls = context.wrap_bio(*pipes, server_side=True)
        self.established = False
        self.ended = False
        self.output = b""
        """What is to be sent, besides what `encrypt` and `end` return; whoever sends it clears it."""

    def receive(self, raw: bytes) -> bytes:
        """Take bytes from the client, and return the plaintext of all records that are complete now.

        Raises ssl.SSLError if they are not TLS, or break its rules; the connection must end then.
        """
        incoming, outgoing = self._incoming, self._outgoing
        data = b""
        if self.ended:
            return data
        incoming.write(raw)
        try:
            if not self.established:
                self._tls.do_handshake()
                self.established = True
                if not incoming.pending:
                    return data
            data = self._tls.read(_MAX_PLAINTEXT)
            while data and incoming.pending:
                more = self._tls.read(_MAX_PLAINTEXT)
                if not more:
                    self.ended = True
                    break
                data += more
            if not data:
                self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # how the client's close_notify is told after our own
            self.ended = True
        finally:
            if incoming.pending:
                incoming.read()
            if outgoing.pending:
                self.output += outgoing.read()
        return data

    def encrypt(self, data: bytes) -> bytes:
        """Return the records that carry this to the client. Raises ssl.SSLError after a fault only."""
        try:
            written = self._tls.write(data)
            while written < len(data):
                written += self._tls.write(memoryview(data)[written:])
        except BaseException:
            self._outgoing.read()  # or it would be the beginning of what another connection sends
            raise
        return self._outgoing.read()

    def end(self) -> bytes:
        """Return the close_notify that says to the client that this was all."""
        with suppress(ssl.SSLError):  # the client has not said the same yet
            self._tls.unwrap()
        return self._outgoing.read()
