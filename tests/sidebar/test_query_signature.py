"""The query form of the signature."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from random import Random
from types import FrameType
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.sidebar.protocols.query_signature import (
    PARAMETER,
    BadQuery,
    parse_query,
    php_json,
    signed_parameters,
)
from appliance.sidebar.protocols.signature import Secret, Verifier
from tests.vectors import PAGE_QUERIES, QUERY_SIGNATURES

SECRET = Secret(b"k")
VERIFIER = Verifier([SECRET])


@pytest.mark.parametrize("case", QUERY_SIGNATURES)
def test_vector(case: dict[str, Any]) -> None:
    verifier = Verifier([Secret(case["secret"].encode())])
    signed = signed_parameters(case["query"], verifier, case["own"])
    assert (signed is not None) is case["valid"]
    if signed is not None:
        assert php_json(signed) == case["json"]


@pytest.mark.parametrize("case", PAGE_QUERIES)
def test_page_vector(case: dict[str, Any]) -> None:
    verifier = Verifier([Secret(one.encode()) for one in case["secrets"]])
    signed = signed_parameters(case["query"], verifier, case["own"])
    assert (signed is not None) is case["valid"]
    if signed is not None:
        assert php_json(signed) == case.get("json", php_json(signed))
        assert not {PARAMETER, *case["own"]} & set(signed)
        assert signed.get("customer-id") == case.get("customer", signed.get("customer-id"))


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
        pytest.param("a=\ud800", "UTF-8", id="lone surrogate as it is"),
        pytest.param("a=" + "x" * 9000, "8 KiB", id="long"),
    ],
)
def test_refused_query(query: str, why: str) -> None:
    with pytest.raises(BadQuery, match=why):
        parse_query(query)
    assert signed_parameters(query, VERIFIER) is None


def test_what_php_cannot_encode_is_not_signed_as_the_empty_text() -> None:
    """PHP's json_encode gives false for bytes that are not UTF-8, which hashes like no text at all."""
    empty = quote(SECRET.sign(b"").decode(), safe="")
    assert signed_parameters(f"customer-id=1%ff&{PARAMETER}={empty}", VERIFIER) is None
    assert signed_parameters(f"{PARAMETER}={empty}", VERIFIER) is None


def test_control_characters_as_php_writes_them() -> None:
    assert php_json({"a": "\x00\x1f\x7f\b\f\n\r\t\u2028"}) == '{"a":"\\u0000\\u001f\x7f\\b\\f\\n\\r\\t\\u2028"}'


@given(st.text(max_size=200))
def test_any_text_is_judged(query: str) -> None:
    assert signed_parameters(query, VERIFIER) is None


SIGNED = {
    "conversation-id": "2765104983",
    "conversation-number": "48213",
    "customer-id": "604417723",
    "mailbox-id": "291044",
    "user-id": "518820",
    "application-slug": "cards/2 café",
}
QUERY = urlencode({**SIGNED, PARAMETER: SECRET.sign(php_json(SIGNED).encode()).decode()})
_PIECES = (*"&=%+;0159aA/-_", "%26", "%3D", "%00", "%2B", "é", "&tenant=x", "&customer-id=1", "customer-id", PARAMETER)


KINDS = ("remove", "replace", "double", "encode", "move", "swap", "case")


def mutate(random: Random) -> str:
    """Return the right query with some of it removed, replaced, doubled, moved or spelled in another way."""
    query = QUERY
    for _ in range(random.randint(1, 3)):
        begin = random.randint(0, len(query))
        end = random.randint(begin, min(begin + 12, len(query)))
        middle = query[begin:end]
        match random.choice(KINDS):
            case "remove":
                query = query[:begin] + query[end:]
            case "replace":
                query = query[:begin] + random.choice(_PIECES) + query[end:]
            case "double":
                query = query[:end] + middle + query[end:]
            case "encode":
                query = query[:begin] + "".join(f"%{byte:02x}" for byte in middle.encode()) + query[end:]
            case "move":
                query = middle + query[:begin] + query[end:]
            case "swap":
                pairs = query.split("&")
                random.shuffle(pairs)
                query = "&".join(pairs)
            case "case":
                query = query[:begin] + middle.swapcase() + query[end:]
    return query


def check(query: str) -> bool:
    """Check that a query is refused, or means what was signed: the same names and values in the same order."""
    signed = signed_parameters(query, VERIFIER)
    if signed is None:
        return False
    assert [*signed.items()] == [*SIGNED.items()]
    pairs = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != PARAMETER]
    assert pairs == [*SIGNED.items()]
    return True


@settings(max_examples=1000)
@given(st.randoms(use_true_random=True))
def test_of_ten_thousand_mutations_none_that_changes_what_is_signed_is_accepted(random: Random) -> None:
    """A name, a value or the order; another spelling of the same is the same."""
    for _ in range(10):
        check(mutate(random))


def test_what_is_accepted() -> None:
    assert [check(query) for query in (QUERY, QUERY + "&", QUERY.replace("6044", "6%3044"))] == [True, True, True]
    assert not check(QUERY.replace("customer-id=604417723", "customer-id=604417724"))


def steps(call: Callable[[], object]) -> int:
    """Return how many lines of Python `call` executes."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(
    "query_of",
    [
        pytest.param(lambda size: "&" * size, id="empty pairs"),
        pytest.param(lambda size: "&".join(f"a{number}" for number in range(size // 6)), id="names"),
        pytest.param(lambda size: "a=" + "%e2%82%ac" * (size // 9), id="escapes"),
        pytest.param(lambda size: "a=" + "/" * size, id="what PHP escapes"),
        pytest.param(lambda size: "a=" + "=" * size, id="equals signs"),
        pytest.param(lambda size: "a=1&" * (size // 4), id="the same name"),
        pytest.param(lambda size: f"{PARAMETER}=" + "+" * size, id="white space around the signature"),
    ],
)
def test_steps_grow_with_the_length_at_most(query_of: Callable[[int], str]) -> None:
    small, large, refused = (
        steps(partial(signed_parameters, query_of(size) + "&z=1", VERIFIER)) for size in (1000, 8000, 100_000)
    )
    assert large <= 8 * small * 1.1
    assert refused < 20  # it is not parsed at all
