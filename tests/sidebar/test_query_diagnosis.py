"""What is said to the operator of a page's wrong signature, and that it holds nothing that was expected."""

from __future__ import annotations

import base64
import hmac
import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.outcomes import ADVICE, Cause
from appliance.sidebar.protocols.base import Diagnosis
from appliance.sidebar.protocols.helpscout_page import HelpScoutPage
from appliance.sidebar.protocols.query_diagnosis import QueryDiagnoser
from appliance.sidebar.protocols.query_signature import PARAMETER, php_json
from appliance.sidebar.protocols.query_signed import Visit
from tests.vectors import PAGE_QUERIES

KEY, OTHER, FAR = b"the page's own secret", b"the legacy app's secret", b"a secret of another app"
IDS = {"conversation-id": "27", "customer-id": "604417723", "application-slug": "cards/2 café"}
PAGE = HelpScoutPage([KEY], own_parameters=["lang"], others={"helpscout": [OTHER], "shop, page": [FAR]})


def digest(text: bytes, key: bytes = KEY, algorithm: str = "sha1") -> bytes:
    return hmac.digest(key, text, algorithm)


def query(signature: bytes | str, **more: str) -> bytes:
    written = signature if isinstance(signature, str) else base64.b64encode(signature).decode()
    return urlencode({**more, **IDS, PARAMETER: written}).encode()


SIGNED = php_json(IDS).encode()
CASES = [
    ("none", urlencode(IDS).encode(), Cause.MISSING, ""),
    ("empty", query(""), Cause.MISSING, ""),
    ("no base64", query("!" * 28), Cause.MALFORMED, ""),
    ("hex", query(digest(SIGNED).hex()), Cause.HEX, ""),
    ("SHA-256", query(digest(SIGNED, algorithm="sha256")), Cause.SHA256, ""),
    ("URL alphabet, no padding", query("sha1=" + base64.b64encode(digest(SIGNED)).decode()), Cause.ENCODING, ""),
    ("the legacy app's secret", query(digest(SIGNED, OTHER)), Cause.OTHER_APP, "helpscout"),
    ("another page's secret", query(digest(SIGNED, FAR)), Cause.OTHER_APP, "shop, page"),
    ("a parameter of its own", query(digest(SIGNED), tenant="acme"), Cause.OWN_PARAMETER, ""),
    ("beside one that is named", query(digest(SIGNED), tenant="acme", lang="de"), Cause.OWN_PARAMETER, ""),
    (
        "one that is named and signed",
        query(digest(php_json({"lang": "de", **IDS}).encode()), lang="de"),
        Cause.OWN_PARAMETER,
        "",
    ),
    (
        "JSON.stringify",
        query(digest(json.dumps(IDS, ensure_ascii=False, separators=(",", ":")).encode())),
        Cause.PLAIN_JSON,
        "",
    ),
    ("an empty text", query(digest(b"")), Cause.EMPTY_SIGNED_TEXT, ""),
    ("a line end in the form", query(digest(SIGNED, KEY + b"\n")), Cause.WHITESPACE_OR_QUOTES, ""),
    ("base64 of the secret", query(digest(SIGNED, base64.b64encode(KEY))), Cause.ENCODED, ""),
    ("a name twice", query(digest(SIGNED)) + b"&customer-id=1", Cause.BAD_QUERY, ""),
    ("not UTF-8", b"\xff", Cause.BAD_QUERY, ""),
    ("another customer", query(digest(SIGNED)).replace(b"604417723", b"604417724"), Cause.UNKNOWN, ""),
]


@pytest.mark.parametrize(("text", "cause", "app"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_cause(text: bytes, cause: Cause, app: str) -> None:
    assert PAGE.authenticate(Visit(text)) is None
    diagnosis, advice = PAGE.explain(Visit(text))
    assert diagnosis == Diagnosis(cause, app) == PAGE.diagnose(Visit(text))
    said = " ".join(advice)
    for word in ("604417723", "acme", "café", KEY.decode(), OTHER.decode(), base64.b64encode(digest(SIGNED)).decode()):
        assert word not in said


@pytest.mark.parametrize("case", [case for case in PAGE_QUERIES if case.values[0].get("cause")])
def test_vector(case: dict[str, str]) -> None:
    page = HelpScoutPage([one.encode() for one in case["secrets"]], own_parameters=case["own"])
    assert page.diagnose(Visit(case["query"].encode())).cause == case["cause"]


def test_the_missing_parameter_is_named() -> None:
    _, (why, todo) = PAGE.explain(Visit(query(digest(SIGNED), tenant="acme", a="", b="", c="")))
    assert '"tenant", "a", "b"' in why
    assert todo.startswith("add to [app.page]: own_parameters = [")
    _, (why, _) = PAGE.explain(Visit(query(digest(SIGNED), **{"x" * 500: ""})))
    assert len(why) < 200


def test_only_one_who_knows_the_secret_has_a_name_repeated() -> None:
    _, advice = PAGE.explain(Visit(query(digest(b"else"), tenant="acme")))
    assert advice == ADVICE[Cause.UNKNOWN]


def test_what_is_said_is_said_of_a_query() -> None:
    for text in (query("!" * 28), urlencode(IDS).encode(), query(digest(SIGNED), tenant="acme")):
        said = " ".join(PAGE.explain(Visit(text))[1])
        assert "header" not in said
        assert "the body" not in said


def test_bad_queries_say_what_is_bad() -> None:
    for text, why in ((b"a=1&a=2", "a name twice"), (b"%ff=1", "not UTF-8"), (b"a.b=1", "PHP would rewrite")):
        assert why in PAGE.explain(Visit(text))[1].why


@given(st.binary(max_size=300))
def test_any_bytes_are_explained(text: bytes) -> None:
    PAGE.explain(Visit(text))
    PAGE.explain(Visit(f"{PARAMETER}={quote(text)}".encode()))


def test_no_secret_is_in_its_repr() -> None:
    assert repr(QueryDiagnoser([KEY], {"x": [OTHER]}, [])) == "QueryDiagnoser(...)"
