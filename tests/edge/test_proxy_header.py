"""The parser of PROXY headers."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.edge.proxy_header import MAX_HEADER, MAX_LINE, ProxyHeader, ProxyHeaderError, parse
from tests.edge.proxy_headers import BAD, GOOD, SIGNATURE, Good, v1, v2

ADDRESSES = st.ip_addresses().filter(lambda address: getattr(address, "scope_id", None) is None).map(str)


@pytest.mark.parametrize("good", [pytest.param(good, id=good.id) for good in GOOD])
def test_a_good_one(good: Good) -> None:
    """Cut at every byte it is not complete, and nothing that follows is part of it."""
    assert [parse(good.raw[:length]) for length in range(len(good.raw))] == [None] * len(good.raw)
    for after in (b"", b"\r\n", b"\x16\x03\x01", good.raw):
        assert parse(good.raw + after) == ProxyHeader(len(good.raw), good.address)


@pytest.mark.parametrize("raw", [pytest.param(raw, id=name) for name, raw in BAD.items()])
def test_a_bad_one(raw: bytes) -> None:
    """It is refused at some byte, and not taken for complete before."""
    for length in range(len(raw)):
        try:
            assert parse(raw[:length]) is None
        except ProxyHeaderError:
            break
    for after in (b"", b"x" * 200):
        with pytest.raises(ProxyHeaderError):
            parse(raw + after)


@given(ADDRESSES)
def test_every_address(address: str) -> None:
    """Whichever it is, both versions name it."""
    canonical = ipaddress.ip_address(address)
    for raw in (v1(address, address), v2(address)):
        found = parse(raw)
        assert found is not None
        assert found.address is not None
        assert ipaddress.ip_address(found.address) == canonical


@given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ", SIGNATURE, SIGNATURE + b"\x21"]), st.binary())
@example(b"PROXY TCP4 ", b"1.2.3.4 1.2.3.4 \xc2\xb2 1\r\n")
def test_whatever_comes(begin: bytes, rest: bytes) -> None:
    """Nothing else is raised, and a header that is complete was so from its last byte on, within its bound."""
    raw = begin + rest
    try:
        found = parse(raw)
    except ProxyHeaderError:
        return
    if found is None:
        assert len(raw) < MAX_HEADER
        assert raw.startswith(SIGNATURE[: len(raw)]) or len(raw) < MAX_LINE
    else:
        assert parse(raw[: found.length]) == found
        assert parse(raw[: found.length - 1]) is None
