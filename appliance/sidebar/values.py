"""What the text of a cell says, where it can only mean one thing: a number, a date; and how a card writes it.

What could be read in two ways is not read at all: 03/04/2026 is two days, and 1.234 two amounts.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, tzinfo
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
_ISO: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.]{5,15}(?:Z| ?[+-][0-9:]{2,6})?)?")
_DOTTED: Final = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})")
_UNIX: Final = re.compile(r"[0-9]{9,10}")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def number_of(text: str) -> Decimal | None:
    """Give the number that a text is, or None."""
    text = text.strip()
    for pattern, group, point in NUMBERS:
        if pattern.fullmatch(text):
            return Decimal(text.replace(group, "").replace(point, ".") if group or point != "." else text)
    return None


def number_text(number: Decimal) -> str:
    """Give a number with its digits in groups: 12,345.6."""
    return f"{number:,f}"


def money_text(text: str, currency: str = "", digits: int = 2) -> str | None:
    """Give an amount as it is written in English, or None if the text is none: €1,234.50, -$5.00, 49.90 EUR."""
    amount = number_of(text)
    if amount is None or _THOUSANDS_OR_FRACTION.fullmatch(text.strip()):
        return None
    rounded = amount.quantize(_CENT if digits == 2 else Decimal((0, (1,), -digits)), ROUND_HALF_UP)
    number = f"{abs(rounded):,}"
    sign = "-" if rounded < 0 else ""
    if not currency or currency.isalpha():
        return f"{sign}{number}\N{NO-BREAK SPACE}{currency}" if currency else f"{sign}{number}"
    return f"{sign}{currency}{number}"


def iso_moment(text: str, zone: tzinfo) -> date | datetime | None:
    """Give the day, or the time in `zone`, that a text in ISO 8601 names, or None. A time without a zone is in it."""
    if not _ISO.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.date() if len(text) == 10 else _in_zone(moment, zone)


def moment_of(value: object, zone: tzinfo) -> date | datetime | None:
    """Give the day or time that a value is: ISO 8601, 24.12.2026, or seconds since 1970. None: it is none."""
    if isinstance(value, datetime):
        return _in_zone(value, zone)
    if isinstance(value, date):
        return value
    text = str(value).strip()
    if text[4:5] == "-":
        return iso_moment(text, zone)
    try:
        if match := _DOTTED.fullmatch(text):
            return date(int(match[3]), int(match[2]), int(match[1]))
        if _UNIX.fullmatch(text):
            return datetime.fromtimestamp(int(text), zone)
    except ValueError:
        pass
    return None


def _in_zone(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment.astimezone(zone)
    except OverflowError:  # at either end of the calendar
        return moment.replace(tzinfo=UTC)


def date_text(day: date) -> str:
    """Give a day as 24 May 2019, which nobody can take for another."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def ago_text(moment: date | datetime, now: datetime) -> str:
    """Give how long ago, or how far ahead: to the minute for a time of the last day, to the day for a day."""
    if isinstance(moment, datetime):
        seconds = (now - moment).total_seconds()
        if abs(seconds) < 60:
            return "just now"
        if abs(seconds) < 86400:
            minutes = int(seconds / 60)
            return _distance(minutes, "minute") if abs(minutes) < 60 else _distance(int(minutes / 60), "hour")
        moment = moment.date()
    days = (now.date() - moment).days
    if days in _NEAR:
        return _NEAR[days]
    if abs(days) < 60:
        return _distance(days, "day")
    if abs(days) < 730:
        return _distance(round(days / 30.44), "month")
    return _distance(int(days / 365.25), "year")


_NEAR: Final = {0: "today", 1: "yesterday", -1: "tomorrow"}


def _distance(count: int, unit: str) -> str:
    words = f"{abs(count)} {unit}{'s' * (abs(count) != 1)}"
    return f"{words} ago" if count > 0 else f"in {words}"
