"""The day or time that the text of a cell is, where it can only mean one; and how a card writes it.

What could be read in two ways is not read at all: 03/04/2026 is two days, and 13/04/2026 one. FORMS has a pattern for
each way in which common programs write a date; the names of its groups say what is what.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Final

_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_SHORT_MONTHS: Final = tuple(month[:3].title() for month in _MONTHS)

_TIME: Final = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,12}))?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?"
    r"(?: ?(?P<zone>Z|z|(?:UTC|GMT)?(?P<sign>[+-])(?P<hours>[0-9]{2}):?(?P<minutes>[0-9]{2})?|UTC|GMT))?(?: UTC| GMT)?"
)
_WEEKDAY: Final = r"(?:(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|Sat(?:ur)?|Sun)(?:day)?,? )?"
_MONTH: Final = r"(?P<name>[A-Za-z]{3,9})\.?"

ISO: Final = re.compile(rf"(?P<year>[0-9]{{4}})-(?P<month>[0-9]{{2}})-(?P<day>[0-9]{{2}})(?:[Tt ]{_TIME})?")
_ISO_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
FORMS: Final = (
    ISO,
    re.compile(rf"(?P<year>[0-9]{{4}})([/.])(?P<month>[0-9]{{1,2}})\2(?P<day>[0-9]{{1,2}})(?: {_TIME})?"),
    re.compile(r"(?P<year>(?:19|20)[0-9]{2})(?P<month>[0-9]{2})(?P<day>[0-9]{2})"),
    re.compile(rf"(?P<day>[0-9]{{1,2}})\.(?P<month>[0-9]{{1,2}})\.(?P<year>[0-9]{{4}})(?:,? {_TIME})?"),
    re.compile(rf"(?P<one>[0-9]{{1,2}})([/-])(?P<other>[0-9]{{1,2}})\2(?P<year>[0-9]{{4}})(?:,? {_TIME})?"),
    re.compile(
        rf"{_WEEKDAY}{_MONTH} (?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?,? (?P<year>[0-9]{{4}})(?:(?:,| at)? {_TIME})?"
    ),
    re.compile(
        rf"{_WEEKDAY}(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th|\.)?[ -]{_MONTH}[ ,-]{{1,2}}(?P<year>[0-9]{{4}})"
        rf"(?:(?:,| at)? {_TIME})?"
    ),
)
_UNIX: Final = re.compile(r"(?P<whole>[0-9]{9,19})(?:\.[0-9]{1,9})?")
_UNITS: Final = {9: 1, 10: 1, 12: 1_000, 13: 1_000, 15: 10**6, 16: 10**6, 18: 10**9, 19: 10**9}
"""How many are in a second, by the number of digits: seconds to nanoseconds since 1970 are told apart from 1973 on."""


def iso_moment(text: str, zone: tzinfo) -> date | datetime | None:
    """Return the day, or the time in `zone`, that a text in ISO 8601 names, or None. A time without a zone is in it."""
    if _ISO_DAY.fullmatch(text):  # as most are
        try:
            return date.fromisoformat(text)
        except ValueError:
            return None
    match = ISO.fullmatch(text)
    return None if match is None else _moment(match, zone)


def parse_datetime(value: object, zone: tzinfo) -> date | datetime | None:
    """Return the day or time that a value is, in one of FORMS or as time since 1970. None: it is none."""
    if isinstance(value, datetime):
        return _in_zone(value, zone)
    if isinstance(value, date):
        return value
    text = " ".join(str(value).split())  # the spaces before AM are often narrow ones that do not break
    if match := _UNIX.fullmatch(text):
        return _since_1970(text, len(match["whole"]), zone)
    for form in FORMS:
        if match := form.fullmatch(text):
            return _moment(match, zone)
    return None


def _since_1970(text: str, digits: int, zone: tzinfo) -> datetime | None:
    unit = _UNITS.get(digits)
    if unit is None:
        return None
    try:
        return datetime.fromtimestamp(float(text) / unit, zone)
    except (ValueError, OverflowError, OSError):
        return None


def _moment(match: re.Match[str], zone: tzinfo) -> date | datetime | None:
    """Return what a match of FORMS says, or None if there is no such day or time, or there are two."""
    found = match.groupdict()
    try:
        day = _day(found)
        if day is None or found.get("hour") is None:
            return day
        hour = _hour(int(found["hour"]), found["half"])
        fraction = (found["fraction"] or "").ljust(6, "0")[:6]
        time = (hour, int(found["minute"] or 0), int(found["second"] or 0), int(fraction))
        own = zone if found["zone"] is None else _offset(found)
        return _in_zone(datetime(day.year, day.month, day.day, *time, tzinfo=own), zone)
    except ValueError:
        return None


def _day(found: dict[str, str | None]) -> date | None:
    """Return the day. Raises ValueError if there is no such day; None if it may be one of two."""
    year = int(found["year"] or 0)
    if name := found.get("name"):
        name = "sep" if name.lower() == "sept" else name
        months = [number for number, month in enumerate(_MONTHS, 1) if name.lower() in (month, month[:3])]
        return date(year, months[0], int(found["day"] or 0)) if months else None
    if found.get("one") is None:
        return date(year, int(found["month"] or 0), int(found["day"] or 0))
    one, other = int(found["one"] or 0), int(found["other"] or 0)
    if one <= 12 and other <= 12 and one != other:
        return None
    return date(year, min(one, other), max(one, other))


def _hour(hour: int, half: str | None) -> int:
    """Return the hour of 24. Raises ValueError if a clock of 12 hours has no such hour."""
    if half is None:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError(hour)
    return hour % 12 + (12 if half in "pP" else 0)


def _offset(found: dict[str, str | None]) -> tzinfo:
    if found["sign"] is None:
        return UTC
    distance = timedelta(hours=int(found["hours"] or 0), minutes=int(found["minutes"] or 0))
    return timezone(-distance if found["sign"] == "-" else distance)


def _in_zone(moment: datetime, zone: tzinfo) -> datetime:
    try:
        return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment.astimezone(zone)
    except OverflowError:  # at either end of the calendar
        return moment.replace(tzinfo=UTC)


def date_text(day: date) -> str:
    """Return a day as 24 May 2019, which nobody can take for another."""
    return f"{day.day} {_SHORT_MONTHS[day.month - 1]} {day.year}"


def ago_text(moment: date | datetime, now: datetime) -> str:
    """Return how long ago, or how far ahead: to the minute for a time of the last day, to the day for a day."""
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
