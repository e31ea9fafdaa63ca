"""What is read of the cells in which people and programs write addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.customers.address import normalise
from appliance.customers.address_cell import read_cell

ADA, BOB = "ada@example.com", "bob@example.org"
ATEXT = "abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~"

UNDERSTOOD = {
    "one": (ADA, [ADA]),
    "nothing": ("", []),
    "white space": (" \u00a0\t", []),
    "separators alone": (" ; ,", []),
    "spaces between": (f"{ADA} {BOB}", [ADA, BOB]),
    "a semicolon at the end": (f"{ADA};", [ADA]),
    "commas and line ends": (f"{ADA},\r\n{BOB}", [ADA, BOB]),
    "a link": (f"mailto:{ADA}", [ADA]),
    "a link in capitals": (f"MAILTO:{ADA.upper()}", [ADA]),
    "a link with slashes": (f"mailto://{ADA}", [ADA]),
    "a link with a subject": (f"mailto:{ADA}?subject=Hello%20you", [ADA]),
    "a link with escapes": ("mailto:ada%2Bx%40example.com", ["ada+x@example.com"]),
    "a link with a space": (f"mailto: {ADA}", [ADA]),
    "links": (f"mailto:{ADA} mailto:{BOB}", [ADA, BOB]),
    "Exchange": (f"SMTP:{ADA};smtp:{BOB}", [ADA, BOB]),
    "Exchange, with a space": (f"SMTP: {ADA}; smtp: {BOB}", [ADA, BOB]),
    "a name": (f"Ada Lovelace <{ADA}>", [ADA]),
    "a name without a space": (f"Ada<{ADA}>", [ADA]),
    "a name in quotes": (f'"Lovelace, Ada" <{ADA}>', [ADA]),
    "a name with an escape": (rf'"Ada \"the first\", Countess" <{ADA}>', [ADA]),
    "a name that is an address": (f"{ADA} <{ADA}>", [ADA]),
    "another address for a name": (f"{BOB} <{ADA}>", [ADA]),
    "brackets alone": (f"<{ADA}>", [ADA]),
    "a link in brackets": (f"Ada <mailto:{ADA}>", [ADA]),
    "names": (f"Ada <{ADA}>, Bob <{BOB}>", [ADA, BOB]),
    "a name behind": (f"{ADA} (Ada Lovelace)", [ADA]),
    "apostrophes around it": (f"'{ADA}'", [ADA]),
    "quotes around it": (f'"{ADA}"', [ADA]),
    "a slash": ("sales/eu@example.com", ["sales/eu@example.com"]),
    "no dot in the domain": ("root@localhost", ["root@localhost"]),
    "wide letters": ("Jürgen <jürgen@exämple.com>", ["jürgen@xn--exmple-cua.com"]),
}
PARTLY = {
    "another kind of Exchange address": (f"SMTP:{ADA};X500:/o=Org/ou=First/cn=ada", [ADA]),
    "a telephone number": (f"{ADA}; sip:ada@example.com", [ADA]),
    "a name that was cut at its comma": (f"Lovelace, Ada <{ADA}>", [ADA]),
    "a remark": (f"{ADA}, wrong number", [ADA]),
    "a remark in brackets": (f"{ADA}; (wrong number)", [ADA]),
}
NOT_UNDERSTOOD = {
    "half of it would be another person's": "ada smith@example.com",
    "no address": "n/a",
    "a dash": "-",
    "a URL": "https://ada@example.com",
    "a URL of another kind": "xmpp:ada@example.com",
    "a link to nobody": "mailto:",
    "a colon": "a:b@example.com",
    "a dot at the beginning": ".ada@example.com",
    "a dot at the end": "ada.@example.com",
    "two dots": "a..b@example.com",
    "brackets in it": "a(b)@example.com",
    "an angle bracket": "a<b@example.com",
    "two names without a comma": f"Ada <{ADA}> Bob <{BOB}>",
    "empty brackets": "Ada <>",
    "a remark in brackets": "(none)",
    "a remark in brackets beside nothing": "; (unknown)",
    "a name in brackets": "Ada <Lovelace>",
    "two dots in the domain": "ada@example..com",
    "a dot before the domain": "ada@.example.com",
    "a dash before the domain": "ada@-example.com",
    "a dash behind the domain": "ada@example.com-",
    "bytes that were no text": "ad\ufffd@example.com",
    "bytes that were no text, in the domain": "ada@ex\ufffdmple.com",
    "a space in quotes": '"ada smith"@example.com',
    "two ats": "ada@bob@example.com",
    "an open quote": f'"Lovelace, Ada <{ADA}',
}


@pytest.mark.parametrize(("text", "addresses"), UNDERSTOOD.values(), ids=UNDERSTOOD.keys())
def test_is_understood(text, addresses):
    assert read_cell(text) == (tuple(addresses), True)


@pytest.mark.parametrize(("text", "addresses"), PARTLY.values(), ids=PARTLY.keys())
def test_what_stands_beside_an_address_is_told(text, addresses):
    assert read_cell(text) == (tuple(addresses), False)


@pytest.mark.parametrize("text", NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD.keys())
def test_is_not_understood(text):
    assert read_cell(text) == ((), False)


@given(st.text(max_size=40), st.sampled_from(["", "mailto:", "Ada <", ADA, ";", " ", "@", ">"]), st.text(max_size=20))
def test_every_address_is_a_normal_form(before, between, after):
    cell = read_cell(before + between + after)
    assert all(normalise(address) == address for address in cell.addresses)


@given(st.text(ATEXT, min_size=1, max_size=20), st.text(ATEXT, min_size=1, max_size=20))
def test_a_dot_atom_is_an_address_anywhere(first, second):
    """An unquoted local part is the same thing in a cell and in a message."""
    address = f"{first}.{second}@example.com"
    assert normalise(address) == address
    assert address in read_cell(f"Ada <{address}>; {BOB}").addresses


@pytest.mark.parametrize(
    "text",
    ['"' * 3000, "<" * 3000, "(" * 3000, "a@" * 3000, "mailto:" * 1000, "a " * 20_000, '"\\' * 3000, "." * 3000],
    ids=["quotes", "angle brackets", "parentheses", "ats", "schemes", "words", "escapes in a quote", "dots"],
)
def test_a_hostile_cell_is_read_in_one_go(text):
    """A pattern that went back and forth over these would not come to an end."""
    assert read_cell(text + "@example.com;" + text).addresses == ()
