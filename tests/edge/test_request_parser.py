"""The parser alone: bytes in, requests and refusals out, wherever the bytes are cut."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.edge.refusals import MAX_HEADER_BYTES, Refusal
from appliance.edge.request_parser import BYTES_PER_TURN, RequestParser
from appliance.edge.requests import CONTINUE, Event, Request, SignedPost
from appliance.edge.routes import Route
from appliance.outcomes import Reply
from appliance.sidebar.protocols.base import BAD_SIGNATURE
from tests.edge.cases import BODY, CASES, GET, POST, SIGNED, Case, chunked, chunks, post
from tests.edge.wire import watch

ROUTES = {
    path: Route(lambda request: BAD_SIGNATURE, path.decode(), b"x-helpscout-signature", b"POST %b HTTP/1.1\r\n" % path)
    for path in (b"/helpscout", b"/other")
}


def parse(pieces: Iterable[bytes], routes: dict[bytes, Route] = ROUTES) -> list[Event]:
    """Return all that the parser says of these pieces, up to what ends the connection."""
    parser = RequestParser(routes)
    events: list[Event] = []
    for piece in pieces:
        event = parser.feed(piece)
        while event is not None or parser.kept:
            events += [event] if event is not None else []
            if isinstance(event, Refusal) or not getattr(event, "keeps", True):
                return events
            event = parser.feed(b"") if parser.kept else None  # as a connection does: a head that is known stays so
    return events


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(raw) + 1) for place in places})
    return [raw[begin:end] for begin, end in zip([0, *ends], [*ends, len(raw)], strict=True)]


ALL = [pytest.param(case, id=case.id) for case in CASES]
BY_PARSER = {Refusal.BAD_REQUEST, Refusal.UNSUPPORTED, Refusal.HEADERS_TOO_LARGE, Refusal.BODY_TOO_LARGE}


@pytest.mark.parametrize("case", ALL)
def test_the_table(case: Case) -> None:
    """A case is so many requests, then perhaps a refusal. What a target means is left to Tornado's adapter."""
    events = parse([case.raw])
    assert events.count(CONTINUE) == case.continues
    requests = [event for event in events if event is not CONTINUE][: len(case.answers)]
    assert len(requests) == len(case.answers)
    for event, answer in zip(requests, case.answers, strict=True):
        assert event is answer or isinstance(event, Request | SignedPost)
        assert isinstance(event, SignedPost) or not isinstance(answer, Reply)
        if answer in BY_PARSER and isinstance(event, Request):
            assert not event.target.startswith((b"/", b"*"))


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("case", ALL)
def test_every_cut(case: Case) -> None:
    """In two at every place, byte by byte, in pieces of the sizes at which something ends; alone, and after others."""
    raw, whole = case.raw, parse([case.raw])
    size = len(raw)
    if size < 2000:
        assert [at for at in range(1, size) if parse([raw[:at], raw[at:]]) != whole] == []
        sizes = [1, 7]
    else:
        sizes = [1000, BYTES_PER_TURN, BYTES_PER_TURN + 1, MAX_HEADER_BYTES, MAX_HEADER_BYTES + 1, 64 * 1024]
    assert [step for step in sizes if parse([raw[at : at + step] for at in range(0, size, step)]) != whole] == []
    before = parse([POST, POST])
    assert parse([POST, POST, raw]) == parse([POST + POST + raw]) == [*before, *whole]


def test_one_at_a_time() -> None:
    parser = RequestParser({})
    assert type(parser.feed(GET * 2)) is Request
    assert parser.kept == GET
    assert not parser.begun
    assert type(parser.feed(b"")) is Request
    assert parser.kept == b""
    assert parser.feed(b"") is None


def test_a_share_at_a_time() -> None:
    parser, raw = RequestParser({}), post(body=b"x" * 20_000)
    assert parser.feed(raw) is None
    assert parser.kept == raw[BYTES_PER_TURN:]
    assert parser.begun


def test_continue_comes_before_the_body() -> None:
    parser = RequestParser({})
    raw = post(b"Expect: 100-continue\r\n")
    assert parser.feed(raw) is CONTINUE
    assert parser.kept == raw[raw.index(b"\r\n\r\n") + 4 :]
    assert type(parser.feed(b"")) is Request


def test_bytes_that_come_while_nothing_is_parsed_are_kept_in_order() -> None:
    parser = RequestParser({})
    parser.feed(GET + GET[:9])
    parser.keep(GET[9:])
    assert type(parser.feed(b"")) is Request
    assert parser.kept == b""


def test_nothing_is_parsed_after_the_end() -> None:
    parser = RequestParser({})
    parser.feed(GET + GET)
    parser.end()
    parser.keep(GET)
    assert (parser.feed(GET), parser.kept) == (None, b"")


@pytest.mark.parametrize("size", [1, 1000, BYTES_PER_TURN, MAX_HEADER_BYTES, 20_000])
@pytest.mark.parametrize(("more", "expected"), [(0, Request), (2, Refusal)], ids=["just right", "too much"])
def test_empty_lines_before_a_head_count(size: int, more: int, expected: type) -> None:
    raw = b"\r\n" * ((MAX_HEADER_BYTES - len(GET) + more) // 2) + GET
    assert [type(event) for event in parse([raw[at : at + size] for at in range(0, len(raw), size)])] == [expected]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 100, BYTES_PER_TURN - 1, BYTES_PER_TURN, BYTES_PER_TURN + 1, 10_000])
