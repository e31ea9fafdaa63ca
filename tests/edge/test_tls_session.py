"""TLS in memory: what comes in pieces, what ends, what is wrong, and many sessions through one pair of pipes."""

from __future__ import annotations

import random
import ssl
from collections.abc import Iterator

import pytest

from appliance.edge.tls import server_context
from appliance.edge.tls_session import Pipes, TLSSession
from tests.edge.tls_client import ALERT, CLOSE_NOTIFY, VERSIONS, TLSClient
from tests.server import make_pair


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    certificate, key, _authority = make_pair(tmp_path_factory.mktemp("pair"))
    return server_context(certificate, key)


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    """A pair that is empty at the end, as it is between any two calls."""
    made = Pipes.new()
    yield made
    assert (made.incoming.pending, made.outgoing.pending) == (0, 0)


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def client(request: pytest.FixtureRequest) -> TLSClient:
    return TLSClient(request.param)


@pytest.fixture
def session(context: ssl.SSLContext, pipes: Pipes) -> TLSSession:
    return TLSSession(context, pipes)


def taken(session: TLSSession) -> bytes:
    output, session.output = session.output, b""
    return output


def shake(client: TLSClient, session: TLSSession, size: int = 100_000) -> bytes:
    """Shake hands, with pieces of this size; return the server's last flight."""
    flight = b""
    while not (client.shaken and session.established):
        raw = client.shake(flight)
        for at in range(0, len(raw), size):
            assert session.receive(raw[at : at + size]) == b""
        flight = taken(session)
    assert session.established
    client.shake(flight)
    return flight


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_in_pieces(size: int, client: TLSClient, session: TLSSession) -> None:
    shake(client, session, size)
    raw = client.records(b"a" * 20_000) + client.records(b"b") + client.end()
    received = b"".join(session.receive(raw[at : at + size]) for at in range(0, len(raw), size))
    assert received == b"a" * 20_000 + b"b"
    assert session.ended


def test_a_request_right_behind_the_handshake(client: TLSClient, session: TLSSession) -> None:
    """TLS 1.3's client may send it in one packet with its Finished; with 1.2 it waits for the server's."""
    session.receive(client.shake())
    last = client.shake(taken(session))
    if not client.shaken:
        session.receive(last)
        client.shake(taken(session))
        last = b""
    assert session.receive(last + client.records(b"request")) == b"request"
    assert client.read(taken(session) + session.encrypt(b"response")) == (b"response", "")


@pytest.mark.parametrize("size", [1, 16_384, 16_385, 300_000])
def test_responses(size: int, client: TLSClient, session: TLSSession) -> None:
    shake(client, session)
    assert client.read(session.encrypt(b"x" * size)) == (b"x" * size, "")


def test_the_clients_end(client: TLSClient, session: TLSSession) -> None:
    """What was asked before it is there, what comes after it is discarded, and the response still goes out."""
    shake(client, session)
    raw = client.records(b"request") + client.end() + b"whatever comes then"
    assert session.receive(raw) == b"request"
    assert session.ended
    assert session.receive(b"and later") == b""
    assert client.read(session.encrypt(b"response") + session.end()) == (b"response", CLOSE_NOTIFY)


def test_our_end(client: TLSClient, session: TLSSession) -> None:
    """The client may send on, and is decrypted, until its own end."""
    shake(client, session)
    assert client.read(session.encrypt(b"response") + session.end()) == (b"response", CLOSE_NOTIFY)
    assert session.receive(client.records(b"more")) == b"more"
    assert not session.ended
    session.receive(client.end())
    assert session.ended


@pytest.mark.parametrize("behind", [b"", b"request"], ids=["alone", "behind a request"])
def test_a_record_that_is_wrong(behind: bytes, client: TLSClient, session: TLSSession, pipes: Pipes) -> None:
    shake(client, session)
    raw = client.records(behind) if behind else b""
    with pytest.raises(ssl.SSLError):
        session.receive(raw + b"\x17\x03\x03\x00\x20" + bytes(32) + client.records(b"another"))
    assert pipes.incoming.pending == 0
    assert client.read(taken(session)) == (b"", ALERT)
    with pytest.raises(ssl.SSLError):
        session.encrypt(b"response")


@pytest.mark.parametrize(
    ("raw", "alert"),
    [(b"\x16\x03\x01\x00\x05hello", b"\x15"), (b"\x16" + b"\xff" * 100, b"")],
    ids=["no message", "no version"],
)
def test_no_handshake(raw: bytes, alert: bytes, session: TLSSession) -> None:
    """To a version that there is not OpenSSL says nothing."""
    with pytest.raises(ssl.SSLError):
        session.receive(raw)
    assert taken(session)[:1] == alert


@pytest.mark.parametrize("seed", range(5))
def test_many_sessions_in_one_pair_of_pipes(seed: int, context: ssl.SSLContext, pipes: Pipes) -> None:
    """Whatever the order, and wherever each is cut: what one client sends and is sent is its own."""
    chosen = random.Random(seed)
    clients = [TLSClient(version) for version in VERSIONS * 6]
    sessions = [TLSSession(context, pipes) for _ in clients]
    waiting = [client.shake() for client in clients]  # on its way to each session
    received, seen, unasked = [b""] * 12, [b""] * 12, [3] * 12
    while any(waiting) or any(unasked):
        number = chosen.randrange(12)
        client, session = clients[number], sessions[number]
        if client.shaken and unasked[number] and chosen.random() < 0.3:
            unasked[number] -= 1
            waiting[number] += client.records(b"%d" % number * chosen.randrange(1, 9000))
        cut = chosen.randrange(1, 3000)
        raw, waiting[number] = waiting[number][:cut], waiting[number][cut:]
        data = session.receive(raw)
        received[number] += data
        output = taken(session) + (session.encrypt(data) if data else b"")
        assert (pipes.incoming.pending, pipes.outgoing.pending) == (0, 0)
        if client.shaken:
            seen[number] += client.read(output)[0]
        else:
            waiting[number] += client.shake(output)
    for number in range(12):
        assert received[number] == seen[number]
        assert set(received[number].decode()) == set(str(number))


def test_what_a_failed_write_leaves_is_not_sent_by_another(session: TLSSession, pipes: Pipes) -> None:
    class Failing:
        def write(self, data: bytes) -> int:
            pipes.outgoing.write(data)
            raise MemoryError

    session._tls = Failing()  # type: ignore[assignment]
    with pytest.raises(MemoryError):
        session.encrypt(b"a record")
