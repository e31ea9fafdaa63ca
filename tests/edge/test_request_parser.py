"""The parser alone: bytes in, requests and refusals out, wherever the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.edge.refusals import MAX_HEADER_BYTES, Refusal
from appliance.edge.request_parser import CONTINUE, SHARE, Request, RequestParser
from tests.edge.cases import CASES, GET, chunked, chunks, post


def parse(pieces):
    """Give all that the parser says of these pieces, up to the first refusal."""
    parser, events = RequestParser({}), []
    for piece in pieces:
        event = parser.feed(piece)
        while event is not None or parser.kept:
            events += [event] if event is not None else []
            if isinstance(event, Refusal):
                return events
            event = parser.feed(b"")
    return events


def cut(raw, places):
    ends = sorted({place % (len(raw) + 1) for place in places})
    return [raw[begin:end] for begin, end in zip([0, *ends], [*ends, len(raw)], strict=True)]


def test_one_at_a_time():
    parser = RequestParser({})
    assert type(parser.feed(GET * 2)) is Request
    assert parser.kept == GET
    assert not parser.begun
    assert type(parser.feed(b"")) is Request
    assert parser.kept == b""
    assert parser.feed(b"") is None


def test_a_share_at_a_time():
    parser, raw = RequestParser({}), post(body=b"x" * 20_000)
    assert parser.feed(raw) is None
    assert parser.kept == raw[SHARE:]
    assert parser.begun


def test_continue_comes_before_the_body():
    parser = RequestParser({})
    raw = post(b"Expect: 100-continue\r\n")
    assert parser.feed(raw) is CONTINUE
    assert parser.kept == raw[raw.index(b"\r\n\r\n") + 4 :]
    assert type(parser.feed(b"")) is Request


def test_bytes_that_come_while_nothing_is_parsed_are_kept_in_order():
    parser = RequestParser({})
    parser.feed(GET + GET[:9])
    parser.keep(GET[9:])
    assert type(parser.feed(b"")) is Request
    assert parser.kept == b""


def test_nothing_is_parsed_after_the_end():
    parser = RequestParser({})
    parser.feed(GET + GET)
    parser.end()
    parser.keep(GET)
    assert (parser.feed(GET), parser.kept) == (None, b"")


@pytest.mark.parametrize("size", [1, 1000, SHARE, MAX_HEADER_BYTES, 20_000])
@pytest.mark.parametrize(("more", "expected"), [(0, Request), (2, Refusal)], ids=["just right", "too much"])
def test_empty_lines_before_a_head_count(size, more, expected):
    raw = b"\r\n" * ((MAX_HEADER_BYTES - len(GET) + more) // 2) + GET
    assert [type(event) for event in parse([raw[at : at + size] for at in range(0, len(raw), size)])] == [expected]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 100, SHARE - 1, SHARE, SHARE + 1, 10_000])
def test_empty_lines_within_bodies(size):
    """A piece may end at each of them; a request ends where its framing says."""
    raw = (
        GET
        + chunked(b"6\r\n\r\n\r\n\r\n\r\n3\r\n0\r\n\r\n0\r\nA: b\r\n\r\n")
        + b"\r\n\r\n"
        + post(body=b"\r\n\r\n" * 3000)
        + GET
    )
    events = parse([raw[at : at + size] for at in range(0, len(raw), size)])
    assert [(event.method, event.body) for event in events] == [
        (b"GET", b""),
        (b"POST", b"\r\n\r\n\r\n0\r\n"),
        (b"POST", b"\r\n\r\n" * 3000),
        (b"GET", b""),
    ]


@given(
    st.lists(st.sampled_from([case.raw for case in CASES if len(case.raw) < 2000]), min_size=1, max_size=4),
    st.lists(st.integers(0, 8000), max_size=6),
)
def test_where_it_is_cut_does_not_matter(raws, places):
    raw = b"".join(raws)
    assert parse(cut(raw, places)) == parse([raw])


_BITS = st.sampled_from(
    [
        *(b"\r\n", b"\r", b"\n", b" ", b":", b"0", b"5", b"\0", b"GET ", b"/ HTTP/1.1\r\n", b"Host: a\r\n"),
        *(b"POST /helpscout HTTP/1.1\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
        *(b"Connection: close\r\n", chunks(b"abc"), GET),
    ]
)


@given(st.lists(st.one_of(_BITS, st.binary(max_size=8)), max_size=30), st.lists(st.integers(0, 500), max_size=4))
def test_no_bytes_are_a_bug(bits, places):
    """Whatever comes is a request, a refusal, or not yet either; and nothing of it depends on the cut."""
    raw = b"".join(bits)
    whole = parse([raw])
    assert parse(cut(raw, places)) == whole
    assert all(isinstance(event, Request | Refusal) or event is CONTINUE for event in whole)
