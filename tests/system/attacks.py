"""Attackers, in a process of their own, so that they and the good client do not wait for each other.

    python -m tests.system.attacks KIND PORT CONNECTIONS SECONDS [SEED]

Whoever loses a connection comes back. At the end they say, as JSON, how many bytes and connections it took.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import random
import selectors
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from tests.daemon import ROOT
from tests.factory import sign
from tests.system.load import BODY, REQUEST, RESET, client_context, connect, source

MUCH = 256 * 1024  # bytes that are offered at once
ABSOLUTE = REQUEST.replace(b"/helpscout", b"http://localhost/helpscout", 1)
COMES_BACK = 1.0  # seconds until one that floods below HTTP comes back
MANY_FIELDS = b"a:\r\n" * 3000


def pipeline(*requests: bytes) -> bytes:
    """Return these requests again and again, as many as are offered at once."""
    one = b"".join(requests)
    return one * max(1, MUCH // len(one))


# By what an attacker sends without end: both paths, signed and not, small and large.
PIPELINES = {
    "signed": pipeline(REQUEST),
    "signed, by the application": pipeline(ABSOLUTE),
    "unsigned": pipeline(b"POST /helpscout HTTP/1.1\r\nHost:a\r\n\r\n"),
    "unsigned, by the application": pipeline(b"GET / HTTP/1.1\r\nHost:a\r\n\r\n"),
    "many fields": pipeline(ABSOLUTE.replace(b"\r\n\r\n", b"\r\n" + MANY_FIELDS + b"\r\n", 1)),
}


class Attacker:
    """Sends the same bytes again and again, and reads whatever comes."""

    def __init__(self, port: int, number: int, context: ssl.SSLContext, payload: bytes) -> None:
        self.sock = connect(port, source(number))
        try:
            self.sock = context.wrap_socket(self.sock, do_handshake_on_connect=False)
        except BaseException:
            self.sock.close()
            raise
        self.sock.setblocking(False)
        self._payload = payload
        self._at = 0
        self._greeted = False
        self.sent = 0

    def go_on(self) -> None:
        """Do what can be done without waiting. Raises OSError at the end."""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            if not self._greeted:
                self.sock.do_handshake()  # type: ignore[attr-defined]
                self._greeted = True
            with contextlib.suppress(ssl.SSLWantReadError):
                for _ in range(8):
                    if not self.sock.recv(65536):
                        raise ConnectionResetError
            sent = self.sock.send(self._payload[self._at : self._at + 65536])
            self.sent += sent
            self._at = (self._at + sent) % len(self._payload)


def flood(port: int, connections: int, seconds: float, payload: bytes) -> dict[str, int]:
    """Attack from so many connections at a time."""
    context, end, begun, sent = client_context(), time.monotonic() + seconds, 0, 0
    with selectors.DefaultSelector() as selector:
        while time.monotonic() < end:
            for number in range(connections - len(selector.get_map())):
                with contextlib.suppress(OSError):
                    attacker = Attacker(port, number, context, payload)
                    selector.register(attacker.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, attacker)
                    begun += 1
            for key, _ in selector.select(0.1):
                before = key.data.sent
                try:
                    key.data.go_on()
                except OSError:
                    selector.unregister(key.fileobj)
                    key.data.sock.close()
                sent += key.data.sent - before
        for key in list(selector.get_map().values()):
            key.data.sock.close()
    return {"connections": begun, "bytes": sent}


def key_updates(port: int, connections: int, seconds: float) -> dict[str, int]:
    """Have the other side change its keys as often as it can, and say nothing: below HTTP, and below Python's ssl."""
    import _ssl

    lib = ctypes.CDLL(_ssl.__file__)  # its symbols, and those of the libssl that it is linked with
    for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
        getattr(lib, name).restype = ctypes.c_void_p
    context = ctypes.c_void_p(lib.SSL_CTX_new(ctypes.c_void_p(lib.TLS_client_method())))
    end, counts, over = time.monotonic() + seconds, {"connections": 0, "updates": 0}, threading.Event()

    def attack(number: int) -> None:
        while time.monotonic() < end and not over.wait(COMES_BACK if counts["connections"] >= connections else 0.0):
            with contextlib.suppress(OSError), connect(port, source(number)) as plain:
                plain.settimeout(None)
                tls = ctypes.c_void_p(lib.SSL_new(context))
                lib.SSL_set_fd(tls, plain.fileno())
                if lib.SSL_connect(tls) == 1:
                    counts["connections"] += 1
                    while time.monotonic() < end:
                        if lib.SSL_key_update(tls, 1) != 1 or lib.SSL_do_handshake(tls) != 1:
                            break
                        counts["updates"] += 1
                lib.SSL_free(tls)

    threads = [threading.Thread(target=attack, args=(number,), daemon=True) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end + 1 - time.monotonic()))
    return dict(counts)


