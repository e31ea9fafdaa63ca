"""The process that asks: over real TLS, and whatever becomes of it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.http_client import MAX_RESPONSE, UnreachableError
from appliance.inbox_api import process
from appliance.inbox_api.process import ApiProcess
from appliance.inbox_api.wire import Connection, Origin, Request, Response
from tests.daemon import alive
from tests.inbox_api.help_scout import HelpScout, Server

ASKED = Request("GET", "/v2/customers/7", {"Authorization": "Bearer none"})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path, HelpScout()) as running:
        yield running


async def exchanged(api: ApiProcess, *requests: Request) -> list[Response | str]:
    """Return the responses, or why there was none."""
    found: list[Response | str] = []
    for request in requests:
        try:
            found.append(await api.exchange(request))
        except UnreachableError as error:
            found.append(str(error))
    return found


def test_requests_share_a_connection(server: Server) -> None:
    async def work() -> None:
        with closing(ApiProcess(server.origin)) as api:
            post = Request("POST", "/v2/oauth2/token", {"Content-Type": "x"}, b"grant_type=x")
            first, second = await exchanged(api, ASKED, post)
            assert isinstance(first, Response)
            assert isinstance(second, Response)
            assert (first.status, first.fields["x-ratelimit-limit-minute"]) == (401, "200")
            assert b"logRef" in first.body
            assert second.status == 401
            pid = api.pid
            assert alive(pid)
            assert (
                len({int(each) for each in os.listdir(f"/proc/{pid}/fd")} - {0, 1, 2}) == 2
            )  # its end, and the connection
        assert not alive(pid)

    asyncio.run(work())
    assert [request.body for request in server.api.requests] == [b"", b"grant_type=x"]
    assert server.connections == 1


def test_nothing_of_the_parent_stays_open_in_it(server: Server) -> None:
    """A connection that the parent closes is closed, although it was open when the process began."""
    ours, theirs = socket.socketpair()

    async def work() -> None:
        with closing(ApiProcess(server.origin)) as api, ours:
            await exchanged(api, ASKED)
            theirs.close()
            ours.settimeout(5)
            assert ours.recv(1) == b""

    asyncio.run(work())


def test_a_connection_that_was_closed_meanwhile(server: Server) -> None:
    server.api.scripted.extend([lambda good: good, ConnectionError(), lambda good: good])
    connection = Connection(server.origin)
    with closing(connection):
        assert connection.exchange(ASKED).status == 401
        assert connection.exchange(ASKED).status == 401  # of a new connection
    assert server.connections == 2


def test_one_that_closes_at_once_is_said(server: Server) -> None:
    server.api.scripted.extend([ConnectionError()] * 2)
    with closing(Connection(server.origin)) as connection, pytest.raises(UnreachableError, match="without an answer"):
        connection.exchange(ASKED)
    assert len(server.api.requests) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda origin: origin._replace(ca=None), "authority that this machine does not know"),
        (lambda origin: origin._replace(host="127.0.0.1"), "certificate is not for this IP address"),
        (lambda origin: origin._replace(host="no-such-name.invalid"), "this name has no address"),
        (lambda origin: origin._replace(port=1), "nothing listens there"),
    ],
    ids=["an authority that nobody knows", "another name", "no such name", "nobody there"],
)
def test_whom_it_does_not_speak_to(server: Server, change: object, why: str) -> None:
    async def work() -> list[Response | str]:
        with closing(ApiProcess(change(server.origin))) as api:  # type: ignore[operator]
            return await exchanged(api, ASKED)

    [said] = asyncio.run(work())
    assert why in str(said)
    assert server.api.requests == []


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (Request("GET", "/v2", {"Authorization": "Bearer hunter2\r\nX: y"}), "the request cannot be written"),
        (Request("GET", "/v2", {"Authorization": "Bearer hunter2 \u2603"}), "the request cannot be written"),
        (Request("GET", "/v2 hunter2\n", {}), "HTTP"),
    ],
    ids=["line end", "no latin-1", "a path"],
)
def test_what_cannot_be_sent_is_not_shown(request_: Request, why: str, server: Server) -> None:
    with closing(Connection(server.origin)) as connection, pytest.raises(UnreachableError, match=why) as caught:
        connection.exchange(request_)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(request_)


def test_a_response_without_end(server: Server) -> None:
    server.api.scripted.append(Response(200, {}, b"x" * (MAX_RESPONSE + 1)))
    server.api.scripted.append(Response(200, {}, b"x" * MAX_RESPONSE))

    async def work() -> None:
        with closing(ApiProcess(server.origin)) as api:
            long, whole = await exchanged(api, ASKED, ASKED)
            assert long == "the answer is over 4 MiB"
            assert isinstance(whole, Response)
            assert len(whole.body) == MAX_RESPONSE

    asyncio.run(work())


def test_one_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        origin = Origin("localhost", silent.getsockname()[1])

        async def work() -> None:
            with closing(ApiProcess(origin, deadline=0.2)) as api:
                asking = asyncio.create_task(exchanged(api, ASKED))
                while not (pid := api.pid):
                    await asyncio.sleep(0)
                [said] = await asking
                assert str(said).startswith("no answer within")
                assert (api.pid, alive(pid)) == (0, False)

        asyncio.run(work())


def test_it_is_killed_and_another_is_started(server: Server) -> None:
    async def work() -> None:
        with closing(ApiProcess(server.origin)) as api:
            await exchanged(api, ASKED)
            first = api.pid
            os.kill(first, signal.SIGKILL)
            [good] = await exchanged(api, ASKED)
            assert isinstance(good, Response)
            assert api.pid != first
            assert not alive(first)

    asyncio.run(work())


def test_one_that_dies_of_a_request_is_not_started_for_ever(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "serve", lambda end, connection: os.kill(os.getpid(), signal.SIGKILL))

    async def work() -> None:
        with closing(ApiProcess(server.origin)) as api:
            assert await exchanged(api, ASKED) == ["the process that asks has ended"]
            assert api.pid == 0

    asyncio.run(work())


def test_a_request_that_is_given_up_leaves_no_process(server: Server) -> None:
    waiting = threading.Event()
    server.api.scripted.append(lambda good: (waiting.wait(20), good)[1])

    async def work() -> None:
        with closing(ApiProcess(server.origin)) as api:
            asking = asyncio.create_task(api.exchange(ASKED))
            while not server.api.requests:
                await asyncio.sleep(0.01)
            pid = api.pid
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert not alive(pid)
            waiting.set()

    asyncio.run(work())


def test_no_process_can_be_started(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    async def work() -> None:
        with closing(ApiProcess(server.origin)) as api:
            with monkeypatch.context() as patch:
                patch.setattr(os, "fork", fork)
                [said] = await exchanged(api, ASKED)
                assert str(said).startswith("no process can be started")
            assert isinstance((await exchanged(api, ASKED))[0], Response)

    asyncio.run(work())


def test_it_ends_when_nobody_asks_any_more(server: Server) -> None:
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=process.serve, args=(theirs, Connection(server.origin)))
    thread.start()
    ours.close()
    thread.join(10)
    assert not thread.is_alive()
    theirs.close()
