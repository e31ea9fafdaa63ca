"""CAA records, as name servers send them."""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.acme import caa
from appliance.acme.caa import CaaRecords

NAME = "www.example.com"


def record(value: str, tag: str = "issue", kind: int = 257) -> bytes:
    data = bytes([0, len(tag)]) + tag.encode() + value.encode()
    return b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data


def answer(*records: bytes, flags: int = 0x8180, question: bytes = b"") -> bytes:
    asked = (question or caa.question(NAME, 7))[12:]
    return struct.pack("!6H", 7, flags, 1, len(records), 0, 0) + asked + b"".join(records)


@pytest.mark.parametrize(
    ("message", "issuers"),
    [
        (answer(), []),
        (answer(flags=0x8183), []),
        (answer(record("letsencrypt.org")), ["letsencrypt.org"]),
        (answer(record(" LetsEncrypt.org ; account=x"), record("b.example")), ["letsencrypt.org", "b.example"]),
        (answer(record(";")), [""]),
        (answer(record("", tag="ISSUE")), [""]),
        (answer(record(";", tag="issuewild"), record("mailto:a@example.com", tag="iodef")), []),
        (answer(record("target", kind=5), record("a.example")), ["a.example"]),
        (answer(flags=0x8182), None),
        (answer(record("a.example"), flags=0x8380), None),
        (answer(flags=0x0180), None),
        (answer(record("a.example"))[:-1], None),
        (b"", None),
    ],
    ids=["none", "no such name", "one", "two", "nobody", "an empty value", "other properties", "after a CNAME",
         "server failure", "truncated", "a question", "cut off", "empty"],
)  # fmt: skip
def test_an_answer(message: bytes, issuers: list[str] | None) -> None:
    assert caa.parse(message) == issuers


@given(st.binary(max_size=200), st.integers(0, 300), st.binary(max_size=4))
def test_any_bytes_are_an_answer_or_none(begin: bytes, at: int, put: bytes) -> None:
    caa.parse(begin)
    whole = answer(record("letsencrypt.org"), record(";"))
    caa.parse(whole[:at] + put + whole[at + len(put) :])


@pytest.mark.parametrize(
    ("zones", "found", "asked"),
    [
        ({}, None, [NAME, "example.com", "com"]),
        ({NAME: ["a.example"], "com": ["b.example"]}, CaaRecords(NAME, ("a.example",)), [NAME]),
        ({"example.com": [""]}, CaaRecords("example.com", ()), [NAME, "example.com"]),
        ({"example.com": None, "com": ["b.example"]}, None, [NAME, "example.com"]),
    ],
    ids=["none", "its own", "its parent's", "no answer"],
)
def test_the_nearest_domain_that_has_any_counts(
    zones: dict[str, list[str] | None], found: CaaRecords | None, asked: list[str]
) -> None:
    questions = []

    def ask(domain: str) -> bytes | None:
        questions.append(domain)
        issuers = zones.get(domain, [])
        return None if issuers is None else answer(*map(record, issuers))

    assert caa.find(NAME, ask) == found
    assert questions == asked


def test_a_name_server_is_asked() -> None:
    """By UDP; the one that does not answer is passed over."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            message, peer = server.recvfrom(512)
            server.sendto(message[:2] + answer(record("a.example"), question=message)[2:], peer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = server.getsockname()[1]
        said = caa.ask(NAME, [("127.0.0.1", 9), ("127.0.0.1", port)])
        thread.join()
    assert said is not None
    assert caa.parse(said) == ["a.example"]


def test_name_servers_of_this_machine(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# a comment\nsearch example.com\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver\n")
    assert caa.name_servers(file) == [("192.0.2.1", 53), ("2001:db8::1", 53)]
    assert caa.name_servers(tmp_path / "none") == []
