"""PEM files as people have them: what is in them is served, or the sentence says what is there instead."""

from __future__ import annotations

import codecs
import re
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from hypothesis import given
from hypothesis import strategies as st

from appliance.edge import pem
from appliance.edge.certificate import CertificateError
from appliance.edge.tls import load_pair
from tests.edge.test_tls import BETWEEN, NOW, Issued, handshake, leaf, root_is_trusted

__all__ = ["root_is_trusted"]  # a fixture that every test here uses

ONE = leaf()
CHAIN = ONE.pem + BETWEEN.pem
KEY = ONE.key_pem


def unwrapped(text: bytes) -> bytes:
    """Return blocks whose base64 is on one line."""
    return re.sub(rb"(?<=[A-Za-z0-9+/=])\n(?=[A-Za-z0-9+/=])", b"", text)


def lines(text: bytes, form: bytes) -> bytes:
    return b"".join(form.replace(b"%", line) for line in text.splitlines())


def old_format(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


WAYS: dict[str, Callable[[bytes], bytes]] = {
    "as it should be": lambda text: text,
    "joined without a line end": lambda text: text.replace(b"-----\n-----", b"----------").rstrip(b"\n"),
    "CRLF": lambda text: text.replace(b"\n", b"\r\n"),
    "CR": lambda text: text.replace(b"\n", b"\r"),
    "joined, and CRLF": lambda text: text.replace(b"-----\n-----", b"----------").replace(b"\n", b"\r\n"),
    "text before, between and behind": lambda text: b"of 2026\n" + text.replace(b"-----\n-", b"-----\n s:CN\n-") + b"x",
    "text on the line of BEGIN": lambda text: text.replace(b"-----BEGIN", b"next: -----BEGIN"),
    "text on the line of END": lambda text: re.sub(rb"(-----END [A-Z0-9 ]+-----)", rb"\1 that was it", text),
    "a sentence with BEGIN": lambda text: b"# behind -----BEGIN CERTIFICATE----- is the chain\n" + text,
    "UTF-8 byte order mark": lambda text: codecs.BOM_UTF8 + text,
    "a mark in the middle, of two files": lambda text: (
        codecs.BOM_UTF8 + text.replace(b"-----\n-", b"-----\n\xef\xbb\xbf-")
    ),
    "UTF-16, as PowerShell": lambda text: text.decode().encode("utf-16"),
    "UTF-16, big-endian, marked": lambda text: codecs.BOM_UTF16_BE + text.decode().encode("utf-16-be"),
    "UTF-16 without a mark": lambda text: text.decode().encode("utf-16-le"),
    "UTF-16, big-endian, without a mark": lambda text: text.decode().encode("utf-16-be"),
    "indented": lambda text: lines(text, b"    %\n"),
    "spaces at the ends of lines": lambda text: lines(text, b"%  \n"),
    "no-break spaces": lambda text: lines(text, b"\xc2\xa0%\xc2\xa0\n"),
    "empty lines": lambda text: lines(text, b"%\n\n"),
    "base64 on one line": unwrapped,
    "all on one line": lambda text: text.replace(b"\n", b""),
    "spaces for line ends, from a variable": lambda text: text.replace(b"\n", b" "),
    "\\n for line ends, from JSON": lambda text: text.replace(b"\n", b"\\n"),
    "an old label": lambda text: text.replace(b" CERTIFICATE-", b" X509 CERTIFICATE-"),
    "no last line end": lambda text: text.rstrip(),
    "bag attributes, from PKCS#12": lambda text: text.replace(
        b"-----BEGIN", b"Bag Attributes\n    localKeyID: 01 2F\nsubject=CN = x\n\n-----BEGIN"
    ),
}


def served(folder: Path, certificate: bytes, key: bytes) -> tuple[str, list[bytes]]:
    """Return the name of the certificate that is served, and all that a client is sent."""
    file, key_file = folder / "a.crt", folder / "a.key"
    file.write_bytes(certificate)
    key_file.write_bytes(key)
    context, found = load_pair((file, key_file), NOW)
    end, _client = handshake(context, "support.example.com")
    sent = end._sslobj.get_unverified_chain()
    return found.names[0], [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in sent]


DER = [one.certificate.public_bytes(serialization.Encoding.DER) for one in (ONE, BETWEEN)]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        (CHAIN, KEY),
        (KEY + CHAIN, KEY + CHAIN),
        (CHAIN + KEY, old_format(ONE.key) + CHAIN),
        (CHAIN, b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + KEY),
    ],
    ids=["two files", "one file, the key first", "one file, the key last", "EC PARAMETERS"],
)
def test_is_served_whole(way: Callable[[bytes], bytes], certificate: bytes, key: bytes, tmp_path: Path) -> None:
    assert served(tmp_path, way(certificate), way(key)) == ("support.example.com", DER)


