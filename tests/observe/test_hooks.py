"""What Python would print by itself: logged, and not more often than is of use."""

from __future__ import annotations

import weakref
from types import SimpleNamespace, TracebackType
from typing import Any

import pytest

from appliance.observe.hooks import UNRAISABLE_EVERY, Unraisable
from appliance.observe.logs import is_journal
from tests.conftest import Logged


def raised(kind: type[Exception]) -> Exception:
    try:
        raise kind("ann@example.com")
    except kind as error:
        return error


def report(hook: Unraisable, error: BaseException, trace: TracebackType | None = None) -> None:
    """Tell the hook as Python does; the object may be what a client sent."""
    told: Any = SimpleNamespace(
        exc_type=type(error), exc_value=error, exc_traceback=trace or error.__traceback__, err_msg=None, object=b"\xff"
    )
    hook(told)


def test_is_said_at_once_and_then_once_a_minute(logged: Logged) -> None:
    now = [0.0]
    hook = Unraisable(lambda: now[0])
    for _ in range(200):
        report(hook, raised(ValueError))
    line = logged.take("unraisable")
    assert (line["level"], line["error"], line["count"]) == ("warning", "ValueError", 1)
    assert "test_hooks.py" in str(line["frames"])
    assert "ann@" not in str(line)
    assert "xff" not in str(line)
    now[0] = UNRAISABLE_EVERY - 0.1
    report(hook, raised(ValueError))
    assert logged.rest() == []
    now[0] = UNRAISABLE_EVERY
    report(hook, raised(ValueError))
    assert logged.take("unraisable")["count"] == 201
    report(hook, raised(ValueError))


def test_each_type_is_said(logged: Logged) -> None:
    hook = Unraisable(lambda: 0.0)
    for kind in (ValueError, KeyError, ValueError):
        report(hook, raised(kind))
    assert [line["error"] for line in logged.rest()] == ["ValueError", "KeyError"]
    logged.lines.clear()


def test_kinds_without_end_are_not_all_remembered(logged: Logged) -> None:
    hook = Unraisable(lambda: 0.0)
    for number in range(1000):
        report(hook, raised(type(f"Error{number}", (Exception,), {})))
    assert len(logged.rest()) == 101
    logged.lines.clear()


def test_only_a_type_is_enough(logged: Logged) -> None:
    told: Any = SimpleNamespace(exc_type=KeyError, exc_value=None, exc_traceback=None, err_msg=None, object=None)
    Unraisable(lambda: 0.0)(told)
    assert logged.take("unraisable")["frames"] == []


def test_nothing_is_kept_alive(logged: Logged) -> None:
    hook = Unraisable(lambda: 0.0)
    error = raised(type("Error", (Exception,), {}))
    gone = weakref.ref(error)
    report(hook, error)
    del error
    assert gone() is None
    logged.take("unraisable")


@pytest.mark.parametrize(
    ("stream", "journal"),
    [
        ("{device}:{inode}", True),
        ("{device}:1", False),
        ("1:{inode}", False),
        ("", False),
        ("{device}", False),
        (None, False),
    ],
)
def test_the_journal_is_known_by_device_and_inode(tmp_path: Any, stream: str | None, journal: bool) -> None:
    with (tmp_path / "file").open("wb") as file:
        found = (tmp_path / "file").stat()
        environ = {} if stream is None else {"JOURNAL_STREAM": stream.format(device=found.st_dev, inode=found.st_ino)}
        assert is_journal(file.fileno(), environ) is journal
        closed = file.fileno()
    assert is_journal(closed, environ) is False