def test_empty_lines_within_bodies(size: int) -> None:
    """A piece may end at each of them; a request ends where its framing says."""
    raw = (
        GET
        + chunked(b"6\r\n\r\n\r\n\r\n\r\n3\r\n0\r\n\r\n0\r\nA: b\r\n\r\n")
        + b"\r\n\r\n"
        + post(body=b"\r\n\r\n" * 3000)
        + GET
    )
    events = parse([raw[at : at + size] for at in range(0, len(raw), size)], {})
    assert [(event.method, event.body) for event in events if isinstance(event, Request)] == [
        (b"GET", b""),
        (b"POST", b"\r\n\r\n\r\n0\r\n"),
        (b"POST", b"\r\n\r\n" * 3000),
        (b"GET", b""),
    ]


class TestReadsOfOneClient:
    """What comes after requests whose head has become known means what it means on a new connection, in pieces."""

    @pytest.fixture
    def parser(self) -> RequestParser:
        parser = RequestParser(ROUTES)
        for _ in range(2):  # the first Host is checked, the second is the same
            assert type(parser.feed(POST)) is SignedPost
        return parser

    @pytest.mark.parametrize("size", [30, 100, len(POST) - len(BODY), len(POST) - 1])
    def test_in_two_reads(self, size: int, parser: RequestParser) -> None:
        assert parser.feed(POST[:size]) is None
        assert parser.feed(POST[size:] + GET) == SignedPost(ROUTES[b"/helpscout"], BODY, SIGNED, "1.1", True)
        assert parser.kept == GET

    @pytest.mark.parametrize("more", [POST, GET, b"G", b"\0"], ids=["POST", "GET", "a byte", "garbage"])
    def test_nothing_behind_it_counts(self, more: bytes, parser: RequestParser) -> None:
        assert type(parser.feed(POST + more)) is SignedPost
        assert parser.kept == more

    def test_no_byte_is_parsed_twice(self, parser: RequestParser, monkeypatch: pytest.MonkeyPatch) -> None:
        fed = watch(parser, monkeypatch)
        for number in range(5):
            assert type(parser.feed(POST * 2)) is type(parser.feed(b"")) is SignedPost
            assert sum(fed) == len(POST) * 2 * (number + 1)

    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param(post(host=b"Host: another\r\n"), id="another Host"),
            pytest.param(post(line=b"POST /helpscout HTTP/1.0\r\n"), id="another version"),
            pytest.param(post(line=b"POST /other HTTP/1.1\r\n"), id="another app"),
            pytest.param(chunked(chunks()), id="chunked"),
            pytest.param(post(b"Expect: 100-continue\r\n"), id="Expect"),
            pytest.param(post(b"Upgrade: h2c\r\n"), id="Upgrade"),
            pytest.param(post(b"Connection: close\r\n") + b"more", id="the last"),
            pytest.param(post(b"a:\r\n" * 300), id="300 fields"),
            pytest.param(post(b"a\r\n"), id="no colon"),
            pytest.param(post(b"Content-Length: 9\r\n"), id="two lengths"),
            pytest.param(post(body=b""), id="no body"),
            pytest.param(post(body=b"x" * 2 * BYTES_PER_TURN), id="more than a share"),
            pytest.param(b"\r\n" + POST, id="an empty line"),
            pytest.param(b"\r\n" * (MAX_HEADER_BYTES // 2) + POST, id="8192 empty lines"),
            pytest.param(GET + POST, id="another between"),
            pytest.param(POST[:30] + b"\0" + POST[30:], id="NUL"),
        ],
    )
    def test_what_differs_means_the_same(self, raw: bytes) -> None:
        pieces = [raw[at : at + 7] for at in range(0, len(raw), 7)]
        assert parse([POST, POST, raw, POST]) == parse([POST, POST, *pieces, POST])

    @given(st.lists(st.tuples(st.integers(0, len(POST)), st.integers(0, 4), st.binary(max_size=4)), max_size=3))
    def test_what_is_damaged_means_the_same(self, edits: list[tuple[int, int, bytes]]) -> None:
        raw = POST
        for at, removed, added in edits:
            raw = raw[:at] + added + raw[at + removed :]
        assert parse([POST, POST, raw, POST]) == parse([POST, POST, raw[:1], raw[1:], POST])

    def test_a_bug_is_raised(self, parser: RequestParser, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(parser: RequestParser, route: Route) -> bool:
            raise ZeroDivisionError

        monkeypatch.setattr(RequestParser, "_note_fields", fail)
        with pytest.raises(ZeroDivisionError):
            parser.feed(POST + POST)


@given(
    st.lists(st.sampled_from([case.raw for case in CASES if len(case.raw) < 2000]), min_size=1, max_size=4),
    st.lists(st.integers(0, 8000), max_size=6),
)
def test_where_it_is_cut_does_not_matter(raws: list[bytes], places: list[int]) -> None:
    raw = b"".join(raws)
    assert parse(cut(raw, places)) == parse([raw]) == parse(raws)


_BITS = st.sampled_from(
    [
        *(b"\r\n", b"\r", b"\n", b" ", b":", b"0", b"5", b"\0", b"GET ", b"/ HTTP/1.1\r\n", b"Host: a\r\n"),
        *(b"POST /helpscout HTTP/1.1\r\n", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"),
        *(b"Connection: close\r\n", chunks(b"abc"), GET),
    ]
)


@given(st.lists(st.one_of(_BITS, st.binary(max_size=8)), max_size=30), st.lists(st.integers(0, 500), max_size=4))
def test_no_bytes_are_a_bug(bits: list[bytes], places: list[int]) -> None:
    """Whatever comes is a request, a refusal, or not yet either; and nothing of it depends on the cut."""
    raw = b"".join(bits)
    whole = parse([raw])
    assert parse(cut(raw, places)) == whole
    assert all(isinstance(event, Request | SignedPost | Refusal) or event is CONTINUE for event in whole)