@given(st.lists(st.sampled_from(sorted(WAYS)), min_size=1, max_size=3, unique=True))
def test_all_ways_together(ways: list[str]) -> None:
    text = CHAIN
    for way in ways:
        if not way.startswith("UTF-16"):
            text = WAYS[way](text)
    assert pem.certificates(text) == DER


@given(st.binary(max_size=300))
def test_takes_any_bytes(data: bytes) -> None:
    for find in (pem.certificates, pem.private_key):
        with pytest.raises(pem.PemFault):
            find(data)


@given(st.integers(0, len(CHAIN) - 1), st.binary(min_size=1, max_size=3))
def test_damage_is_never_half_a_chain(at: int, other: bytes) -> None:
    """Bytes that are written over: everything is as it was, or is refused, or differs where the damage is."""
    damaged = CHAIN[:at] + other + CHAIN[at + len(other) :]
    try:
        found = pem.certificates(damaged)
    except pem.PemFault:
        return
    assert len(found) == 2 or b"-----BEGIN CERTIFICATE-----" not in damaged[:-100].partition(b"-----END")[2], damaged


def encrypted(form: serialization.PrivateFormat) -> bytes:
    return bytes(ONE.key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"x")))


def public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def der_of(one: Issued) -> bytes:
    return one.certificate.public_bytes(serialization.Encoding.DER)


