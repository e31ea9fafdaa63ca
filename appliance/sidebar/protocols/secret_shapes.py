"""Signs that more than the secret was saved as the secret: a table, so that a new sign is one more row.

A secret is used as it is, byte by byte. In `check` these are warnings only, because Help Scout may have the same bytes.
The diagnosis of a wrong signature tries what may have been meant, and names the signs when that is right. No sentence
contains any part of the secret.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

SHORT: Final = 16
LONG: Final = 40
"""The most that Help Scout's form takes."""

_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_QUOTES: Final = "\"'`\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}" \
    "\N{RIGHT SINGLE QUOTATION MARK}\N{DOUBLE LOW-9 QUOTATION MARK}\N{SINGLE LOW-9 QUOTATION MARK}" \
    "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}"  # fmt: skip
# A name that says so, or one in capitals; any other text before "=" may well be part of a secret.
_ASSIGNMENT: Final = re.compile(
    r"\s*(export\s+|set\s+|\$env:)?((?i:[\w.-]*(secret|key|token|password)[\w.-]*)|[A-Z][A-Z0-9_]{2,})[\"']?\s*[=:]\s*[^=\s]"
)
_COMMENT: Final = re.compile(r"\s*((#|//|;)\s|<!--)")
_OTHER_FILE: Final = re.compile(r"\s*(\{\s*\"|<\?xml|<!doctype|<html|-----BEGIN |\{\\rtf)", re.IGNORECASE)
_FILE_NAME: Final = re.compile(r"(file|env|credential):\S+|/(etc|home|opt|root|run|srv|usr|var)/\S+")


class Shape(NamedTuple):
    """One way in which a secret may be more or less than it should."""

    applies: Callable[[bytes, str], bool]
    """Takes the secret's bytes, and the same as text, with what is not UTF-8 replaced."""

    sentence: str
    """What is wrong; then, behind a semicolon, what to do. `{size}` is the number of bytes."""

    is_size: bool = False
    """Whether this is of its length alone: nothing could be taken away from it."""


def _is_utf_16(secret: bytes, _text: str) -> bool:
    return secret.startswith(_MARKS[1:]) or b"\0" in secret


def _unmarked(text: str) -> str:
    """Return a secret without a byte order mark and white space around it."""
    return text.removeprefix("\ufeff").strip()


def _inner(text: str) -> str:
    """Return a secret without quotes around it, too."""
    return _unmarked(text).strip(_QUOTES)


def _is_invisible(character: str) -> bool:
    """Return whether a character has no width, is a space that is not ASCII, or is a control character."""
    category = unicodedata.category(character)
    if category == "Zs":
        return character != " "
    return category in ("Cf", "Cc", "Zl", "Zp") and character not in "\r\n\t"


SHAPES: Final = (
    Shape(
        lambda secret, _text: len(secret) < SHORT,
        "{size} bytes are easy to guess; create a secret with `openssl rand -hex 20`, and enter it in Help Scout too",
        is_size=True,
    ),
    Shape(
        lambda secret, _text: len(secret) > LONG,
        f"{{size}} bytes, and Help Scout takes at most {LONG}; does it contain more than the secret?",
        is_size=True,
    ),
    Shape(
        lambda secret, _text: secret != secret.strip(),
        "begins or ends with white space, which is part of the secret; remove it, unless Help Scout has it too",
    ),
    Shape(
        _is_utf_16, "is saved as UTF-16, which is not what Help Scout has; save it as UTF-8 without a byte order mark"
    ),
    Shape(
        lambda secret, _text: secret.startswith(_MARKS[0]),
        "begins with a byte order mark, which is part of the secret; save it as UTF-8 without one",
    ),
    Shape(
        lambda secret, text: "\N{REPLACEMENT CHARACTER}" in text and not _is_utf_16(secret, text),
        "is not UTF-8 text, which is what Help Scout has; save it as UTF-8",
    ),
    Shape(
        lambda _secret, text: _inner(text) != _unmarked(text),
        "is in quotes, which are part of the secret; remove them, unless Help Scout has them too",
    ),
    Shape(
        lambda _secret, text: bool(_ASSIGNMENT.match(_inner(text))),
        "looks like NAME=secret, all of which is the secret; keep only what follows the sign",
    ),
    Shape(
        lambda _secret, text: "\n" in text.strip() or "\r" in text.strip(),
        "has more than one line, all of which are the secret; keep only the secret itself",
    ),
    Shape(
        lambda _secret, text: bool(_COMMENT.match(_inner(text))),
        "begins like a comment, which is part of the secret; keep only the secret itself",
    ),
    Shape(
        lambda secret, text: not _is_utf_16(secret, text) and any(map(_is_invisible, text.lstrip("\ufeff"))),
        "contains an invisible character, such as a no-break space, which is part of the secret; type it again",
    ),
    Shape(
        lambda _secret, text: bool(_OTHER_FILE.match(_inner(text))),
        "looks like a whole file, such as JSON or a key; put only the secret into it",
    ),
    Shape(
        lambda _secret, text: bool(_FILE_NAME.fullmatch(_inner(text))),
        "looks like the name of a file; put the secret itself there",
    ),
)


def odd_shapes(secret: bytes) -> Iterator[str]:
    """Yield what about a secret looks wrong, a sentence for each thing."""
    text = _text(secret, "replace")
    for shape in SHAPES:
        if shape.applies(secret, text):
            yield shape.sentence.format(size=len(secret))


_MOST_MEANT: Final = 24
_LINE_ENDS: Final = re.compile(r"[\r\n]+")
_COMMENT_BEHIND: Final = re.compile(r"\s+(#|//).*")


def meant(secret: bytes) -> tuple[bytes, ...]:
    """Return what may have been meant by a secret with an odd shape, each once; never the secret itself."""
    found: dict[bytes, None] = {}
    text = "".join(" " if each.isspace() and each not in "\r\n" else each for each in _text(secret, "surrogateescape"))
    shown = "".join(each for each in text if not _is_invisible(each))
    for line in (shown, *_LINE_ENDS.split(shown)):
        if not _COMMENT.match(line):
            for one in (line, _COMMENT_BEHIND.sub("", line)):
                found.update(dict.fromkeys(each.encode("utf-8", "surrogateescape") for each in _bare(one)))
    return tuple(each for each in found if each not in (b"", secret))[:_MOST_MEANT]


def _text(secret: bytes, errors: str) -> str:
    """Return a secret as text, by its encoding as far as that can be told, with the byte order mark of UTF-8."""
    if not _is_utf_16(secret, ""):
        return secret.decode("utf-8", errors)
    big = secret.startswith((_MARKS[2], b"\0"))
    return secret.decode("utf-16-be" if big else "utf-16-le", "ignore").removeprefix("\ufeff")


def _bare(line: str) -> tuple[str, str, str]:
    """Return a line without white space around it; without quotes; and without NAME= before it, and its quotes."""
    bare, inner = line.strip(), _inner(line)
    named = _ASSIGNMENT.match(inner)
    return bare, inner, _inner(inner[named.end() - 1 :]) if named else inner


def what_is_odd(secret: bytes) -> tuple[str, str]:
    """Return what is odd about a secret besides its length, and what to do about it: ("", "") if nothing is."""
    text = _text(secret, "replace")
    said = [shape.sentence for shape in SHAPES if not shape.is_size and shape.applies(secret, text)]
    whys, todos = zip(*(sentence.split("; ", 1) for sentence in said), strict=True) if said else ((), ())
    return ", and ".join(whys), "; ".join(todo.partition(", unless ")[0] for todo in dict.fromkeys(todos))
