"""The first difference between two bodies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.replay.difference import first_difference


@pytest.mark.parametrize(
    ("expected", "received", "words"),
    [
        (b"<p>Plan</p><b>Gone</b>", b"<p>Plan</p><b>Pro</b>", 'at byte 15: received "Pro</b>", expected "Gone</b>"'),
        (b"<b>Professional", b"<b>Pro", 'at byte 7: received "Pro", expected "Professional"'),
        (b"card", b"", 'at byte 1: received the end, expected "card"'),
        (b"", b"card", 'at byte 1: received "card", expected the end'),
        ("<b>Käte".encode(), "<b>Köte".encode(), 'at byte 6: received "Köte", expected "Käte"'),
        (b"<b>ann@example.com!", b"<b>bob@example.com!", f'at byte 4: received "{"*" * 16}", expected "{"*" * 16}"'),
        (b"x" * 500 + b"a", b"x" * 500 + b"b", f'at byte 501: received "{"x" * 24}b", expected "{"x" * 24}a"'),
        (b"\x1b[31m" + b"a" * 99, b"\x1b[31m" + b"b" * 99,
         f'at byte 6: received "\ufffd[31m{"b" * 35}", expected "\ufffd[31m{"a" * 35}"'),
    ],
    ids=["value", "longer", "empty", "more", "half a letter", "address", "far", "controls"],
)  # fmt: skip
def test_the_first_difference(expected, received, words):
    assert first_difference(expected, received) == words


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_a_difference_fits_a_line(expected, received):
    words = first_difference(expected, received)
    assert words.isprintable()
    assert len(words) < 150
