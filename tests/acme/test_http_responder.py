"""Port 80: what is answered to the authority, to everybody else, and to whoever sends what is no request."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.acme import http_responder
from appliance.acme.http_responder import HttpResponder

NAMES = ("one.example.com", "two.example.com")
TOKEN = "t" * 32
ASKED = f"/.well-known/acme-challenge/{TOKEN}"


def responder(sockets: tuple[socket.socket, ...] = ()) -> HttpResponder:
    return HttpResponder(sockets, NAMES, lambda token: b"the answer" if token == TOKEN else None)


def head(line: str, *fields: str) -> bytes:
    return "\r\n".join([line, *fields, "", ""]).encode()


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        (head(f"GET {ASKED} HTTP/1.1"), b"200 OK", b"\r\n\r\nthe answer"),
        (head(f"GET {ASKED} HTTP/1.0", "Host: evil.example"), b"200 OK", b"Content-Length: 10\r\n"),
        (head(f"HEAD {ASKED} HTTP/1.1"), b"200 OK", b"Connection: close\r\n\r\n"),
        (head(f"POST {ASKED} HTTP/1.1"), b"404 Not Found", b""),
        (head(f"GET {ASKED}x HTTP/1.1"), b"404 Not Found", b""),
        (head("GET /.well-known/acme-challenge/../../account.json HTTP/1.1"), b"404 Not Found", b""),
        (head("GET / HTTP/1.1"), b"308 Permanent Redirect", b"Location: https://one.example.com/\r\n"),
        (
            head("GET /a?b=1 HTTP/1.1", "Host: TWO.example.com:80"),
            b"308",
            b"Location: https://two.example.com/a?b=1\r\n",
        ),
        (
            head("GET //evil.example/ HTTP/1.1", "Host: evil.example"),
            b"308",
            b"Location: https://one.example.com//evil",
        ),
        (head("GET /\"><b>'\\ HTTP/1.1"), b"308", b"Location: https://one.example.com/b'\r\n"),
        (head("GET http://evil.example/ HTTP/1.1"), b"400 Bad Request", b""),
        (head("GET / HTTP/2"), b"400 Bad Request", b""),
        (head(f"GET /{'a' * 3000} HTTP/1.1"), b"400 Bad Request", b""),
        (b"\x16\x03\x01\r\n\r\n", b"400 Bad Request", b""),
        (b"\r\n\r\n", b"400 Bad Request", b""),
    ],
)
def test_a_request(request_: bytes, status: bytes, says: bytes) -> None:
    answer = responder().respond(request_)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert says in answer
    assert b"evil.example\r" not in answer


@given(st.binary(max_size=300), st.text(max_size=50), st.text(max_size=50))
def test_any_head_has_an_answer_of_one_location(any_bytes: bytes, path: str, host: str) -> None:
    for request in (any_bytes, head(f"GET /{path} HTTP/1.1", f"Host: {host}")):
        answer = responder().respond(request)
        status, *fields = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")
        assert status.split()[1] in (b"308", b"400", b"404")
        for field in fields:
            name, _, value = field.partition(b": ")
            assert name in (b"Location", b"Content-Length", b"Connection")
            assert name != b"Location" or value.startswith(b"https://one.example.com/")


# On a socket


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read()
    except OSError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def test_it_answers_on_a_socket_and_closes(listening: socket.socket) -> None:
    async def talk() -> list[bytes]:
        await responder((listening,)).start()
        requests = (head(f"GET {ASKED} HTTP/1.1"), head("GET / HTTP/1.1") * 2, b"GET / " + b"a" * 20_000)
        return [await ask(listening.getsockname()[1], request) for request in requests]

    answered, pipelined, endless = asyncio.run(talk())
    assert answered.endswith(b"\r\n\r\nthe answer")
    assert pipelined.count(b"HTTP/1.1") == 1
    assert endless == b""


def test_the_slow_are_dropped_and_the_many_too(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_responder, "_DEADLINE", 1.0)
    monkeypatch.setattr(http_responder, "_MAX_CONNECTIONS", 3)
    port = listening.getsockname()[1]
    served = responder((listening,))

    async def talk() -> tuple[list[bytes], bytes, bytes]:
        await served.start()
        slow = [asyncio.create_task(ask(port, b"GET / HT")) for _ in range(3)]
        while served._open < 3:
            await asyncio.sleep(0.001)
        refused = await ask(port, head("GET / HTTP/1.1"))
        return await asyncio.gather(*slow), refused, await ask(port, head("GET / HTTP/1.1"))

    slow, refused, afterwards = asyncio.run(talk())
    assert (slow, refused) == ([b""] * 3, b"")
    assert afterwards.startswith(b"HTTP/1.1 308")
