"""URLs, and why there was no answer: what the load test counts and what a check says."""

import http.client
import socket
import ssl
from contextlib import closing

import pytest

from appliance.http_client import (
    EXPIRED,
    HINTS,
    NOT_TRUSTED,
    OTHER_NAME,
    TimedConnection,
    UrlError,
    explain,
    parse_url,
)
from tests.slow_server import slow_server


@pytest.mark.parametrize(
    ("text", "text_", "host", "port", "path"),
    [
        ("https://card.example", "https://card.example", "card.example", 443, ""),
        ("https://card.example?a=b", "https://card.example", "card.example", 443, "/?a=b"),
        ("http://card.example/x", "http://card.example", "card.example", 80, "/x"),
        ("https://127.0.0.1:8443/h?a=b", "https://127.0.0.1:8443", "127.0.0.1", 8443, "/h?a=b"),
        ("https://[::1]:8443/h", "https://[::1]:8443", "::1", 8443, "/h"),
    ],
)
def test_urls(text, text_, host, port, path):
    url = parse_url(text)
    assert (url.text, url.host, url.port, url.path) == (text_, host, port, path)
    assert url.is_secure == text.startswith("https")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "card.example",
        "ftp://card.example",
        "https://",
        "https://x:port/",
        "https://a@b/",
        "https://é.fr/",
        "https://x/ y",
        "https://x/\r\nX: y",
        "https://x:70000/",
    ],
)
def test_what_is_no_url(text):
    with pytest.raises(UrlError, match="such as https://"):
        parse_url(text)


def not_verified(code):
    error = ssl.SSLCertVerificationError("x")
    error.verify_code = code
    error.verify_message = "unsuitable purpose"
    return error


def tls(reason):
    error = ssl.SSLError(1, "x")
    error.reason = reason
    return error


FAILURES = [
    (None, "closed without an answer", "the connection was closed without an answer; correct http"),
    (ConnectionRefusedError(111, "x"), "refused", "nothing listens there; start the service"),
    (ConnectionResetError(104, "x"), "reset", "the connection was reset; correct http"),
    (BrokenPipeError(32, "x"), "reset", "the connection was reset; correct http"),
    (TimeoutError(), "no answer in 10 s", "no answer within 10 seconds; look for a firewall"),
    (socket.gaierror(-2, "x"), "no such name", "this name has no address; correct the URL"),
    (OSError(24, "x"), "no descriptor left here", "this machine has no descriptor left; raise ulimit -n"),
    (OSError(99, "x"), "no port left here", "this machine has no port left; keep connections open"),
    (OSError(113, "No route"), "EHOSTUNREACH", "cannot be reached: [Errno 113] No route; correct the URL"),
    (not_verified(9), "certificate not valid yet", "the certificate is not valid yet; check the clocks"),
    (not_verified(10), EXPIRED.kind, "the certificate, or one of its chain, has expired; renew it"),
    (not_verified(18), NOT_TRUSTED.kind, "the certificate is self-signed, so Help Scout does not accept it; get"),
    (not_verified(19), NOT_TRUSTED.kind, "the certificate comes from an authority that this machine does not know"),
    (not_verified(21), NOT_TRUSTED.kind, "the certificate chain is incomplete, so Help Scout does not accept it; use"),
    (not_verified(26), NOT_TRUSTED.kind, "the certificate is not accepted (unsuitable purpose); pass"),
    (not_verified(62), OTHER_NAME.kind, "the certificate is for other names; issue it"),
    (not_verified(64), OTHER_NAME.kind, "the certificate is not for this IP address; use a name"),
    (tls("WRONG_VERSION_NUMBER"), "no TLS there", "what listens there does not speak TLS; correct the port"),
    (tls("UNEXPECTED_EOF_WHILE_READING"), "closed without an answer", "the connection was closed without an answer"),
    (tls("NO_SHARED_CIPHER"), "TLS: NO_SHARED_CIPHER", "the TLS handshake failed (NO_SHARED_CIPHER); is sidebard"),
    (ConnectionAbortedError(), "ConnectionAbortedError", "the connection was closed without an answer; correct"),
    (http.client.RemoteDisconnected("x"), "RemoteDisconnected", "the connection was closed without an answer; correct"),
    (http.client.BadStatusLine("x"), "what came is not HTTP", "what listens there does not speak HTTP; correct"),
]


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    FAILURES,
    ids=[f"{kind}: {type(e).__name__}{getattr(e, 'verify_code', '')}" for e, kind, _ in FAILURES],
)
def test_why_there_was_no_answer(error, kind, sentence):
    failure = explain(error)
    assert (failure.kind, failure.sentence.startswith(sentence)) == (kind, True), failure.sentence


def test_a_kind_has_the_hint_of_its_general_row():
    assert HINTS["certificate not trusted"] == NOT_TRUSTED.hint
    assert HINTS["certificate for another name"] == OTHER_NAME.hint


def ask(connection):
    connection.request("GET", "/")
    return connection.getresponse().read()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("quick", "slow", "tls"),
    [
        pytest.param(b"", HEAD + b"x" * 50, True, id="the status line and the fields"),
        pytest.param(HEAD, b"x" * 50, True, id="the body"),
        pytest.param(CHUNKED, b"1\r\nx\r\n" * 12 + b"0\r\n\r\n", True, id="chunks"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 50, True, id="a body that ends with the connection"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + HEAD, True, id="interim"),
        pytest.param(HEAD, b"x" * 50, False, id="without TLS"),
    ],
)
def test_an_exchange_has_a_total_deadline(quick, slow, tls):
    with slow_server(quick, slow, tls=tls) as server:
        connection = TimedConnection("localhost", server.port, server.trust if tls else None)
        connection.begin(0.25)
        with pytest.raises(TimeoutError), closing(connection):
            ask(connection)


def test_a_handshake_has_a_total_deadline():
    record = b"\x16\x03\x03\x00\x7a" + b"\x02\x00\x00\x76" + b"\x00" * 118
    with slow_server(b"", record, tls=False) as server:
        connection = TimedConnection("localhost", server.port, server.trust)
        connection.begin(0.25)
        with pytest.raises(TimeoutError), closing(connection):
            connection.request("GET", "/")


def test_what_comes_in_time_is_read():
    """With a connection that is kept, and one that the server closes."""
    with slow_server(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"abc") as server:
        connection = TimedConnection("localhost", server.port, server.trust)
        with closing(connection):
            for _ in range(2):
                connection.begin(5)
                assert ask(connection) == b"abc"
    with slow_server(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n", b"abc", tls=False) as server:
        connection = TimedConnection("localhost", server.port, None)
        with closing(connection):
            connection.begin(5)
            assert ask(connection) == b"abc"


def test_each_address_gets_its_share_of_the_time(monkeypatch):
    """One of several addresses that does not answer, such as of a broken IPv6, leaves time for the next."""
    with socket.socket() as full, slow_server(b"", HEAD + b"x" * 50, tls=False) as server:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(full.getsockname())
            found = [
                (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))
                for port in (full.getsockname()[1], server.port)
            ]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
            connection = TimedConnection("localhost", 1, None)
            connection.begin(0.6)
            with closing(connection):
                connection.connect()
                assert connection.sock is not None
