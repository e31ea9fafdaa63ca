"""The number that the text of a cell is, where it can only mean one; and how a card writes it.

What could be read in two ways is not read at all: 1.234 is two amounts.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

# How a number may be written, what groups its digits, and what begins its fraction.
NUMBERS: Final = (
    (re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,9})?"), "", "."),
    (re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3}){1,5}(?:\.[0-9]{1,9})?"), ",", "."),
    (re.compile(r"[+-]?[0-9]{1,3}(?:\.[0-9]{3}){1,5},[0-9]{1,9}"), ".", ","),
    (re.compile(r"[+-]?[0-9]{1,15},[0-9]{1,2}"), "", ","),
)
_THOUSANDS_OR_FRACTION: Final = re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}")
_CENT: Final = Decimal("0.01")


def number_of(text: str) -> Decimal | None:
    """Return the number that a text is, or None."""
    text = text.strip()
    for pattern, group, point in NUMBERS:
        if pattern.fullmatch(text):
            return Decimal(text.replace(group, "").replace(point, ".") if group or point != "." else text)
    return None


def number_text(number: Decimal) -> str:
    """Return a number with its digits in groups: 12,345.6."""
    return f"{number:,f}"


def money_text(text: str, currency: str = "", digits: int = 2) -> str | None:
    """Return an amount as it is written in English, or None if the text is none: €1,234.50, -$5.00, 49.90 EUR."""
    amount = number_of(text)
    if amount is None or _THOUSANDS_OR_FRACTION.fullmatch(text.strip()):
        return None
    rounded = amount.quantize(_CENT if digits == 2 else Decimal((0, (1,), -digits)), ROUND_HALF_UP)
    number = f"{abs(rounded):,}"
    sign = "-" if rounded < 0 else ""
    if not currency or currency.isalpha():
        return f"{sign}{number}\N{NO-BREAK SPACE}{currency}" if currency else f"{sign}{number}"
    return f"{sign}{currency}{number}"
