"""Lines of a corpus: what is read, and what is said of what is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.replay.corpus_line import (
    HEADER,
    MAX_ERRORS,
    CorpusError,
    CorpusLine,
    CorpusRequest,
    read_lines,
    write_line,
)


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ('{"body":"x"}', CorpusRequest("", b"x", HEADER, None, None, 1)),
        ('{"body":"é"}', CorpusRequest("", "é".encode(), HEADER, None, None, 1)),
        ('{"body":""}', CorpusRequest("", b"", HEADER, None, None, 1)),
        ('{"body_base64":"/wA="}', CorpusRequest("", b"\xff\0", HEADER, None, None, 1)),
        (
            '{"path":"/h?a=b","body":"x","header":"X-FreeScout-Signature","signature":"abc=","expect":403}',
            CorpusRequest("/h?a=b", b"x", "X-FreeScout-Signature", "abc=", 403, 1),
        ),
        ('{"method":"GET","path":"/h?a=b"}', CorpusRequest("/h?a=b", b"", HEADER, None, None, 1, method="GET")),
        (
            '{"method":"POST","body":"{}","event":"customer.updated","signature":"abc="}',
            CorpusRequest("", b"{}", HEADER, "abc=", None, 1, event="customer.updated"),
        ),
    ],
    ids=["body", "not ASCII", "empty", "bytes", "all", "page", "webhook"],
)
def test_read(line, request_):
    assert read_lines("file", [line.encode()]) == (request_,)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nonsense", "is not a request: JSON is malformed"),
        ("[]", "is not a request: Expected `object`, got `array`"),
        ('{"body":"x","expect":"200"}', "is not a request: Expected `int | null`, got `str`"),
        ('{"body":"x","exepct":200}', "is not a request: Object contains unknown field `exepct`"),
        ('{"\\u001b]0;title\\u0007":1}', "is not a request: Object contains unknown field `\\x1b]0;title\\x07`"),
        ('{"body":"x"', "is not a request: Input data was truncated"),
        ("{}", 'must have either "body" or "body_base64"'),
        ('{"body":"x","body_base64":""}', 'must have either "body" or "body_base64"'),
        ('{"body_base64":"a"}', '"body_base64" is not base64; encode the bytes'),
        ('{"body":"x","path":"helpscout"}', '"path" is not a path; begin it with "/"'),
        ('{"body":"x","path":"/a b"}', '"path" is not a path'),
        ('{"body":"x","path":"/\\r\\nX: y"}', '"path" is not a path'),
        ('{"body":"x","header":"X: y"}', '"header" is not the name of a header'),
        ('{"body":"x","signature":"a\\r\\nb"}', '"signature" cannot be sent in a header'),
        ('{"body":"x","signature":"ä"}', '"signature" cannot be sent in a header'),
        ('{"body":"x","method":"HEAD"}', '"method" is neither GET, for a page, nor POST; write one of them'),
        ('{"body":"x","method":"GET /"}', '"method" is neither GET'),
        ('{"body":"","method":"GET"}', 'has both "method" GET and a body or signature; a page is signed in the query'),
        ('{"body_base64":"","method":"GET"}', 'has both "method" GET and a body'),
        ('{"signature":"x","method":"GET"}', 'has both "method" GET and a body or signature'),
        ('{"body":"x","event":"a\\r\\nb: c"}', '"event" is not the name of an event; write one such as customer.up'),
        ('{"body":"x","expect":99}', '"expect" is not a status; write a number such as 200'),
    ],
)
def test_a_fault_says_where_and_what_to_do(line, why):
    with pytest.raises(CorpusError) as caught:
        read_lines("corpus.jsonl", [b'{"body":"good"}\n', b"\n", line.encode()])
    assert str(caught.value).startswith(f"corpus.jsonl:3: {why}")
    assert ";" in str(caught.value) or "either" in str(caught.value)


def test_every_fault_is_said_up_to_a_number():
    with pytest.raises(CorpusError) as caught:
        read_lines("f", [b"x\n"] * 100)
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"f:{number}" for number in range(1, MAX_ERRORS + 1)]


@pytest.mark.parametrize("lines", [[], [b"\n", b" \r\n"]], ids=["empty", "blank lines"])
def test_an_empty_file(lines):
    with pytest.raises(CorpusError, match="f:1: contains no request; make some with sidebard requests"):
        read_lines("f", lines)


paths = st.one_of(st.just(""), st.from_regex(r"/[!-~]*", fullmatch=True))
visible = st.text(st.characters(min_codepoint=32, max_codepoint=126))


@given(paths, st.text(), visible, st.one_of(st.none(), st.integers(100, 599)))
def test_what_is_written_is_read(path, body, signature, expect):
    written = write_line(CorpusLine(path=path, body=body, signature=signature, expect=expect))
    assert written.count(b"\n") == 1
    assert read_lines("f", [written]) == (CorpusRequest(path, body.encode(), HEADER, signature, expect, 1),)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
nearly = st.dictionaries(
    st.sampled_from(["path", "body", "body_base64", "header", "signature", "expect", "method", "event"]), json_values
)


@given(st.one_of(st.binary(), nearly.map(lambda value: json.dumps(value).encode())))
def test_any_bytes_are_read_or_refused(line):
    """And whatever is read can be sent: it breaks no header."""
    try:
        requests = read_lines("f", [line])
    except CorpusError:
        return
    head = f"{requests[0].path}{requests[0].header}{requests[0].signature}{requests[0].method}{requests[0].event}"
    assert head.isascii()
    assert head.isprintable()
