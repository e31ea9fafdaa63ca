"""A head that is known is read as llhttp reads it, and everything else is left to llhttp."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.edge.known_head import KnownHead, learn
from appliance.edge.request_parser import BYTES_PER_TURN, RequestParser
from appliance.edge.requests import SignedPost
from tests.edge.cases import BODY, GET, HOST, POST, SIGNATURE, SIGNED, post
from tests.edge.test_request_parser import ROUTES, parse
from tests.edge.wire import watch
from tests.factory import body_for, sign

LINE = b"POST /helpscout HTTP/1.1\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
PRIMED = [POST, POST]  # its Host is checked; it needs no check, and becomes known
OTHERS = [body_for("bob@example.org"), b"{}", b"", b"x" * 99, b"x" * 1000]


def request(*fields: bytes, body: bytes = BODY) -> bytes:
    return LINE + b"".join(fields) + b"\r\n" + body


LEARNED = {
    "signature first": request(HOST, SIGNATURE, LENGTH),
    "length first": request(HOST, LENGTH, SIGNATURE),
    "fields around them": request(b"A: %d\r\n", HOST, SIGNATURE, b"B: {}\r\n", LENGTH, b"C: \xff\r\n"),
    "other spellings": request(HOST, SIGNATURE.lower().replace(SIGNED.lower(), SIGNED), LENGTH.upper()),
    "white space": request(HOST, SIGNATURE[:-2] + b" \t\r\n", LENGTH.replace(b" ", b"\t ")),
    "none around the length": request(HOST, SIGNATURE, LENGTH.replace(b" ", b"")),
}

NOT_LEARNED = {
    "its signature twice": request(HOST, SIGNATURE, b"X-Copy: " + SIGNED + b"\r\n", LENGTH),
    "no length": request(HOST, SIGNATURE, body=b""),
    "two lengths, one after the other": request(HOST, SIGNATURE, LENGTH, LENGTH),
    "two lengths": request(HOST, LENGTH, SIGNATURE, LENGTH),
    "a length in the target": request(HOST, SIGNATURE, b"Content-Lengths: 1\r\n"),
}


@pytest.mark.parametrize("raw", LEARNED.values(), ids=LEARNED)
def test_what_is_learned_is_recognised_with_any_body(raw: bytes) -> None:
    known = learn(raw, SIGNED)
    assert known is not None
    assert known.split(raw) == (SIGNED, BODY)
    for body in OTHERS:
        head = raw.removesuffix(BODY).replace(SIGNED, sign(body))
        head = re.sub(rb"(?i)(content-length:\s*)\d+", rb"\g<1>%d" % len(body), head)
        assert known.split(head + body) == (sign(body), body)


@pytest.mark.parametrize("raw", NOT_LEARNED.values(), ids=NOT_LEARNED)
def test_what_is_not_clear_is_not_learned(raw: bytes) -> None:
    assert learn(raw, SIGNED) is None


@pytest.mark.parametrize("value", [b"", b"short", b"long enough, but no base64"], ids=["empty", "short", "other text"])
def test_a_value_that_is_no_signature_is_not_learned(value: bytes) -> None:
    assert learn(request(HOST, b"X-HelpScout-Signature: " + value + b"\r\n", LENGTH), value) is None


DIFFERENT = {
    "another field": post(b"A: b\r\n"),
    "a field less": request(SIGNATURE, LENGTH),
    "another spelling": POST.replace(b"Host", b"host"),
    "a shorter signature": POST.replace(SIGNED, SIGNED[1:]),
    "a longer signature": POST.replace(SIGNED, SIGNED + b"="),
    "CR in the signature": POST.replace(SIGNED, SIGNED[:9] + b"\r" + SIGNED[10:]),
    "a field in the signature": POST.replace(SIGNED, b"x\r\nTransfer-Encoding:chunked"),
    "NUL in the signature": POST.replace(SIGNED, b"\0" + SIGNED[1:]),
    "leading zero": POST.replace(b"Length: ", b"Length: 0"),
    "sign": POST.replace(b"Length: ", b"Length: +"),
    "no digits": POST.replace(LENGTH, b"Content-Length: \r\n"),
    "a byte too many": POST + b"x",
    "a byte too few": POST[:-1],
    "the head alone": POST[: -len(BODY)],
    "another behind it": POST + POST,
    "an empty line before it": b"\r\n" + POST,
    "nothing": b"",
}


@pytest.mark.parametrize("raw", DIFFERENT.values(), ids=DIFFERENT)
def test_what_differs_is_not_recognised(raw: bytes) -> None:
    known = learn(POST, SIGNED)
    assert known is not None
    assert known.split(raw) is None


class TestTheParser:
    @pytest.fixture
    def parser(self) -> RequestParser:
        parser = RequestParser(ROUTES)
        for raw in PRIMED:
            assert type(parser.feed(raw)) is SignedPost
        return parser

    @pytest.fixture
    def fed(self, parser: RequestParser, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        return watch(parser, monkeypatch)

    def test_does_not_parse_what_is_known(self, parser: RequestParser, fed: list[int]) -> None:
        for body in OTHERS:
            assert parser.feed(post(body=body)) == SignedPost(ROUTES[b"/helpscout"], body, sign(body), "1.1", True)
        assert (fed, parser.kept, parser.begun) == ([], b"", False)

    def test_looks_at_one_read_of_a_client_in_vain(
        self, parser: RequestParser, fed: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert type(parser.feed(post(b"X-Request-Id: 1\r\n"))) is SignedPost
        monkeypatch.setattr(KnownHead, "split", None)
        assert type(parser.feed(post(b"X-Request-Id: 2\r\n"))) is SignedPost
        assert sum(fed) == 2 * len(post(b"X-Request-Id: 1\r\n"))

    def test_parses_on_where_it_was_after_what_was_known(self, parser: RequestParser) -> None:
        assert type(parser.feed(POST)) is SignedPost
        assert parser.feed(POST[:-1]) is None
        assert parser.begun
        assert type(parser.feed(POST[-1:] + GET)) is SignedPost
        assert parser.kept == GET

    def test_knows_no_head_with_which_a_connection_ends(self) -> None:
        parser, last = RequestParser(ROUTES), post(b"Connection: close\r\n")
        events = [parser.feed(raw) for raw in (POST, last, last)]
        assert [event.keeps for event in events if isinstance(event, SignedPost)] == [True, False]

    def test_learns_from_a_request_with_another_behind_it(self, fed: list[int]) -> None:
        parser = RequestParser(ROUTES)
        for raw in (POST, POST + GET, b""):
            parser.feed(raw)
        assert parser.feed(POST) == SignedPost(ROUTES[b"/helpscout"], BODY, SIGNED, "1.1", True)

    @pytest.mark.parametrize("size", [10, BYTES_PER_TURN], ids=["less than a share", "more"])
    def test_knows_which_app_a_head_is_for(self, size: int) -> None:
        other = post(line=b"POST /other HTTP/1.1\r\n", body=b"x" * size)
        events = parse([*PRIMED, other, POST])
        assert [getattr(event, "route", None) for event in events[-2:]] == [ROUTES[b"/other"], ROUTES[b"/helpscout"]]

    def test_leaves_more_than_a_share_to_slices(self, parser: RequestParser) -> None:
        assert parser.feed(post(body=b"x" * BYTES_PER_TURN)) is None
        assert parser.begun


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("new", [b"", b"\r", b"\n", b"\r\n", b"\0", b" ", b"0", b"=", b"\xff"], ids=repr)
def test_every_byte_of_the_head_changed_means_the_same(new: bytes) -> None:
    changed = [POST[:at] + new + POST[at + 1 :] for at in range(len(POST) - len(BODY) + 2)]
    pieces = [[raw[:1], raw[1:]] for raw in changed]
    assert [
        raw
        for raw, cut in zip(changed, pieces, strict=True)
        if parse([*PRIMED, raw, POST]) != parse([*PRIMED, *cut, POST])
    ] == []


@given(
    st.lists(st.tuples(st.integers(0, len(POST)), st.integers(0, 30), st.binary(max_size=40)), max_size=3),
    st.sampled_from([*LEARNED.values(), *NOT_LEARNED.values()]),
)
def test_what_is_damaged_means_the_same(edits: list[tuple[int, int, bytes]], first: bytes) -> None:
    raw = first
    for at, removed, added in edits:
        raw = raw[:at] + added + raw[at + removed :]
    assert parse([first, first, raw, first]) == parse([first, first, raw[:1], raw[1:], first])
