"""Lines of a corpus: what is read, and what is said of what is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.replay.line import HEADER, MAX_FAULTS, Line, LineFaults, Request, read_lines, write_line


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ('{"body":"x"}', Request("", b"x", HEADER, None, None, 1)),
        ('{"body":"é"}', Request("", "é".encode(), HEADER, None, None, 1)),
        ('{"body":""}', Request("", b"", HEADER, None, None, 1)),
        ('{"body_base64":"/wA="}', Request("", b"\xff\0", HEADER, None, None, 1)),
        (
            '{"path":"/h?a=b","body":"x","header":"X-FreeScout-Signature","signature":"abc=","expect":403}',
            Request("/h?a=b", b"x", "X-FreeScout-Signature", "abc=", 403, 1),
        ),
    ],
    ids=["body", "not ASCII", "empty", "bytes", "all"],
)
def test_read(line, request_):
    assert read_lines("file", [line.encode()]) == (request_,)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nonsense", "not such a line: JSON is malformed"),
        ("[]", "not such a line: Expected `object`, got `array`"),
        ('{"body":"x","expect":"200"}', "not such a line: Expected `int | null`, got `str`"),
        ('{"body":"x","exepct":200}', "not such a line: Object contains unknown field `exepct`"),
        ('{"\\u001b]0;title\\u0007":1}', "not such a line: Object contains unknown field `\\x1b]0;title\\x07`"),
        ('{"body":"x"', "not such a line: Input data was truncated"),
        ("{}", 'name either "body" or "body_base64"'),
        ('{"body":"x","body_base64":""}', 'name either "body" or "body_base64"'),
        ('{"body_base64":"a"}', '"body_base64" is no base64; encode the body'),
        ('{"body":"x","path":"helpscout"}', '"path" is no path; begin it with "/"'),
        ('{"body":"x","path":"/a b"}', '"path" is no path'),
        ('{"body":"x","path":"/\\r\\nX: y"}', '"path" is no path'),
        ('{"body":"x","header":"X: y"}', '"header" is no name of a header'),
        ('{"body":"x","signature":"a\\r\\nb"}', '"signature" cannot stand in a header'),
        ('{"body":"x","signature":"ä"}', '"signature" cannot stand in a header'),
        ('{"body":"x","expect":99}', '"expect" is no status; write a number such as 200'),
    ],
)
def test_a_fault_says_where_and_what_to_do(line, why):
    with pytest.raises(LineFaults) as caught:
        read_lines("corpus.jsonl", [b'{"body":"good"}\n', b"\n", line.encode()])
    assert str(caught.value).startswith(f"corpus.jsonl:3: {why}")
    assert ";" in str(caught.value) or "either" in str(caught.value)


def test_every_fault_is_said_up_to_a_number():
    with pytest.raises(LineFaults) as caught:
        read_lines("f", [b"x\n"] * 100)
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"f:{number}" for number in range(1, MAX_FAULTS + 1)]


@pytest.mark.parametrize("lines", [[], [b"\n", b" \r\n"]])
def test_an_empty_file(lines):
    with pytest.raises(LineFaults, match="f:1: there is no request; make some with sidebard requests"):
        read_lines("f", lines)


paths = st.one_of(st.just(""), st.from_regex(r"/[!-~]*", fullmatch=True))
visible = st.text(st.characters(min_codepoint=32, max_codepoint=126))


@given(paths, st.text(), visible, st.one_of(st.none(), st.integers(100, 599)))
def test_what_is_written_is_read(path, body, signature, expect):
    written = write_line(Line(path=path, body=body, signature=signature, expect=expect))
    assert written.count(b"\n") == 1
    assert read_lines("f", [written]) == (Request(path, body.encode(), HEADER, signature, expect, 1),)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
nearly = st.dictionaries(st.sampled_from(["path", "body", "body_base64", "header", "signature", "expect"]), json_values)


@given(st.one_of(st.binary(), nearly.map(lambda value: json.dumps(value).encode())))
def test_any_bytes_are_read_or_refused(line):
    """And whatever is read can be sent: it breaks no header."""
    try:
        requests = read_lines("f", [line])
    except LineFaults:
        return
    head = f"{requests[0].path}{requests[0].header}{requests[0].signature}"
    assert head.isascii()
    assert head.isprintable()
