"""The URL and the address that a running service is checked at."""

from __future__ import annotations

import ssl

import pytest

from appliance.checks import http_probe
from appliance.checks.http_probe import ask, target_of
from appliance.http_client import UnreachableError
from tests.slow_server import slow_server


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://x.example/", "enter the URL that the help desk uses"),
        ("https:///helpscout", "enter the URL that the help desk uses"),
        ("https://x.example/helpscout?a=b", "enter the URL that the help desk uses"),
        ("https://x.example:port/", "enter the URL that the help desk uses"),
    ],
)
def test_what_is_no_target(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        target_of(url, ssl.create_default_context())


@pytest.mark.parametrize(
    ("connect", "there", "where"),
    [
        ("127.0.0.1:8443", ("127.0.0.1", 8443), "127.0.0.1:8443"),
        ("localhost:443", ("localhost", 443), "localhost:443"),
        ("[::1]:8443", ("::1", 8443), "[::1]:8443"),
        ("", ("x.example", 443), "x.example:443"),
    ],
)
def test_where_it_connects(connect: str, there: tuple[str, int], where: str) -> None:
    target = target_of("https://x.example/helpscout", ssl.create_default_context(), connect)
    assert (target.host, target.connect, target.where) == ("x.example", there, where)


@pytest.mark.parametrize(
    "connect",
    ["8443", "127.0.0.1", ":8443", "::1:8443", "x:y", "a b:1/c", "u@x:1", "x:1?y", "x:70000", "https://x:1", "x:0"],
)
def test_where_nothing_can_connect(connect: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        target_of("https://x.example/", ssl.create_default_context(), connect)


def test_an_answer_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_probe, "TIMEOUT", 0.25)
    with slow_server(b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n", b"x" * 60) as server:
        target = target_of(f"https://localhost:{server.port}/", server.trust)
        with pytest.raises(UnreachableError, match="no answer within"):
            ask(target, "/", b"{}", "X-HelpScout-Signature", b"x")
