"""The parser of ClientHellos, and which of them are a validation's."""

from __future__ import annotations

import random

import pytest

from appliance.edge.client_hello import RECORD_HEAD, ClientHello, parse, record_length
from appliance.edge.validation import validated_name
from tests.edge.hellos import extension, hello, names, protocols, with_extensions

NAME = b"sidebar.example.com"
VALIDATION = hello(NAME.decode(), ["acme-tls/1"])
OF_VALIDATION = ClientHello((NAME,), (b"acme-tls/1",))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(hello(), ClientHello((NAME,), ()), id="a name"),
        pytest.param(hello(None), ClientHello((), ()), id="none"),
        pytest.param(
            hello("a.example", ["h2", "http/1.1"]), ClientHello((b"a.example",), (b"h2", b"http/1.1")), id="2"
        ),
        pytest.param(VALIDATION, OF_VALIDATION, id="a validation"),
        pytest.param(with_extensions(hello()), ClientHello((), ()), id="no extensions"),
        pytest.param(VALIDATION + b"\x16", OF_VALIDATION, id="and more after its record"),
    ],
)
def test_parse(raw: bytes, expected: ClientHello) -> None:
    assert parse(raw[: record_length(raw)]) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(VALIDATION, "sidebar.example.com", id="a validation"),
        pytest.param(
            with_extensions(VALIDATION, protocols(b"acme-tls/1"), extension(99, b""), names((0, b"A.Example"))),
            "a.example",
            id="in another order, upper case",
        ),
        pytest.param(hello("a.example", ["acme-tls/1", "http/1.1"]), None, id="two protocols"),
        pytest.param(hello("a.example", ["http/1.1", "acme-tls/1"]), None, id="two protocols, the other first"),
        pytest.param(hello("a.example", ["acme-tls/10"]), None, id="a longer protocol"),
        pytest.param(hello("a.example"), None, id="no protocol"),
        pytest.param(hello(None, ["acme-tls/1"]), None, id="no name"),
        pytest.param(hello("acme-tls-1.example"), None, id="a name like it"),
        pytest.param(
            with_extensions(VALIDATION, names((0, b"acme-tls/1"))), None, id="the protocol in the place of the name"
        ),
        pytest.param(
            with_extensions(VALIDATION, names((0, b"a"), (0, b"b")), protocols(b"acme-tls/1")), None, id="two names"
        ),
        pytest.param(
            with_extensions(VALIDATION, names((1, b"a")), protocols(b"acme-tls/1")), None, id="a name of another type"
        ),
        pytest.param(
            with_extensions(VALIDATION, names((0, b"\xfc")), protocols(b"acme-tls/1")), None, id="a name not of ASCII"
        ),
        pytest.param(
            with_extensions(VALIDATION, names((0, b"a")), names((0, b"b")), protocols(b"acme-tls/1")),
            None,
            id="an extension twice",
        ),
        pytest.param(VALIDATION[:1] + b"\x03\x03\x00\x05\x01\x00\x00\x01acme-tls/1", None, id="cut"),
        pytest.param(b"\x17" + VALIDATION[1:], None, id="not a handshake"),
        pytest.param(VALIDATION[:5] + b"\x02" + VALIDATION[6:], None, id="another message"),
        pytest.param(VALIDATION[:4] + bytes([VALIDATION[4] + 1]) + VALIDATION[5:] + b"x", None, id="a second message"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_validated_name(raw: bytes, expected: str | None) -> None:
    assert validated_name(raw) == expected


def test_record_length() -> None:
    assert [record_length(VALIDATION[:length]) for length in range(RECORD_HEAD)] == [RECORD_HEAD] * RECORD_HEAD
    assert record_length(VALIDATION[:RECORD_HEAD]) == record_length(VALIDATION) == len(VALIDATION)


def test_mutations() -> None:
    """Cut and changed in every way, a ClientHello raises nothing."""
    source = random.Random(1)
    hellos = [VALIDATION, hello("a.example", ["h2", "http/1.1"]), with_extensions(VALIDATION, protocols(b"acme-tls/1"))]
    for number in range(20_000):
        raw = bytearray(hellos[number % len(hellos)])
        for _ in range(source.randrange(4)):
            raw[source.randrange(len(raw))] = source.randrange(256)
        if source.randrange(2):
            del raw[source.randrange(len(raw)) :]
        found = parse(bytes(raw))
        assert found is None or all(isinstance(item, bytes) for items in found for item in items)
        assert validated_name(bytes(raw)) is None or b"acme-tls/1" in raw
