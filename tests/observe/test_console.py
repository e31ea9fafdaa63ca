"""Lines for people on a terminal: short, in order, complete, and harmless."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from appliance.observe import console
from tests.observe.test_log_docs import logged_events

NOW = time.mktime((2026, 9, 21, 21, 2, 20, 0, 0, -1))

CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "serving": (
        "info",
        {"event": "serving", "addresses": ["127.0.0.1:8445"], "tls": True, "workers": 2, "rows": 300},
        "serving  127.0.0.1:8445, 300 customers  tls=yes workers=2",
    ),
    "serving with a page": (
        "info",
        {"event": "serving", "addresses": ["127.0.0.1:8445"], "rows": 1, "status_page": "http://127.0.0.1:9180/"},
        "serving  127.0.0.1:8445, 1 customer, open http://127.0.0.1:9180/",
    ),
    "serving without data": (
        "info",
        {"event": "serving", "addresses": ["127.0.0.1:8445", "[::1]:8445"], "tls": False, "workers": 1, "rows": None},
        "serving  127.0.0.1:8445, [::1]:8445, no customers  tls=no workers=1",
    ),
    "thousands": (
        "info",
        {"event": "import", "rows": 1_234_567, "bad_rows": 0, "seconds": 12.3456},
        "import  1,234,567 customers, 12.3 s  bad_rows=0",
    ),
    "one": ("info", {"event": "import", "rows": 1, "seconds": 0.01}, "import  1 customer, 0.01 s"),
    "a request": (
        "info",
        {
            "event": "request",
            "app": "",
            "status": 200,
            "outcome": "found",
            "cache": "hit",
            "duration_us": 412,
            "agent": None,
        },
        "request  200, found, 0.412 ms  app=- cache=hit agent=-",
    ),
    "a warning": (
        "warning",
        {"event": "running_as_root", "todo": "name a user in server.user"},
        "warning: running_as_root  name a user in server.user",
    ),
    "a warning of Python's": (
        "warning",
        {"event": "warning", "category": "DeprecationWarning", "where": "a.py:1"},
        "warning  DeprecationWarning, a.py:1",
    ),
    "an error with more": (
        "error",
        {"event": "import_refused", "why": "the file is empty", "bad": ["line 2: no", "line 3"]},
        'error: import_refused  the file is empty  bad="line 2: no, line 3"',
    ),
    "values within a value": (
        "warning",
        {"event": "refusals_not_logged", "count": 3, "outcomes": {"bad_signature": 2, "not_found": 1}},
        'warning: refusals_not_logged  count=3 outcomes="bad_signature 2, not_found 1"',
    ),
    "nothing in a list": ("info", {"event": "x", "of": []}, "x  of=-"),
    "many lines": (
        "error",
        {"event": "reload_refused", "why": "a.toml:1: no\na.toml:2: no"},
        "error: reload_refused  a.toml:1: no\n          a.toml:2: no",
    ),
    "a terminal's commands": (
        "warning",
        {"event": "stderr", "process": "worker", "pid": 7, "text": "\x1b[2J\x07one"},
        "warning: stderr  ·[2J·one  process=worker pid=7",
    ),
}


@pytest.mark.parametrize(("level", "event", "shown"), CASES.values(), ids=CASES.keys())
def test_a_line(level: str, event: dict[str, Any], shown: str) -> None:
    line = console.line(NOW, level, event, colours=False)
    assert line == f"21:02:20  {shown}\n"
    coloured = console.line(NOW, level, event, colours=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == line


def test_the_time_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        assert console.line(0.0, "info", {"event": "x"}, colours=False) == "09:00:00  x\n"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_is_said_first_is_said_of_events_that_there_are() -> None:
    assert set(console.LEADS) - {""} <= logged_events()