# What a stream of the mixed attack is made of, each by its random numbers.


def _request(rng: random.Random) -> bytes:
    """Return a request, a good one or not, for either path and of any size."""
    path = rng.choice([b"/helpscout", b"http://localhost/helpscout", b"/", b"/helpscout?" + b"x" * rng.randrange(9000)])
    fields = rng.choice([b"", b"a:\r\n" * rng.randrange(3000), b"X: " + b"y" * rng.randrange(16_000) + b"\r\n"])
    body = rng.choice([BODY, b"", b"x" * rng.randrange(300_000)])
    method = rng.choice([b"POST", b"POST", b"GET", b"HEAD", b"PUT"])
    version = rng.choice([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"RTSP/1.1"])
    signed = b"X-HelpScout-Signature: %b\r\n" % sign(body) if rng.random() < 0.5 else b""
    if rng.random() < 0.3:
        size = rng.choice([1, 7, 4096])
        pieces = (body[at : at + size] for at in range(0, min(len(body), 50_000), size))
        framing = b"Transfer-Encoding: chunked\r\n\r\n"
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + fields + b"\r\n"
    else:
        framing = b"Content-Length: %d\r\n\r\n" % len(body)
    return method + b" " + path + b" " + version + b"\r\nHost: localhost\r\n" + signed + fields + framing + body


def _bytes(rng: random.Random) -> bytes:
    """Return what is sent in one go."""
    raw = rng.choice([REQUEST, _request(rng), rng.randbytes(rng.randrange(1, 3000)), b"\r\n" * rng.randrange(1, 9000)])
    if rng.random() < 0.3:
        raw *= rng.randrange(1, 1 + max(1, 200_000 // len(raw)))
    if rng.random() < 0.2:
        raw = raw[: rng.randrange(len(raw)) + 1]
    if rng.random() < 0.2:
        at = rng.randrange(len(raw))
        raw = raw[:at] + rng.randbytes(1) + raw[at + 1 :]
    return raw


def _visit(port: int, number: int, rng: random.Random, context: ssl.SSLContext) -> None:
    """Connect, send this and that in records of some size, read or not, and leave in some way."""
    with connect(port, source(number), rng.choice([0, 4096])) as plain:
        plain.settimeout(rng.choice([0.1, 1.0]))
        if rng.random() < 0.1:
            plain.sendall(_bytes(rng)[:20_000])
            return
        with context.wrap_socket(plain) as connection:
            for _ in range(rng.randrange(1, 5)):
                raw, size = _bytes(rng), rng.choice([1, 100, 16_384, 1_000_000])
                for at in range(0, len(raw) if size > 1 else min(len(raw), 2000), size):
                    connection.sendall(raw[at : at + size])
                if rng.random() < 0.5:
                    connection.recv(65536)
            leave = rng.randrange(4)
            if leave == 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            elif leave == 1:
                socket.socket.shutdown(connection, socket.SHUT_WR)
                connection.recv(65536)
            elif leave == 2:
                connection.unwrap().close()


def mixed(port: int, streams: int, seconds: float, seed: int) -> dict[str, int]:
    """Be so many hostile clients that do all kinds of things, one after the other."""
    context, end, counts = client_context(), time.monotonic() + seconds, {"connections": 0}

    def run(number: int) -> None:
        rng = random.Random(seed * 1000 + number)
        while time.monotonic() < end:
            counts["connections"] += 1
            with contextlib.suppress(OSError, ValueError):
                _visit(port, number, rng, context)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


KINDS: dict[str, Callable[[int, int, float, int], dict[str, int]]] = {
    **{
        name: lambda port, connections, seconds, _seed, payload=payload: flood(port, connections, seconds, payload)
        for name, payload in PIPELINES.items()
    },
    "key updates": lambda port, connections, seconds, _seed: key_updates(port, connections, seconds),
    "mixed": mixed,
}


@contextlib.contextmanager
def attack(kind: str, port: int, connections: int, seconds: float, seed: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """Attack in a process of its own, which has ended when the block has."""
    arguments = map(str, (kind, port, connections, seconds, seed))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.system.attacks", *arguments], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def main() -> None:
    """Attack as the command line says."""
    kind, port, connections, seconds, seed = sys.argv[1:]
    done = KINDS[kind](int(port), int(connections), float(seconds), int(seed))
    sys.stdout.write(json.dumps(done))


if __name__ == "__main__":
    main()
