"""Which texts are dates: those of common programs, where only one reading is possible."""

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cards.dates import ago_text, date_text, iso_moment, parse_datetime

BERLIN = ZoneInfo("Europe/Berlin")
DAY = date(2026, 1, 5)


def at(hour, minute=30, second=0, micro=0, zone=BERLIN):
    return datetime(2026, 1, 5, hour, minute, second, micro, tzinfo=zone)


DAYS = [
    *("2026-01-05", "2026/01/05", "2026/1/5", "2026.01.05", "20260105", "05.01.2026", "5.1.2026", "Jan 5, 2026"),
    *("January 5, 2026", "Jan. 5 2026", "Jan 5th, 2026", "Mon Jan 5, 2026", "Monday, January 5, 2026", "5 Jan 2026"),
    *("05-Jan-2026", "5. January 2026", "5th January, 2026", "Mon, 05 Jan 2026", "05 JAN 2026"),
]
MOMENTS = {
    "2026-01-05T09:30:00": at(9),
    "2026-01-05 09:30": at(9),
    "2026-01-05 09:30:00.5": at(9, micro=500_000),
    "2026-01-05T09:30:00.1234567": at(9, micro=123_456),
    "2026-01-05T09:30:00.123456789Z": at(10, micro=123_456),
    "2026-01-05 09:30:00,250": at(9, micro=250_000),
    "2026-01-05T09:30:00Z": at(10),
    "2026-01-05t09:30:00z": at(10),
    "2026-01-05 09:30:00 UTC": at(10),
    "2026-01-05 09:30:00 GMT": at(10),
    "2026-01-05 09:30:00+00": at(10),
    "2026-01-05 09:30:00+0200": at(8),
    "2026-01-05 09:30:00 -05:00": at(15),
    "2026-01-05 09:30:00.123456789 +0000 UTC": at(10, micro=123_456),
    "2026/01/05 09:30:00": at(9),
    "05.01.2026 09:30": at(9),
    "05.01.2026, 09:30:15": at(9, second=15),
    "Jan 5, 2026 9:30 AM": at(9),
    "Jan 5, 2026, 9:30:00 PM": at(21),
    "Jan 5, 2026, 9:30:00\u202fPM": at(21),
    "January 5, 2026 at 12:30 am": at(0),
    "Jan 5, 2026 12:30 p.m.": at(12),
    "Mon, 05 Jan 2026 09:30:00 +0000": at(10),
    "Mon, 05 Jan 2026 09:30:00 GMT": at(10),
    "1767605400": at(10),
    "1767605400000": at(10),
    "1767605400000000": at(10),
    "1767605400000000000": at(10),
    "1767605400.25": at(10, micro=250_000),
    "1767605400250.5": at(10, micro=250_500),
}
ONE_READING = {
    "13/04/2026": date(2026, 4, 13),
    "04/13/2026": date(2026, 4, 13),
    "5/5/2026": date(2026, 5, 5),
    "31-12-2026 09:30": datetime(2026, 12, 31, 9, 30, tzinfo=BERLIN),
    "Sept 5, 2026": date(2026, 9, 5),
}
NONE = {
    "two readings": "03/04/2026",
    "two readings, with a time": "3/4/2026 09:30",
    "two readings, with dashes": "03-04-2026",
    "a year of two digits": "5 Jan 26",
    "no such month": "2026-13-05",
    "no such day": "2026-02-30",
    "no such day, by name": "Feb 30, 2026",
    "no such month, by name": "Foo 5, 2026",
    "half a month's name": "Janu 5, 2026",
    "no such hour": "2026-01-05 24:30:00",
    "no such hour of twelve": "Jan 5, 2026 13:30 PM",
    "no such offset": "2026-01-05 09:30:00+99:00",
    "mixed separators": "2026/01-05",
    "a number": "42",
    "a long number": "12345678901",
    "a number of eight digits that is no day": "20261305",
    "a fraction": "1234.5",
    "a word": "never",
    "nothing": "",
    "two dates": "2026-01-05 2026-01-06",
    "a version": "1.2.2026.1",
    "other digits": "२०२६-०१-०५",
}


@pytest.mark.parametrize("text", DAYS)
def test_a_day(text):
    assert parse_datetime(text, BERLIN) == DAY


@pytest.mark.parametrize(("text", "moment"), MOMENTS.items(), ids=MOMENTS.keys())
def test_a_moment(text, moment):
    found = parse_datetime(text, BERLIN)
    assert (found, found.utcoffset()) == (moment, timedelta(hours=1))


@pytest.mark.parametrize(("text", "moment"), ONE_READING.items(), ids=ONE_READING.keys())
def test_a_day_of_one_reading(text, moment):
    assert parse_datetime(text, BERLIN) == moment


@pytest.mark.parametrize("text", NONE.values(), ids=NONE.keys())
def test_is_no_date(text):
    assert parse_datetime(text, BERLIN) is None


@given(st.text("0123456789-/.: TZ+,APMJaneb", max_size=30))
def test_any_text_is_a_moment_or_none(text):
    found = parse_datetime(text, BERLIN)
    if found is not None:
        assert date_text(found)
        assert ago_text(found, datetime(2026, 1, 5, tzinfo=UTC))


@given(st.integers(100_000_000, 7_258_118_400), st.integers(0, 999_999), st.integers(-14, 14))
def test_what_programs_write_is_read_back(second, micro, hours):
    """Python, RFC 5322 and JavaScript agree on which moment a text is."""
    moment = datetime.fromtimestamp(second, timezone(timedelta(hours=hours))).replace(microsecond=micro)
    for text in (moment.isoformat(), str(moment), f"{moment.timestamp():.6f}"):
        read = parse_datetime(text, UTC)
        assert read is not None
        assert abs(read - moment) < timedelta(milliseconds=1)
    seconds = moment.replace(microsecond=0)
    assert parse_datetime(f"{seconds:%a, %d %b %Y %H:%M:%S %z}", UTC) == seconds
    assert parse_datetime(f"{seconds:%b %d, %Y, %I:%M:%S %p %z}", UTC) == seconds
    assert parse_datetime(str(int(seconds.timestamp()) * 1000), UTC) == seconds


@pytest.mark.parametrize("text", ["2026/01/05", "05.01.2026", "1767605400", "Jan 5, 2026"])
def test_only_iso_is_a_date_whatever_its_column_is_called(text):
    assert iso_moment(text, BERLIN) is None


@pytest.mark.parametrize("text", ["1 " * 5000, "Jan " * 5000, "2026-01-05 " * 2000, "0" * 20_000, "1:" * 9000])
def test_a_hostile_text_is_no_date(text):
    assert parse_datetime(text, BERLIN) is None
