"""PEM files (RFC 7468) as people have them, and as OpenSSL wants them.

OpenSSL finds a block only where its BEGIN stands at the start of a line and its END line by line after it, and passes
over what it does not find: of two certificates joined without a line end it may serve the second alone. So the blocks
are found here, in whatever lies around them, and where a file is not as OpenSSL wants it, it is given another.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import os
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

_MARKER: Final = re.compile(r"----- *(BEGIN|END) +([A-Z0-9]+(?: [A-Z0-9]+)*) *-----")
# White space of any kind, characters without width, and line ends that were written as \n in JSON or a shell.
_BETWEEN: Final = re.compile(r"(?:\s|\\[rn]|[\u200b\u200c\u200d\u2060\ufeff])+")
_DER: Final = "M"  # how every DER structure, which is a sequence (0x30), begins in base64
_UTF_16: Final = {
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    b"-\0": "utf-16-le",
    b"\0-": "utf-16-be",
}
_LINE: Final = 64

CERTIFICATES: Final = ("CERTIFICATE", "X509 CERTIFICATE")
KEYS: Final = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")


class PemFault(Exception):
    """There is nothing of the kind that was looked for; the text says why and what to do."""


class _Block(NamedTuple):
    """What stands between a BEGIN and its END."""

    label: str
    text: str  # without white space; headers, as of an encrypted key, have a colon


def certificates(data: bytes) -> list[bytes]:
    """Return the certificates (DER) in a file. Raises PemFault."""
    found = [block for block in _blocks(data) if block.label in CERTIFICATES]
    if not found:
        raise PemFault(_why_none(data, _NO_CERTIFICATE))
    return [_decoded(block, f"certificate {number}") for number, block in enumerate(found, 1)]


def private_key(data: bytes) -> tuple[str, bytes]:
    """Return the label and content (DER) of the first private key in a file. Raises PemFault."""
    found = next((block for block in _blocks(data) if block.label in KEYS), None)
    if found is None or ":" in found.text:
        raise PemFault(_ENCRYPTED if found else _why_none(data, _NO_KEY))
    return found.label, _decoded(found, "the key")


def written(label: str, der: bytes) -> bytes:
    """Return a block as OpenSSL wants it."""
    lines = textwrap.wrap(base64.b64encode(der).decode(), _LINE)
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


@contextmanager
def readable(file: Path, data: bytes, blocks: Iterable[bytes]) -> Iterator[Path]:
    """Give a path at which OpenSSL finds these blocks, as `written`: `file`, if its `data` holds them as they are.

    Else it is one in memory, which is gone after the block.
    """
    blocks = list(blocks)
    if _holds(b"\n" + data.replace(b"\r\n", b"\n").rstrip() + b"\n", blocks):
        yield file
        return
    descriptor = os.memfd_create(file.name)
    try:
        os.write(descriptor, b"".join(blocks))
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _holds(data: bytes, blocks: Sequence[bytes]) -> bool:
    """Return whether data has these blocks at the start of lines, in this order."""
    at = 0
    for block in blocks:
        at = data.find(b"\n" + block, at)
        if at < 0:
            return False
        at += len(block)
    return True


def _text(data: bytes) -> str:
    for beginning, encoding in _UTF_16.items():
        if data.startswith(beginning):
            return data.decode(encoding, "replace")
    return data.decode("utf-8", "replace")


def _blocks(data: bytes) -> list[_Block]:
    """Return every block of a file. Raises PemFault if one begins and does not end."""
    text, found = _text(data), []
    label, begin = None, 0
    for marker in _MARKER.finditer(text):
        kind, name = marker.groups()
        if kind == "BEGIN" and label is None:
            label, begin = name, marker.end()
        elif kind == "END" and label == name:
            found.append(_Block(label, _BETWEEN.sub("", text[begin : marker.start()])))
            label = None
        elif kind == "BEGIN" and not _BETWEEN.sub("", text[begin : marker.start()]).startswith(_DER):
            label, begin = name, marker.end()  # the one before was said in a sentence
        else:
            line = text.count("\n", 0, marker.start()) + 1
            raise PemFault(f"in line {line}, the {kind} of {name} does not belong to what is before it; {_AGAIN}")
    if label is not None:
        raise PemFault(f"its last block, {label}, has no END, so the file is cut short; {_AGAIN}")
    return found


def _decoded(block: _Block, what: str) -> bytes:
    try:
        return base64.b64decode(block.text, validate=True)
    except (binascii.Error, ValueError):
        raise PemFault(f"{what} is damaged: what stands in it is not base64; {_AGAIN}") from None


# What a file holds instead, the likeliest first: by a label of its blocks.
_AGAIN: Final = "copy the file again, or issue it again"
_ENCRYPTED: Final = "it is encrypted; write it without a pass phrase, mode 0600"
_NO_CERTIFICATE: Final = (
    ("CERTIFICATE REQUEST", "it holds the request for a certificate; name what the authority made of it"),
    ("PKCS7", "it holds a PKCS#7 bundle; convert it with openssl pkcs7 -print_certs"),
    ("TRUSTED CERTIFICATE", "it is in a form of OpenSSL's own; convert it with openssl x509"),
    ("PRIVATE KEY", "it holds a private key; name the certificate here, and the key in tls.key"),
    ("PUBLIC KEY", "it holds a public key alone; name the certificate"),
)
_NO_KEY: Final = (
    ("ENCRYPTED PRIVATE KEY", _ENCRYPTED),
    ("OPENSSH PRIVATE KEY", "it holds a key for SSH; name the key that the certificate was issued for"),
    ("DSA PRIVATE KEY", "it holds a DSA key, which is not used in TLS; issue the certificate with RSA or on P-256"),
    ("CERTIFICATE", "it holds a certificate and no private key; name the key that it was issued for"),
    ("PUBLIC KEY", "it holds the public key alone; name the private one"),
)


def _why_none(data: bytes, instead: Sequence[tuple[str, str]]) -> str:
    labels = " / ".join(block.label for block in _blocks(data))
    for label, sentence in instead:
        if label in labels:
            return sentence
    if labels:
        return f"it holds {labels}; name another file"
    if not data.strip():
        return "it is empty; put it there"
    if data.startswith(b"\x30"):
        return "it is binary (DER, or PKCS#12 as .pfx); convert it with openssl x509 -inform der, or openssl pkcs12"
    return f"it has no line -----BEGIN ...-----; convert it, or {_AGAIN}"
