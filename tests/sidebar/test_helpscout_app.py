"""What is read of a message, whatever is wrong with it."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.customers.address import normalise
from appliance.sidebar.protocols.base import InquiryError
from appliance.sidebar.protocols.helpscout_app import Customer, Mailbox, Payload, Ticket, User, decode

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(["id", "number", "subject", "fname", "lname", "email", "emails", "role", "extra"])
PARTS = st.dictionaries(FIELDS, JSON, max_size=6) | JSON
MESSAGES = st.dictionaries(st.sampled_from(["ticket", "customer", "user", "mailbox", "extra"]), PARTS, max_size=5)


@pytest.mark.parametrize(
    ("body", "payload"),
    [
        pytest.param("{}", Payload(), id="empty"),
        pytest.param('{"ticket":false}', Payload(ticket=False), id="draft"),
        pytest.param('{"ticket": false ,"user":7}', Payload(ticket=False), id="draft beside a wrong type"),
        pytest.param('{"ticket":true}', Payload(ticket=True), id="true"),
        pytest.param('{"ticket":true,"user":7}', Payload(ticket=True), id="true beside a wrong type"),
        pytest.param('{"ticket":null,"customer":null}', Payload(), id="null"),
        pytest.param('{"ticket":[],"customer":[],"user":[],"mailbox":[]}', Payload(), id="php's empty object"),
        pytest.param('{"ticket":{"id":7}}', Payload(Ticket(7)), id="number id"),
        pytest.param('{"ticket":{"id":"7"}}', Payload(Ticket("7")), id="text id"),
        pytest.param('{"ticket":{"id":7.5,"number":2}}', Payload(Ticket(None, 2)), id="fraction id"),
        pytest.param('{"ticket":{"id":{"a":1},"subject":"x"}}', Payload(Ticket(subject="x")), id="object id"),
        pytest.param(
            '{"customer":{"email":null,"emails":[]}}', Payload(customer=Customer(emails=())), id="null email, no emails"
        ),
        pytest.param('{"customer":{"emails":"a@b.c"}}', Payload(customer=Customer(emails=("a@b.c",))), id="one text"),
        pytest.param(
            '{"customer":{"emails":{"1":"a@b.c","3":"d@e.f"}}}',
            Payload(customer=Customer(emails=("a@b.c", "d@e.f"))),
            id="object of emails",
        ),
        pytest.param(
            '{"customer":{"email":["a@b.c"],"emails":[null,7,"d@e.f",["g@h.i"]]}}',
            Payload(customer=Customer(emails=("d@e.f",))),
            id="emails of wrong types",
        ),
        pytest.param(
            '{"customer":{"emails":7,"id":1}}', Payload(customer=Customer(1, emails=())), id="emails a number"
        ),
        pytest.param('{"user":{"role":1,"id":"4"}}', Payload(user=User("4")), id="role a number"),
        pytest.param('{"mailbox":{"id":1,"email":"x"},"x":{}}', Payload(mailbox=Mailbox(1, "x")), id="unknown key"),
        pytest.param('{"user":{"id":1},"user":{"id":2}}', Payload(user=User(2)), id="key twice"),
        pytest.param(
            '{"ticket":{"id":' + "9" * 1_000_000 + ',"number":3}}', Payload(Ticket(None, 3)), id="a million digits"
        ),
    ],
)
def test_reads(body, payload):
    assert decode(body.encode()) == payload


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="array"),
        pytest.param(b'"x"', id="text"),
        pytest.param(b"null", id="null"),
        pytest.param(b"7", id="number"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"{} x", id="more behind it"),
        pytest.param(b"{'a':1}", id="single quotes"),
        pytest.param(b'{"a":01}', id="leading zero"),
        pytest.param(b'{"a":nan}', id="another spelling of NaN"),
        pytest.param(b'{"a":NaNNaN}', id="NaN twice"),
        pytest.param(b"NaN", id="NaN alone"),
        pytest.param(b"\xef\xbb\xbf", id="a byte order mark alone"),
        pytest.param(b'{"a":"\\u12"}', id="an escape that is cut"),
        pytest.param(b'{"a":"b', id="a string that is cut"),
        pytest.param(b'{"a":1,}', id="a comma too many"),
        pytest.param(b"{\0}", id="NUL"),
        pytest.param(b'{"a":' + b"[" * 100_000, id="100,000 deep"),
        pytest.param(b'{"a":' * 100_000, id="objects 100,000 deep"),
        pytest.param(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="100,000 deep and closed"),
        pytest.param(b'{"customer":' + b"[" * 100_000 + b"]" * 100_000 + b"}", id="a part 100,000 deep"),
    ],
)
def test_refuses_what_is_no_object(body):
    with pytest.raises(InquiryError):
        decode(body)


ADA = '"customer":{"email":"ada@example.com"}'
NEARLY_JSON = {
    "half a pair in a subject": rf'{{"ticket":{{"id":1,"subject":"hello \ud83d"}},{ADA}}}',
    "the other half": rf'{{"ticket":{{"id":1,"subject":"\ude00 hello"}},{ADA}}}',
    "two first halves": rf'{{"ticket":{{"id":1,"subject":"\ud83d\ud83d\ude00"}},{ADA}}}',
    "a half in capitals": rf'{{"ticket":{{"id":1,"subject":"\uD83D"}},{ADA}}}',
    "a half in an unknown key": rf'{{"\ud83d":1,"ticket":{{"id":1}},{ADA}}}',
    "a half in an unknown value": rf'{{"x":["\ud83d"],"ticket":{{"id":1}},{ADA}}}',
    "a half beside a wrong type": rf'{{"user":7,"ticket":{{"id":1,"subject":"\ud83d"}},{ADA}}}',
    "a half behind escaped backslashes": rf'{{"x":"\\\\\ud83d","ticket":{{"id":1}},{ADA}}}',
    "NaN": f'{{"x":NaN,"ticket":{{"id":1}},{ADA}}}',
    "infinities": f'{{"x":[Infinity,-Infinity],"ticket":{{"id":1}},{ADA}}}',
    "NaN as an id of somebody else": f'{{"user":{{"id":NaN}},"ticket":{{"id":1}},{ADA}}}',
    "a byte order mark": "\ufeff" + f'{{"ticket":{{"id":1}},{ADA}}}',
    "a line end in a text": f'{{"x":"a\nb\t","ticket":{{"id":1}},{ADA}}}',
    "bytes that are not UTF-8": f'{{"x":"\udcff\udcfe","ticket":{{"id":1}},{ADA}}}',
    "such bytes in a key": f'{{"\udcff":1,"ticket":{{"id":1}},{ADA}}}',
    "half a character of UTF-8": f'{{"x":"\udcf0\udc9f","ticket":{{"id":1}},{ADA}}}',
}


@pytest.mark.parametrize("text", NEARLY_JSON.values(), ids=NEARLY_JSON.keys())
def test_understands_what_is_nearly_json(text):
    # U+DCFF stands for the byte FF, as Python decodes it.
    payload = decode(text.encode("utf-8", "surrogateescape"))
    assert payload.customer == Customer(email="ada@example.com")
    assert isinstance(payload.ticket, Ticket)
    assert payload.ticket.id == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_understands_other_encodings_of_unicode(encoding):
    assert decode(f"{{{ADA}}}".encode(encoding)) == Payload(customer=Customer(email="ada@example.com"))


@pytest.mark.parametrize(
    ("subject", "read"),
    [
        (r"NaN Infinity \ud83d", "NaN Infinity \ufffd"),
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\\ud83d \ud83d", r"\ud83d" + " \ufffd"),
        (r"a \"quoted\" NaN \ud83d", 'a "quoted" NaN \ufffd'),
        (r"\ud83dX", "\ufffdX"),
    ],
)
def test_only_what_is_broken_changes(subject, read):
    payload = decode(f'{{"x":NaN,"ticket":{{"subject":"{subject}"}}}}'.encode())
    assert isinstance(payload.ticket, Ticket)
    assert payload.ticket.subject == read


@pytest.mark.parametrize("email", [b"ad\xff@example.com", rb"ad\ud83d@example.com", b"ada@ex\xffmple.com"])
def test_an_address_that_was_no_text_is_nobodys(email):
    payload = decode(b'{"customer":{"email":"' + email + b'"}}')
    assert payload.customer is not None
    assert payload.customer.email is not None
    assert normalise(payload.customer.email) is None


@given(MESSAGES, st.sampled_from([("\ufeff{", 0), ('{"x":NaN,', 1), ('{"x":"\\udc00",', 1)]))
def test_a_broken_field_leaves_the_others_as_they_are(message, broken):
    """The repaired message reads as the message without what was broken."""
    text = json.dumps({"id": 1, **message})
    assert decode((broken[0] + text[1:]).encode()) == decode(text.encode())


@given(MESSAGES)
def test_never_refuses_an_object(message):
    assert isinstance(decode(json.dumps(message).encode()), Payload)


@given(message=MESSAGES, wrong=st.sampled_from(["ticket", "customer", "user", "mailbox"]))
def test_a_wrong_part_leaves_the_others_as_they_are(message, wrong):
    """The tolerant parser reads every other part just as the fast one does."""
    without = {name: part for name, part in message.items() if name != wrong}
    alone = decode(json.dumps(without).encode())
    beside = decode(json.dumps({**without, wrong: 7}).encode())
    assert beside == alone


@given(st.binary(max_size=300))
def test_any_bytes_are_an_object_or_refused(body):
    with contextlib.suppress(InquiryError):
        assert isinstance(decode(body), Payload)
