"""The query form of the signature."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.sidebar.protocols.query_signature import BadQuery, parse_query, php_json, verify_query
from appliance.sidebar.protocols.signature import Secret, Verifier
from tests.vectors import QUERY_SIGNATURES


@pytest.mark.parametrize("case", QUERY_SIGNATURES)
def test_vector(case):
    verifier = Verifier([Secret(case["secret"].encode())])
    assert verify_query(case["query"], verifier, case["own"]) is case["valid"]
    if case["valid"]:
        parameters = parse_query(case["query"])
        del parameters["X-HelpScout-Signature"]
        assert php_json({name: parameters[name] for name in parameters if name not in case["own"]}) == case["json"]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        pytest.param("a=1&a=2", "twice", id="name twice"),
        pytest.param("a[b]=1", "rewrite", id="array"),
        pytest.param("a.b=1", "rewrite", id="dot"),
        pytest.param("a+b=1", "rewrite", id="space"),
        pytest.param("7=1", "rewrite", id="integer"),
        pytest.param("=1", "rewrite", id="no name"),
        pytest.param("a=%ff", "UTF-8", id="not UTF-8"),
        pytest.param("a=%ed%a0%80", "UTF-8", id="lone surrogate"),
        pytest.param("a=" + "x" * 9000, "8 KiB", id="long"),
    ],
)
def test_refused_query(query, why):
    with pytest.raises(BadQuery, match=why):
        parse_query(query)
    assert verify_query(query, Verifier([Secret(b"k")])) is False


def test_control_characters_as_php_writes_them():
    assert php_json({"a": "\x00\x1f\x7f\b\f\n\r\t\u2028"}) == '{"a":"\\u0000\\u001f\x7f\\b\\f\\n\\r\\t\\u2028"}'


@given(st.text(max_size=200))
def test_any_text_is_judged(query):
    assert verify_query(query, Verifier([Secret(b"k")])) is False
