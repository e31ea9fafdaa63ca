"""Names of columns: how they are compared, how they are shown, and how a message tells apart those that look alike.

Spreadsheets and web forms put into headers what nobody sees: marks of no width, no-break spaces, line ends, letters in
two pieces. None of it distinguishes one column from another.
"""

from __future__ import annotations

import unicodedata
from typing import Final

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
_LOOKS_LIKE_LATIN: Final = ("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "MATHEMATICAL", "FULLWIDTH")


def clean_name(text: str) -> str:
    """Return a name as it is shown: NFC, without characters that cannot be seen, with single spaces between words."""
    if text.isascii() and text.isprintable() and "  " not in text:  # as nearly all are
        return text.strip()
    visible = (" " if char.isspace() else char for char in unicodedata.normalize("NFC", text))
    return " ".join("".join(char for char in visible if unicodedata.category(char) not in _INVISIBLE).split())


def name_key(text: str) -> str:
    """Return the form in which names are compared: two names with one key are one column's."""
    name = clean_name(text).casefold()
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def shown_name(text: str) -> str:
    """Return a name in quotes, for a message; letters that look like others are named behind it: "еmail" (U+0435)."""
    odd = list(dict.fromkeys(f"U+{ord(char):04X}" for char in text if _is_odd(char))) if _has_latin(text) else []
    return f'"{text}" ({", ".join(odd)})' if odd else f'"{text}"'


def _has_latin(text: str) -> bool:
    return any(char.isascii() and char.isalpha() for char in text) or any("FULLWIDTH" in _name(char) for char in text)


def _is_odd(char: str) -> bool:
    return not char.isascii() and (_name(char).startswith(_LOOKS_LIKE_LATIN) or not char.isprintable())


def _name(char: str) -> str:
    return unicodedata.name(char, "")
