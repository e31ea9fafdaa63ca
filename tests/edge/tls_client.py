"""The client's side of TLS in memory, so that a test decides which bytes are sent when, and sees each end by itself."""

from __future__ import annotations

import select
import socket
import ssl
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

VERSIONS: Final = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
CLOSE_NOTIFY, ALERT, FIN, RESET = "close_notify", "alert", "FIN", "reset"


def client_context(version: ssl.TLSVersion) -> ssl.SSLContext:
    """Return one that speaks this version only, and trusts everybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    return context


class TLSClient:
    """A client without a socket: what it is to send is in what its methods return."""

    def __init__(self, version: ssl.TLSVersion) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = client_context(version).wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        self.shaken = False

    def shake(self, received: bytes = b"") -> bytes:
        """Go on with the handshake."""
        self._incoming.write(received)
        if not self.shaken:
            with suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
                self.shaken = True
        return self._outgoing.read()

    def records(self, data: bytes) -> bytes:
        """Return the records that carry this."""
        self.tls.write(data)
        return self._outgoing.read()

    def end(self) -> bytes:
        """Return a close_notify."""
        with suppress(ssl.SSLError):
            self.tls.unwrap()
        return self._outgoing.read()

    def read(self, received: bytes) -> tuple[bytes, str]:
        """Return the plaintext of what was received, and how it ends: "" if it does not."""
        self._incoming.write(received)
        data = b""
        try:
            while True:
                more = self.tls.read(65536)
                if not more:
                    return data, CLOSE_NOTIFY
                data += more
        except ssl.SSLWantReadError:
            return data, ""
        except ssl.SSLZeroReturnError:
            return data, CLOSE_NOTIFY
        except ssl.SSLError as error:
            if "ALERT" not in str(error.reason):
                raise
            return data, ALERT


@dataclass
class Peer:
    """A client with a socket."""

    sock: socket.socket
    client: TLSClient
    data: bytes = b""
    ends: tuple[str, ...] = ()
    """What the server has said of the end, in the order in which it came."""

    def look(self) -> None:
        """Take what has arrived."""
        if self.sock.fileno() == -1:
            return
        while FIN not in self.ends and RESET not in self.ends and select.select([self.sock], [], [], 0)[0]:
            try:
                raw = self.sock.recv(65536)
            except ConnectionError:
                self.ends += (RESET,)
                return
            if not raw:
                self.ends += (FIN,)
            elif not self.client.shaken:
                try:
                    self.sock.sendall(self.client.shake(raw))
                except ssl.SSLError:
                    self.ends += (ALERT,)
            else:
                data, end = self.client.read(raw)
                self.data += data
                self.ends += (end,) if end else ()

    def reset(self) -> None:
        """End the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