CUT = CHAIN[: CHAIN.index(b"-----END")]
NOT_CERTIFICATES = {
    "empty": (b"", "it is empty; put it there"),
    "white space": (b" \n", "it is empty"),
    "other text": (b"hello\n", "it has no line -----BEGIN"),
    "DER": (der_of(ONE), "it is binary (DER, or PKCS#12 as .pfx); convert it with openssl"),
    "swapped": (KEY, "it holds a private key; name the certificate here, and the key in tls.key"),
    "a request": (CHAIN.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST"), "it holds the request for a certificate"),
    "a new request": (CHAIN.replace(b"CERTIFICATE", b"NEW CERTIFICATE REQUEST"), "it holds the request for"),
    "PKCS#7": (
        pkcs7.serialize_certificates([ONE.certificate], serialization.Encoding.PEM),
        "it holds a PKCS#7 bundle; convert it with openssl pkcs7 -print_certs",
    ),
    "TRUSTED": (CHAIN.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE"), "it is in a form of OpenSSL's own"),
    "a public key": (public(ONE.key), "it holds a public key alone; name the certificate"),
    "parameters": (
        b"-----BEGIN DH PARAMETERS-----\nMIGH\n-----END DH PARAMETERS-----\n",
        "it holds DH PARAMETERS; name another file",
    ),
    "cut in the first": (CUT, "its last block, CERTIFICATE, has no END, so the file is cut short"),
    "cut in the second": (CHAIN[:-40], "its last block, CERTIFICATE, has no END, so the file is cut short"),
    "cut in the first, then joined": (
        CUT + BETWEEN.pem,
        f"in line {len(CUT.splitlines()) + 1}, the BEGIN of CERTIFICATE",
    ),
    "without its head": (CHAIN[100:], "the END of CERTIFICATE does not belong to what is before it"),
    "another END": (CHAIN.replace(b"END CERTIFICATE", b"END PRIVATE KEY"), "the END of PRIVATE KEY does not belong"),
    "not base64": (CHAIN.replace(b"MII", b"M!I", 1), "certificate 1 is damaged: what stands in it is not base64"),
    "quoted in a letter": (lines(CHAIN, b"> %\n"), "certificate 1 is damaged: what stands in it is not base64"),
    "dashes of a word processor": (CHAIN.replace(b"-----", "\u2014\u2014".encode()), "it has no line -----BEGIN"),
}
NOT_KEYS = {
    "empty": (b"", "it is empty; put it there"),
    "swapped": (CHAIN, "it holds a certificate and no private key; name the key that it was issued for"),
    "encrypted": (encrypted(serialization.PrivateFormat.PKCS8), "it is encrypted; write it without a pass phrase"),
    "encrypted, old form": (encrypted(serialization.PrivateFormat.TraditionalOpenSSL), "it is encrypted; write it"),
    "public": (public(ONE.key), "it holds the public key alone; name the private one"),
    "of SSH": (
        ONE.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        ),
        "it holds a key for SSH; name the key that the certificate was issued for",
    ),
    "DSA": (
        b"-----BEGIN DSA PRIVATE KEY-----\nMIGH\n-----END DSA PRIVATE KEY-----\n",
        "it holds a DSA key, which is not used in TLS",
    ),
    "DER": (
        ONE.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        "it is binary (DER, or PKCS#12 as .pfx); convert it",
    ),
    "cut": (KEY[:-40], "its last block, PRIVATE KEY, has no END, so the file is cut short"),
}


def refused(folder: Path, certificate: bytes, key: bytes) -> str:
    with pytest.raises(CertificateError) as caught:
        served(folder, certificate, key)
    return str(caught.value)


@pytest.mark.parametrize(("content", "why"), NOT_CERTIFICATES.values(), ids=NOT_CERTIFICATES)
def test_says_what_is_there_instead_of_a_certificate(content: bytes, why: str, tmp_path: Path) -> None:
    said = refused(tmp_path, content, KEY)
    assert said.startswith(f"{tmp_path / 'a.crt'} is not a PEM file with a certificate: ")
    assert why in said


@pytest.mark.parametrize(("content", "why"), NOT_KEYS.values(), ids=NOT_KEYS)
def test_says_what_is_there_instead_of_a_key(content: bytes, why: str, tmp_path: Path) -> None:
    said = refused(tmp_path, CHAIN, content)
    assert said.startswith(f"{tmp_path / 'a.key'} is not a PEM file with a private key: ")
    assert why in said


def test_a_certificate_that_is_none_inside(tmp_path: Path) -> None:
    said = refused(tmp_path, ONE.pem + pem.written("CERTIFICATE", b"0\x03abc"), KEY)
    assert said == f"{tmp_path / 'a.crt'}: certificate 2 is damaged; copy it again, or issue it again"


def test_a_good_file_is_read_by_openssl_itself(tmp_path: Path) -> None:
    """Without /proc there is no path to memory; a file that needs none does without."""
    file = tmp_path / "a.crt"
    blocks = [pem.written("CERTIFICATE", der) for der in DER]
    for data in (CHAIN, CHAIN.replace(b"\n", b"\r\n"), b"text\n" + CHAIN, CHAIN.rstrip(), KEY + CHAIN):
        with pem.readable(file, data, blocks) as path:
            assert path == file
    with pem.readable(file, CHAIN.replace(b"-----\n-----", b"----------"), blocks) as path:
        assert path != file
        assert path.read_bytes() == CHAIN
    assert not path.exists()


def test_keys_of_every_form() -> None:
    for key in (ONE.key, rsa.generate_private_key(65537, 2048)):
        assert pem.private_key(old_format(key))[0].endswith(" PRIVATE KEY")
