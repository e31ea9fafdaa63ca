"""Why a signature may be wrong: each mistake is told from the others, and what is said holds nothing to sign with."""

import base64
import gzip
import hmac
import json
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.outcomes import ADVICE, Cause
from appliance.sidebar.protocols.base import Diagnosis
from appliance.sidebar.protocols.diagnosis import MAX_BODY, Diagnoser
from tests.sidebar import test_query_diagnosis
from tests.vectors import BODY_SIGNATURES

KEY = b"a secret of the tests"
SECRET = KEY
OTHER = b"another app's secret"
PAYLOAD = {"customer": {"email": "ann@example.com", "fname": "Zoë", "url": "https://x.example/a"}, "emails": []}
BODY = json.dumps(PAYLOAD).encode()
PHP = json.dumps(PAYLOAD, separators=(",", ":")).replace("/", "\\/").encode()


def digest(body=BODY, key=KEY, algorithm="sha1"):
    return hmac.digest(key, body, algorithm)


def signed(body=BODY, key=KEY, algorithm="sha1"):
    return base64.b64encode(digest(body, key, algorithm))


def nested(depth, inner=b"1"):
    return b"[" * depth + inner + b"]" * depth


# What arrived, and the configured secret, with which a sender's right signature of something else comes in.
CASES = [
    ("none", None, BODY, SECRET, Cause.MISSING),
    ("empty", b"", BODY, SECRET, Cause.MISSING),
    ("no base64", b"!" * 28, BODY, SECRET, Cause.MALFORMED),
    ("too short", b"abcd", BODY, SECRET, Cause.MALFORMED),
    ("md5", base64.b64encode(digest()[:16]), BODY, SECRET, Cause.MALFORMED),
    ("another app's secret", signed(key=OTHER), BODY, SECRET, Cause.OTHER_APP),
    ("sha256", signed(algorithm="sha256"), BODY, SECRET, Cause.SHA256),
    ("sha256 in hex", digest(algorithm="sha256").hex().encode(), BODY, SECRET, Cause.HEX),
    ("hex", digest().hex().encode(), BODY, SECRET, Cause.HEX),
    ("hex, upper case", digest().hex().upper().encode(), BODY, SECRET, Cause.HEX),
    ("hex in base64", base64.b64encode(digest().hex().encode()), BODY, SECRET, Cause.HEX),
    ("sha1= and hex, as GitHub", b"sha1=" + digest().hex().encode(), BODY, SECRET, Cause.HEX),
    ("no padding", signed().rstrip(b"="), BODY, SECRET, Cause.ENCODING),
    ("prefix", b"sha1=" + signed(), BODY, SECRET, Cause.ENCODING),
    ("quotes", b'"' + signed() + b'"', BODY, SECRET, Cause.ENCODING),
    ("URL alphabet", base64.urlsafe_b64encode(digest(b"4")), b"4", SECRET, Cause.ENCODING),
    ("line end in Help Scout's secret", signed(key=KEY + b"\n"), BODY, SECRET, Cause.WHITESPACE_OR_QUOTES),
    ("two line ends in the file", signed(), BODY, KEY + b"\n", Cause.WHITESPACE_OR_QUOTES),
    ("quotes in the file", signed(), BODY, b'"' + KEY + b'"', Cause.WHITESPACE_OR_QUOTES),
    ("NAME= in the file", signed(), BODY, b"SECRET='" + KEY + b"'", Cause.WHITESPACE_OR_QUOTES),
    ("base64 in the file", signed(), BODY, base64.b64encode(KEY), Cause.ENCODED),
    ("hex in the file", signed(), BODY, KEY.hex().encode(), Cause.ENCODED),
    ("base64 at the sender", signed(key=base64.b64encode(KEY)), BODY, SECRET, Cause.ENCODED),
    ("empty body", signed(), b"", SECRET, Cause.LOST_BODY),
    ("LF became CRLF", signed(b"{\n}"), b"{\r\n}", SECRET, Cause.LINE_ENDS),
    ("CRLF became LF", signed(b"{\r\n}"), b"{\n}", SECRET, Cause.LINE_ENDS),
    ("last line end dropped, as by curl -d", signed(BODY + b"\n"), BODY, SECRET, Cause.LINE_ENDS),
    ("line end added, as by echo", signed(), BODY + b"\n", SECRET, Cause.LINE_ENDS),
    ("PHP to Python", signed(PHP), BODY, SECRET, Cause.RESERIALIZED),
    ("Python to PHP", signed(), PHP, SECRET, Cause.RESERIALIZED),
    ("pretty to compact", signed(json.dumps(PAYLOAD, indent=2).encode()), PHP, SECRET, Cause.RESERIALIZED),
    (
        "PHP to JavaScript",
        signed(PHP),
        json.dumps(PAYLOAD, separators=(",", ":"), ensure_ascii=False).encode(),
        SECRET,
        Cause.RESERIALIZED,
    ),
    ("byte order mark added", signed(), b"\xef\xbb\xbf" + BODY, SECRET, Cause.TRANSCODED),
    ("UTF-8 twice", signed("Zoë".encode()), "Zoë".encode().decode("latin-1").encode(), SECRET, Cause.TRANSCODED),
    ("body in base64", signed(), base64.b64encode(BODY), SECRET, Cause.ENCODED_BODY),
    ("body signed in base64", signed(base64.b64encode(BODY)), BODY, SECRET, Cause.ENCODED_BODY),
    ("gzip, and the field lost", signed(), gzip.compress(BODY), SECRET, Cause.CONTENT_ENCODING),
    ("deflate, and the field lost", signed(), zlib.compress(BODY), SECRET, Cause.CONTENT_ENCODING),
    ("large, and gzip", signed(), gzip.compress(random.Random(1).randbytes(MAX_BODY)), SECRET, Cause.CONTENT_ENCODING),
    ("another secret", signed(key=b"x"), BODY, SECRET, Cause.UNKNOWN),
    ("as large as is varied", signed(), BODY.ljust(MAX_BODY), SECRET, Cause.LINE_ENDS),
    ("larger", signed(), BODY.ljust(MAX_BODY + 1), SECRET, Cause.UNKNOWN),
    ("as long as is written anew", signed(b"[1,2]"), b"[1, 2]".rjust(8 * 1024), SECRET, Cause.RESERIALIZED),
    ("longer", signed(b"[1,2]"), b"[1, 2]".rjust(8 * 1024 + 1), SECRET, Cause.UNKNOWN),
    ("as deep as is written anew", signed(nested(32)), nested(32, b" 1"), SECRET, Cause.RESERIALIZED),
    ("deeper", signed(nested(33)), nested(33, b" 1"), SECRET, Cause.UNKNOWN),
    ("deep on purpose", signed(), b"[" * 30_000, SECRET, Cause.UNKNOWN),
]


