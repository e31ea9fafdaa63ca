"""PROXY headers: a table of good and bad ones, and how to make them."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
TCP4, UDP4, TCP6, UNIX, UNSPEC = 0x11, 0x12, 0x21, 0x31, 0x00
WIDE = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


def v1(source: str, destination: str = "192.0.2.1") -> bytes:
    """Return a header of version 1."""
    family = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {family} {source} {destination} 56324 443\r\n".encode()


def v2(source: str, tlvs: bytes = b"", command: int = PROXY) -> bytes:
    """Return a header of version 2."""
    kind = socket.AF_INET6 if ":" in source else socket.AF_INET
    packed = socket.inet_pton(kind, source)
    return block(command, TCP6 if ":" in source else TCP4, packed * 2 + struct.pack(">HH", 56324, 443) + tlvs)


def block(command: int, protocol: int, rest: bytes) -> bytes:
    """Return a header of version 2 of these parts."""
    return SIGNATURE + struct.pack(">BBH", command, protocol, len(rest)) + rest


class Good(NamedTuple):
    """A header, and the address that it names."""

    id: str
    raw: bytes
    address: str | None


GOOD = (
    # The longest of each kind, as the specification lists them (2.1).
    Good("v1 TCP4 longest", b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    Good("v1 TCP6 longest", f"PROXY TCP6 {WIDE} {WIDE} 65535 65535\r\n".encode(), WIDE),
    Good("v1 UNKNOWN short", b"PROXY UNKNOWN\r\n", None),
    Good("v1 UNKNOWN longest", f"PROXY UNKNOWN {WIDE} {WIDE} 65535 65535\r\n".encode(), None),
    Good("v1 TCP4", b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1"),
    Good("v1 ports from 0", b"PROXY TCP4 192.168.0.1 192.168.0.11 0 0\r\n", "192.168.0.1"),
    Good("v1 TCP6 short", b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "2001:db8::1"),
    Good("v1 TCP6 upper case", b"PROXY TCP6 2001:DB8:0:0::1 ::1 1 2\r\n", "2001:db8::1"),
    Good("v1 TCP6 of an IPv4 client", b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", "::ffff:192.0.2.7"),
    Good("v1 UNKNOWN and a word", b"PROXY UNKNOWN \xff\x00 x\r\n", None),
    Good("v2 TCP4", v2("192.0.2.7"), "192.0.2.7"),
    Good("v2 TCP6", v2("2001:db8::7"), "2001:db8::7"),
    Good("v2 with TLVs", v2("192.0.2.7", b"\x04\x00\x03\x00\x00\x00" + b"\x01\x00\x02h2"), "192.0.2.7"),
    Good("v2 with bytes that are no TLVs", v2("192.0.2.7", b"\xff"), "192.0.2.7"),
    Good("v2 as long as may be", v2("192.0.2.7", bytes(2048 - 28)), "192.0.2.7"),
    Good("v2 LOCAL, HAProxy's health check", block(LOCAL, UNSPEC, b""), None),
    Good("v2 LOCAL, with an address", v2("192.0.2.7", command=LOCAL), None),
    Good("v2 LOCAL, of any family", block(LOCAL, 0xFF, b"abc"), None),
    Good("v2 UNSPEC", block(PROXY, UNSPEC, b""), None),
    Good("v2 UNSPEC, with more", block(PROXY, UNSPEC, b"abc"), None),
    Good("v2 UNIX", block(PROXY, UNIX, bytes(216)), None),
    Good("v2 UDP", block(PROXY, UDP4, bytes(12)), None),
)

BAD = {
    "a ClientHello": b"\x16\x03\x01",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "POST": b"POST",
    "proxy": b"proxy TCP4",
    "v1 no family": b"PROXY \r\n",
    "v1 two spaces": b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "v1 a space at the end": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
    "v1 a tab": b"PROXY TCP4\t1.2.3.4 1.2.3.4 1 2\r\n",
    "v1 TCP5": b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
    "v1 tcp4": b"PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
    "v1 UNKNOWNX": b"PROXY UNKNOWNX\r\n",
    "v1 UDP4": b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "v1 TCP4 with IPv6": b"PROXY TCP4 ::1 ::1 1 2\r\n",
    "v1 TCP6 with IPv4": b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
    "v1 destination of another family": b"PROXY TCP4 1.2.3.4 ::1 1 2\r\n",
    "v1 a name": b"PROXY TCP4 localhost 1.2.3.4 1 2\r\n",
    "v1 a zone": b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "v1 a leading zero": b"PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
    "v1 three numbers": b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
    "v1 NUL": b"PROXY TCP4 1.2.3.4\x00 1.2.3.4 1 2\r\n",
    "v1 not ASCII": b"PROXY TCP4 1.2.3.\xb2 1.2.3.4 1 2\r\n",
    "v1 no ports": b"PROXY TCP4 1.2.3.4 1.2.3.4\r\n",
    "v1 one port": b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
    "v1 three ports": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
    "v1 port 65536": b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
    "v1 port -1": b"PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
    "v1 port 080": b"PROXY TCP4 1.2.3.4 1.2.3.4 080 2\r\n",
    "v1 port of many digits": b"PROXY TCP4 1.2.3.4 1.2.3.4 " + b"1" * 50 + b" 2\r\n",
    "v1 ended by LF": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n".ljust(107, b"x"),
    "v1 a line of 108 bytes": b"PROXY UNKNOWN ".ljust(106, b"x") + b"\r\n",
    "v1 endless": b"PROXY " + b"x" * 101,
    "v2 another signature": b"\r\n\r\n\x00\r\nQUIT\r",
    "v2 version 1": block(0x11, TCP4, bytes(12)),
    "v2 version 3": block(0x31, TCP4, bytes(12)),
    "v2 command 2": block(0x22, TCP4, bytes(12)),
    "v2 family 4": block(PROXY, 0x41, bytes(216)),
    "v2 transport 3": block(PROXY, 0x13, bytes(216)),
    "v2 TCP4 of 11 bytes": block(PROXY, TCP4, bytes(11)),
    "v2 TCP6 of 35 bytes": block(PROXY, TCP6, bytes(35)),
    "v2 UNIX of 215 bytes": block(PROXY, UNIX, bytes(215)),
    "v2 of 2,049 bytes": block(PROXY, TCP4, bytes(2049 - 16)),
    "v2 LOCAL of 64 KiB": block(LOCAL, UNSPEC, bytes(65535)),
}
