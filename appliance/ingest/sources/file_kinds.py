"""Recognizes by its first bytes what a file is that was given as CSV or SQLite and is neither.

Only files that could not be read are examined, so a good file is never mistaken for something else.
"""

from __future__ import annotations

import codecs
import re
from typing import Final, NamedTuple

HEAD: Final = 64 * 1024
"""How many bytes of the beginning are examined: a ZIP archive lists its entries one after the other."""

_SAVE: Final = 'save it as "CSV UTF-8" and use that file'
_UNPACK: Final = "unpack it, and use the file inside"
_EXPORT: Final = "export the customers as CSV"
_WRONG_FILE: Final = "use the customers file"


class FileKind(NamedTuple):
    """One kind of file: what it is called, how it begins, what to do with it."""

    name: str
    begins: bytes
    """A regular expression for the first bytes."""

    todo: str


# The first match decides, so the more specific patterns come first.
KINDS: Final = (
    FileKind("an Excel workbook (.xlsx)", rb"PK\x03\x04(?s:.*)\bxl/", _SAVE),
    FileKind("a LibreOffice spreadsheet (.ods)", rb"PK\x03\x04(?s:.{26})mimetypeapplication/vnd\.oasis", _SAVE),
    FileKind("an Apple Numbers document", rb"PK\x03\x04(?s:.*)\bIndex/[^\0]{0,64}\.iwa", "export it as CSV, in UTF-8"),
    FileKind(
        "a ZIP archive, as Excel workbooks are",
        rb"PK(\x03\x04|\x05\x06)",
        f"unpack it, or if a program opens it, {_SAVE}",
    ),
    FileKind("an old Excel workbook (.xls), or one with a password", rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _SAVE),
    FileKind("compressed with gzip", rb"\x1f\x8b", _UNPACK),
    FileKind("compressed with bzip2", rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", _UNPACK),
    FileKind("compressed with xz", rb"\xfd7zXZ\0", _UNPACK),
    FileKind("compressed with zstd", rb"\x28\xb5\x2f\xfd", _UNPACK),
    FileKind("compressed with LZ4", rb"\x04\x22\x4d\x18", _UNPACK),
    FileKind("a 7-Zip archive", rb"7z\xbc\xaf\x27\x1c", _UNPACK),
    FileKind("a RAR archive", rb"Rar!\x1a\x07", _UNPACK),
    FileKind("a Parquet file", rb"PAR1", _EXPORT),
    FileKind("a PDF document", rb"%PDF-", _EXPORT),
    FileKind("an RTF document", rb"\{\\rtf", _EXPORT),
    FileKind("a picture", rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|RIFF(?s:.{4})WEBP|BM(?s:.{4})\0\0\0\0", _WRONG_FILE),
    FileKind(
        "an SQLite database",
        rb"SQLite format 3\0",
        "give it the ending .sqlite, and name its table in the key table",
    ),
    FileKind(
        "an HTML page, perhaps a log-in or error page",
        rb"\s*<(?i:(!doctype|html|head|meta|title|body|table|script|style|div|p)\b|!--)",
        "look at it in a browser, and export the customers again",
    ),
    FileKind("XML", rb"\s*<\?xml\b|\s*<[A-Za-z][\w:.-]*(\s+[\w:.-]+=|/?>\s*<)", _EXPORT),
    FileKind("JSON", rb"\s*(\{\s*[\"}]|\[\s*[\[{\"\]])", _EXPORT),
)

# UTF-16 of mostly Latin text has a zero in every second byte.
_UTF_16: Final = (
    ("utf-16-le", re.compile(rb"(?s:(?:[^\0]\0){3})")),
    ("utf-16-be", re.compile(rb"(?s:(?:\0[^\0]){3})")),
)


def kind_of(head: bytes) -> FileKind | None:
    """Return the kind of a file that begins like this, or None."""
    # Text may begin with a byte order mark, or be in an encoding of two bytes a character.
    texts = (head, head.removeprefix(codecs.BOM_UTF8), head.replace(b"\0", b"").lstrip(b"\xff\xfe"))
    return next((kind for kind in KINDS if any(re.match(kind.begins, text) for text in texts)), None)


def unmarked_utf_16(head: bytes) -> str | None:
    """Return the name of the encoding if this is UTF-16 without a byte order mark, or None."""
    return next((name for name, begins in _UTF_16 if begins.match(head)), None)
