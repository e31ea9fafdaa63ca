"""Responses as bytes."""

from __future__ import annotations

import pytest

from appliance.edge.refusals import Refusal
from appliance.edge.response import CLOSE, KEEP, KEEP_ALIVE, ResponseEncoder
from appliance.outcomes import CARD_STATUS, Response

CARD = Response(CARD_STATUS, b'{"html":""}', "application/json; charset=utf-8")


@pytest.fixture
def encoder() -> ResponseEncoder:
    return ResponseEncoder(1_790_000_000.0)


@pytest.mark.parametrize(
    ("connection", "field"),
    [(KEEP, b""), (CLOSE, b"Connection: close\r\n"), (KEEP_ALIVE, b"Connection: keep-alive\r\n")],
    ids=["keep", "close", "keep-alive"],
)
def test_a_card(connection: bytes, field: bytes, encoder: ResponseEncoder) -> None:
    assert encoder.encode(CARD, connection) == (
        b"HTTP/1.1 200 OK\r\n"
        b"Content-Type: application/json; charset=utf-8\r\n"
        b"Date: Mon, 21 Sep 2026 14:13:20 GMT\r\n"
        b"Cache-Control: no-store\r\n"
        b"Content-Length: 11\r\n" + field + b'\r\n{"html":""}'
    )


@pytest.mark.parametrize("refusal", Refusal, ids=lambda refusal: refusal.name)
def test_a_refusal(refusal: Refusal, encoder: ResponseEncoder) -> None:
    response = refusal.reply.response
    head, _, body = encoder.encode(response, CLOSE).partition(b"\r\n\r\n")
    assert body == response.body
    lines = head.decode().split("\r\n")
    assert lines[0].startswith(f"HTTP/1.1 {response.status} ")
    assert {f"{name}: {value}" for name, value in response.headers} <= set(lines)
    assert encoder.encode(response, CLOSE, without_body=True) == head + b"\r\n\r\n"


def test_no_kind_of_response_is_taken_for_another(encoder: ResponseEncoder) -> None:
    others = [
        CARD,
        Response(CARD_STATUS, CARD.body, "text/html"),
        Response(CARD_STATUS, CARD.body, CARD.content_type, (("Allow", "POST"),)),
        Response(500, CARD.body, CARD.content_type),
        Response(500, CARD.body, "text/html"),
    ]
    first = [encoder.encode(response, KEEP) for response in others]
    assert len(set(first)) == len(others)
    assert [encoder.encode(response, KEEP) for response in others] == first


def test_every_response_has_the_date_of_its_second(encoder: ResponseEncoder) -> None:
    encoder.encode(CARD, KEEP)
    encoder.set_date(1_790_000_001.0)
    assert b"\r\nDate: Mon, 21 Sep 2026 14:13:21 GMT\r\n" in encoder.encode(CARD, KEEP)
