"""`proxy_protocol_from`: the service behind a balancer that says whose connection it passes on."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
from pathlib import Path

from tests.daemon import Daemon, until
from tests.edge.proxy_headers import v1, v2


def test_the_log_and_the_limit_see_the_client(tmp_path: Path) -> None:
    """Also on loopback, where a client without a header is not limited."""
    server = 'proxy_protocol_from = ["127.0.0.1/32"]\nmax_per_source = 1'
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with Daemon(tmp_path, server=server) as daemon, contextlib.ExitStack() as stack:
        daemon.wait_for("serving")
        for header in (v1("192.0.2.9"), v2("2001:db8::9")):
            raw = socket.create_connection(("127.0.0.1", daemon.port), timeout=20)
            raw.sendall(header)
            client = stack.enter_context(context.wrap_socket(raw))
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 404 ")
        again = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.port), timeout=20))
        again.sendall(v1("192.0.2.9"))
        with contextlib.suppress(ConnectionError):
            assert again.recv(1) == b""
        bad = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.port), timeout=20))
        bad.sendall(b"\x16\x03\x01")
        with contextlib.suppress(ConnectionError):
            assert bad.recv(1) == b""
        metrics = ("sidebard_connections_rejected_total 1.0", "sidebard_proxy_headers_refused_total 1.0")
        until(lambda: all(line in daemon.admin("/metrics")[1] for line in metrics), "the counts")
        assert daemon.wait_for("proxy_header_refused")["peer"] == "127.0.0.1"
        daemon.send(signal.SIGTERM)
        daemon.rest()
        assert [line["peer"] for line in daemon.lines if line.get("outcome") == "not_found"] == [
            "192.0.2.9",
            "2001:db8::9",
        ]
        assert daemon.end() == 0
