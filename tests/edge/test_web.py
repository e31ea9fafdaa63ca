"""The edge as its clients see it: the vectors, paths, methods and limits, over a real socket with real TLS."""

import json
import ssl
from collections.abc import Iterator
from typing import Any
from unittest.mock import ANY

import pytest
from tornado.web import RequestHandler

from appliance.edge.refusals import MAX_BODY_BYTES, Refusal
from appliance.edge.web import ReplyHandler
from appliance.outcomes import Reply
from appliance.sidebar.protocols.base import BAD_PAYLOAD, BAD_SIGNATURE
from tests.edge.wire import Apps
from tests.factory import SECRET, body_for, make_app, make_snapshot, sign
from tests.server import Response, Server, serving
from tests.vectors import BODY_SIGNATURES, PAYLOADS

BODY = body_for("ann@example.com")
SIGNED = sign(BODY)
SECRETS = sorted({case.values[0]["secret"] for case in BODY_SIGNATURES})  # type: ignore[index]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("web")

    def make_apps() -> Apps:
        snapshot = make_snapshot(folder)
        others = {f"/{number}": make_app(snapshot, [secret]) for number, secret in enumerate(SECRETS)}
        return {"/helpscout": make_app(snapshot, [SECRET]), **others}

    with serving(make_apps, folder) as running:
        yield running


def refused(response: Response, refusal: Refusal | Reply) -> Response:
    reply = refusal.reply if isinstance(refusal, Refusal) else refusal
    assert (response.status, response.body) == (reply.response.status, reply.response.body)
    assert response.headers["Content-Type"] == reply.response.content_type
    assert response.headers["Content-Length"] == str(len(reply.response.body))
    return response


@pytest.mark.parametrize("case", BODY_SIGNATURES)
def test_signature_vector(case: dict[str, Any], server: Server) -> None:
    path = f"/{SECRETS.index(case['secret'])}"
    # White space around a header's value is no part of it, and a line end cannot be sent in one.
    header = None if case["header"] is None else case["header"].strip().encode()
    response = server.post(case["body"].encode(), header, path)
    if case["valid"]:
        assert response.status == 200
        assert set(json.loads(response.body)) == {"html"}
    else:
        refused(response, BAD_SIGNATURE)


@pytest.mark.parametrize("case", PAYLOADS)
def test_payload(case: dict[str, Any], server: Server) -> None:
    body = case["body"].encode()
    response = server.post(body, sign(body))
    assert response.status == 200
    assert server.lines.last()["outcome"] == case["outcome"]


def test_a_card(server: Server) -> None:
    response = server.post(BODY, SIGNED)
    assert response.status == 200
    assert "Ann Lee" in json.loads(response.body)["html"]
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert set(response.headers) == {"Content-Type", "Cache-Control", "Content-Length", "Date"}


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(None, id="missing"),
        pytest.param(b"", id="empty"),
        pytest.param(b"====", id="malformed"),
        pytest.param("é".encode(), id="not ASCII"),
        pytest.param(sign(BODY, "other"), id="another secret"),
        pytest.param(SIGNED + b"," + SIGNED, id="twice in one"),
    ],
)
def test_every_bad_signature_gets_the_same_bytes(signature: bytes | None, server: Server) -> None:
    response = refused(server.post(BODY, signature), BAD_SIGNATURE)
    del response.headers["Date"]
    assert response.headers == {
        "Content-Type": "text/plain; charset=utf-8",
        "Cache-Control": "no-store",
        "Content-Length": str(len(BAD_SIGNATURE.response.body)),
    }


def test_one_changed_byte_of_the_body(server: Server) -> None:
    refused(server.post(BODY.replace(b"ann", b"bnn"), SIGNED), BAD_SIGNATURE)


@pytest.mark.parametrize("second", [SIGNED, b"x"])
def test_two_signature_headers_are_malformed(second: bytes, server: Server) -> None:
    header = b"X-HelpScout-Signature: "
    head = b"POST /helpscout HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n" % len(BODY)
    assert server.exchange(head + header + SIGNED + b"\r\n" + header + second + b"\r\n\r\n" + BODY).startswith(
        b"HTTP/1.1 403 "
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods(method: str, server: Server) -> None:
    response = server.request(method, "/helpscout")
    assert (response.status, response.headers["Allow"]) == (405, "POST")
    assert response.body == (b"" if method == "HEAD" else Refusal.BAD_METHOD.reply.response.body)


@pytest.mark.parametrize(
    "path", ["/", "/helpscout/", "/Helpscout", "/helpscout%2f", "//helpscout", "/x?path=/helpscout"]
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_other_paths(method: str, path: str, server: Server) -> None:
    refused(server.request(method, path), Refusal.NOT_FOUND)


def test_a_query_is_ignored(server: Server) -> None:
    assert server.post(BODY, SIGNED, "/helpscout?a=b").status == 200


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "?"]
)
def test_the_content_type_does_not_matter(content_type: str, server: Server) -> None:
    """curl says that it sends a form, and FreeScout and Help Scout do not say the same."""
    headers = {"Content-Type": content_type, "X-HelpScout-Signature": SIGNED.decode()}
    assert server.request("POST", "/helpscout", BODY, headers).status == 200


