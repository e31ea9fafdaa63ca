"""The client of an authority that is slow, as one is under load, or if it is hostile."""

from __future__ import annotations

import time

import pytest

from appliance.acme.client import Client
from appliance.acme.jws import SigningKey
from appliance.acme.problems import AcmeError
from tests.slow_server import slow_server

DOCUMENT = b'{"newNonce": "x"}' + b" " * 40


def client_of(port: int, trust: object, deadline: float) -> Client:
    return Client(f"https://localhost:{port}/dir", trust, SigningKey.generate(), time.time, deadline)  # type: ignore[arg-type]


def test_a_request_has_a_total_deadline() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 57\r\n\r\n"
    with slow_server(head, DOCUMENT) as server:
        client = client_of(*server, deadline=0.3)
        with pytest.raises(AcmeError, match=r"no complete answer within 0\.3 seconds") as caught:
            _ = client.directory
        client.close()
    assert caught.value.kind == "network"


def test_each_request_has_a_deadline_of_its_own() -> None:
    """A kept connection is used for the next request; what the one before took does not count."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    with slow_server(head, b" " * 5) as server:
        client = client_of(*server, deadline=0.4)
        for _ in range(3):
            assert client.get(client.url).body == b" " * 5
        client.close()