@pytest.mark.parametrize(
    ("signature", "body", "secret", "cause"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_each_mistake(signature, body, secret, cause):
    found = Diagnoser([b"the old secret", secret], {"freescout": [OTHER]}).diagnose(body, signature)
    assert found == Diagnosis(cause, "freescout" if cause is Cause.OTHER_APP else "")


@pytest.mark.parametrize(
    ("body", "encoding", "cause", "named"),
    [
        (gzip.compress(BODY), "gzip", Cause.CONTENT_ENCODING, "gzip"),
        (gzip.compress(BODY), "x-gzip", Cause.CONTENT_ENCODING, "x-gzip"),
        (gzip.compress(BODY), "", Cause.CONTENT_ENCODING, "gzip"),
        (zlib.compress(BODY)[2:-4], "deflate", Cause.CONTENT_ENCODING, "deflate"),
        (b"\x1b\x0a\x00\xf8", "br", Cause.CONTENT_ENCODING, "br"),
        (b"(\xb5/\xfd\x04", "", Cause.CONTENT_ENCODING, "zstd"),
        (b"\x1b\x0a\x00\xf8", "gzip, br", Cause.CONTENT_ENCODING, "gzip, br"),
        (b"\x1b\x0a\x00\xf8", "", Cause.UNKNOWN, ""),
        (BODY + b"\n", "gzip", Cause.LINE_ENDS, ""),
        (b"\xef\xbb\xbf" + BODY, "gzip", Cause.TRANSCODED, ""),
        (b"", "gzip", Cause.LOST_BODY, ""),
    ],
    ids=[
        "gzip", "its old name", "the field lost", "raw deflate", "brotli", "zstd, the field lost", "two",
        "brotli, the field lost", "unpacked on the way, the field left", "the same, and a mark", "no body",
    ],
)  # fmt: skip
def test_a_compressed_body(body, encoding, cause, named):
    found, advice = Diagnoser([SECRET], {}).explain(body, signed(), encoding)
    assert found == Diagnosis(cause)
    if named:
        why, todo = ADVICE[cause]
        assert advice == (f"{why} (Content-Encoding: {named})", todo)
    else:
        assert advice == ADVICE[cause]


AROUND = {
    "space behind": "{} ",
    "space before": " {}",
    "spaces around": " {} ",
    "two spaces behind": "{}  ",
    "tab behind": "{}\t",
    "line end": "{}\n",
    "line end of Windows": "{}\r\n",
    "line end before": "\n{}",
    "no-break space, from a web page": "{}\u00a0",
    "zero width space": "\u200b{}",
    "byte order mark": "\ufeff{}",
    "double quotes": '"{}"',
    "single quotes": "'{}'",
    "backticks": "`{}`",
    "quotes of a letter": "“{}”",
    "single quotes of a letter": "‘{}’",
    "angle brackets": "<{}>",
    "quotes and a line end": '"{}"\n',
    "single quotes and a space": "'{}' ",
    "first quote only": '"{}',
    "last quote only": "{}'",
    "comma": "{},",
    "quote and comma": '{}",',
    "NAME=": "SECRET={}",
    "name=": "secret={}",
    "name of Help Scout": "HELPSCOUT_SECRET_KEY={}",
    "NAME= and double quotes": 'APP_SECRET="{}"',
    "NAME= and single quotes": "helpscout_secret='{}'",
}
IN_A_FILE = {
    **AROUND,
    "any name": "MY_OWN_NAME={}",
    "export": "export MY_OWN_NAME='{}'\n",
    "YAML": "secret: {}\n",
    "JSON": '"secret": "{}"',
    "NAME = with spaces": "secret = {}",
    "quotes with spaces inside": '" {} "',
}
# What a file may hold instead of the secret alone, and what is said of it.
SHAPED = {
    "byte order mark": ("\ufeff{}", "begins with a byte order mark"),
    "UTF-16 with a mark": ("{}".encode("utf-16"), "is saved as UTF-16"),
    "UTF-16 without one": ("{}".encode("utf-16-le"), "is saved as UTF-16"),
    "UTF-16, big-endian, a mark": (b"\xfe\xff" + "{}".encode("utf-16-be"), "is saved as UTF-16"),
    "UTF-16, big-endian": ("{}".encode("utf-16-be"), "is saved as UTF-16"),
    "UTF-16 with a line end, as PowerShell": ("{}\r\n".encode("utf-16"), "is saved as UTF-16"),
    "UTF-16 and quotes": ('"{}"'.encode("utf-16"), "is saved as UTF-16"),
    "UTF-16 and a name": ("SECRET='{}'\r\n".encode("utf-16"), "is saved as UTF-16"),
    "mark and quotes": ('\ufeff"{}"\n', "is in quotes"),
    "two marks": ("\ufeff\ufeff{}", "begins with a byte order mark"),
    "no-break space behind": ("{}\u00a0", "contains an invisible character"),
    "narrow no-break space before": ("\u202f{}", "contains an invisible character"),
    "zero-width space behind": ("{}\u200b", "contains an invisible character"),
    "zero-width joiners around": ("\u200d{}\u200d", "contains an invisible character"),
    "word joiner": ("\u2060{}", "contains an invisible character"),
    "marks of direction": ("\u200e{}\u200f", "contains an invisible character"),
    "soft hyphen": ("{}\u00ad", "contains an invisible character"),
    "escape of a terminal's paste": ("\x1b{}", "contains an invisible character"),
    "second line": ("{}\nof the mailbox Support", "has more than one line"),
    "empty lines and a second one": ("\n\n{}\r\n\r\nx\r\n", "has more than one line"),
    "old Mac lines": ("of Support\r{}\r", "has more than one line"),
    "comment above": ("# of the mailbox Support\n{}\n", "begins like a comment"),
    "comment of C above": ("// of Support\n{}\n", "begins like a comment"),
    "a name and a comment above": ("# of Support\nexport SECRET='{}'\n", "begins like a comment"),
    "curly quotes": ("\u201c{}\u201d", "is in quotes"),
    "German quotes": ("\u201e{}\u201c", "is in quotes"),
    "French quotes": ("\u00ab{}\u00bb", "is in quotes"),
    "French quotes with spaces": ("\u00ab\u00a0{}\u00a0\u00bb", "is in quotes"),
    "one curly quote": ("{}\u201d", "is in quotes"),
    "quotes and a line end": ('"{}"\n', "is in quotes"),
    "line end": ("{}\n", "begins or ends with white space"),
    "NAME=": ("SECRET={}", "looks like NAME=secret"),
    "any name in capitals": ("HELPSCOUT={}", "looks like NAME=secret"),
}
ON_SENDER = {
    "line end": ("{}\n", "a line end behind it"),
    "no-break space": ("{}\u00a0", "a no-break space behind it"),
    "zero-width space": ("\u200b{}", "a zero-width space before it"),
    "word joiner": ("{}\u2060", "a word joiner, which cannot be seen behind it"),
    "byte order mark": ("\ufeff{}", "a byte order mark before it"),
    "curly quotes": ("\u201c{}\u201d", "quotes or brackets around it"),
    "French quotes": ("\u00ab{}\u00bb", "quotes or brackets around it"),
    "NAME=": ("SECRET={}", "NAME= before it"),
}
KEYS = {"words": KEY.decode(), "base64 with its padding": "c2VjcmV0IHNlY3JldA==", "letters": "p3tWB9zQmK"}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("form", AROUND.values(), ids=AROUND)
def test_what_is_around_the_senders_secret(form, key):
    signature = signed(key=form.format(key).encode())
    assert Diagnoser([key.encode()], {}).diagnose(BODY, signature) == Diagnosis(Cause.WHITESPACE_OR_QUOTES)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("form", IN_A_FILE.values(), ids=IN_A_FILE)
def test_what_is_around_the_secret_here(form, key):
    own = form.format(key).encode()
    assert Diagnoser([own], {}).diagnose(BODY, signed(key=key.encode())) == Diagnosis(Cause.WHITESPACE_OR_QUOTES)


@pytest.mark.parametrize("key", ["p3tWB9zQmKp3tWB9zQmK", "c2VjcmV0IHNlY3JldA==", "Geheimnis für Jürgen"])
@pytest.mark.parametrize(("form", "what"), SHAPED.values(), ids=SHAPED)
def test_says_what_is_odd_about_the_secret_here(form, what, key):
    if isinstance(form, str):
        own = form.format(key).encode()
    else:  # UTF-16, in which the place of the key is as wide
        big = form.endswith(b"}") or form.startswith(b"\xfe")
        coded = "utf-16-be" if big else "utf-16-le"
        own = form.replace("{}".encode(coded), key.encode(coded))
    found, advice = Diagnoser([own], {}).explain(BODY, signed(key=key.encode()))
    assert found == Diagnosis(Cause.WHITESPACE_OR_QUOTES)
    assert advice.why.startswith("the secret here ")
    assert what in advice.why
    assert key[:5] not in "".join(advice)


@pytest.mark.parametrize(("form", "what"), ON_SENDER.values(), ids=ON_SENDER)
def test_says_what_is_odd_about_the_senders_secret(form, what):
    found, advice = Diagnoser([KEY], {}).explain(BODY, signed(key=form.format(KEY.decode()).encode()))
    assert found == Diagnosis(Cause.WHITESPACE_OR_QUOTES)
    assert advice == (
        f"the sender's secret has {what}, and the one here has not",
        "in Help Scout's form, enter exactly the secret that is here",
    )


def test_of_both_nothing_is_said_for_sure():
    found, advice = Diagnoser([b'"' + KEY + b'"'], {}).explain(BODY, signed(key=KEY + b"\n"))
    assert (found, advice) == (Diagnosis(Cause.WHITESPACE_OR_QUOTES), ADVICE[Cause.WHITESPACE_OR_QUOTES])


@pytest.mark.parametrize("theirs", ["{} ", "'{}'", '"{}"', "SECRET={}", "{}\n"])
@pytest.mark.parametrize("ours", ['"{}"', "SECRET={}", " {}", "export SECRET='{}'"])
def test_what_is_around_both(ours, theirs):
    own, key = ours.format(KEY.decode()).encode(), theirs.format(KEY.decode()).encode()
    expected = Cause.ENCODING if own == key else Cause.WHITESPACE_OR_QUOTES
    assert Diagnoser([own], {}).diagnose(BODY, signed(key=key)).cause is expected


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_what_is_around_it_is_found_in_every_spelling(algorithm):
    sent = digest(key=b'"' + KEY + b'"', algorithm=algorithm).hex().encode()
    assert Diagnoser([KEY], {}).diagnose(BODY, sent).cause is Cause.WHITESPACE_OR_QUOTES


@given(st.binary(max_size=200), st.binary(min_size=1, max_size=100))
def test_the_work_is_bounded(body, secret):
    """The time is that of so many HMACs, and the same whichever fits."""
    variations = list(Diagnoser([secret], {})._candidates(body, Cause.ENCODING))
    assert len(variations) < 300
    large = list(Diagnoser([secret], {})._candidates(body.ljust(MAX_BODY), Cause.ENCODING))
    assert len(large) < 150


def test_every_cause_is_met_and_explained():
    met = {case[4] for case in CASES} | {case[2] for case in test_query_diagnosis.CASES}
    assert met == set(Cause) == set(ADVICE)
    texts = [text for advice in ADVICE.values() for text in advice]
    assert [text for text in texts if len(text) < 20 or text.endswith(".")] == []


EXPECTED = {
    "tompedals-compacted": Cause.RESERIALIZED,
    "hex-digest": Cause.HEX,
    "sha256-digest": Cause.SHA256,
    "header-missing": Cause.MISSING,
    "laslabs-bad": Cause.UNKNOWN,
}


@pytest.mark.parametrize("case", [each for each in BODY_SIGNATURES if each.id in EXPECTED])
def test_published_mistakes(case):
    header = case["header"]
    found = Diagnoser([case["secret"].encode()], {}).diagnose(case["body"].encode(), header and header.encode())
    assert found.cause is EXPECTED[case["id"]]


@given(st.binary(max_size=300), st.one_of(st.none(), st.binary(max_size=80)), st.binary(min_size=1, max_size=60))
def test_takes_any_bytes(body, signature, secret):
    assert Diagnoser([secret], {"other": [b"x"]}).diagnose(body, signature).cause in Cause


def test_shows_no_secret():
    assert KEY.decode() not in repr(Diagnoser([KEY], {"freescout": [KEY]}))