@pytest.mark.parametrize(
    ("size", "refusal"),
    [(MAX_BODY_BYTES, BAD_PAYLOAD), (MAX_BODY_BYTES + 1, Refusal.BODY_TOO_LARGE)],
    ids=["just right", "too large"],
)
def test_body_limit(size: int, refusal: Refusal | Reply, server: Server) -> None:
    body = b"x" * size
    refused(server.post(body, sign(body)), refusal)


def test_an_oversize_body_is_refused_before_it_is_read(server: Server) -> None:
    head = b"POST /helpscout HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n"
    assert server.exchange(head + b"{").startswith(b"HTTP/1.1 413 ")


def test_an_oversize_chunked_body_is_refused_while_it_is_read(server: Server) -> None:
    head = b"POST /helpscout HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    assert server.exchange(head, chunk * 4 + b"1\r\nx\r\n").startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_is_answered(server: Server) -> None:
    head = b"POST /helpscout HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-HelpScout-Signature: " + SIGNED
    pieces = [BODY[at : at + 7] for at in range(0, len(BODY), 7)]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    answer = server.exchange(head + b"\r\nTransfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_two_requests_on_one_connection(server: Server) -> None:
    head = b"POST /helpscout HTTP/1.1\r\nHost: localhost\r\nX-HelpScout-Signature: %b\r\nContent-Length: %d\r\n"
    one = head % (SIGNED, len(BODY)) + b"\r\n" + BODY
    last = head % (b"wrong", len(BODY)) + b"Connection: close\r\n\r\n" + BODY
    received = server.exchange(one + last)
    assert received.index(b"HTTP/1.1 200 ") < received.index(b"HTTP/1.1 403 ")


def test_the_log_line(server: Server) -> None:
    body = body_for("ann@example.com", user={"id": "9", "fname": "Agent Smith"}, mailbox={"id": 4})
    server.post(body, sign(body))
    line = server.lines.last()
    assert line.pop("duration_us") >= 0
    assert len(line.pop("customer")) == 16
    assert line == {
        "timestamp": ANY,
        "level": "info",
        "event": "request",
        "app": "helpscout",
        "status": 200,
        "outcome": "found",
        "cache": "hit",
        "bytes": len(server.post(body, sign(body)).body),
        "peer": "127.0.0.1",
        "conversation": 1,
        "mailbox": 4,
        "agent": 9,
    }


def test_no_line_holds_what_was_sent(server: Server) -> None:
    """Every value of a request and its answer, looked for in all that was logged."""
    body = body_for("ann@example.com", user={"id": "Smith", "fname": "Smith"}, x="needle")
    for signature in (sign(body), b"forged/signature/of/someone=", None):
        server.post(body, signature)
    server.request("GET", "/ann@example.com?needle=1", headers={"X-Other": "needle"})
    logged = server.lines.getvalue()
    words = ["ann@", "example.com", "Ann", "Lee", "Pro", "Smith", "needle", SECRET, sign(body).decode(), "forged"]
    assert [word for word in words if word.encode() in logged] == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_tls_versions(version: ssl.TLSVersion, server: Server) -> None:
    server.client.minimum_version = server.client.maximum_version = version
    try:
        assert server.post(BODY, SIGNED).status == 200
    finally:
        server.client.minimum_version, server.client.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def test_a_handler_begins_with_what_tornado_gives_it() -> None:
    """All but the fields, of which only the one is there that keeps Tornado from making it."""
    begun = [object.__new__(RequestHandler), object.__new__(ReplyHandler)]
    for handler in begun:
        handler.clear()
    theirs, ours = map(vars, begun)
    assert {"Server", "Content-Type", "Date"} == set(theirs["_headers"])
    assert theirs | {"_headers": {"Content-Length": "0"}} == ours | {"_headers": dict(ours["_headers"])}
