"""What log lines hold, and what they never do."""

import io
import json
import logging
import os
import warnings

import msgspec
import pytest

from appliance.config.values import LEVELS
from appliance.edge.refusals import Refusal
from appliance.observe import hooks, logs
from appliance.outcomes import Outcome, Reply, Response
from tests.server import Lines

REPLY = Reply(
    Response(200, b"{}", "text/html"), Outcome.FOUND, cache="hit", conversation=1, mailbox=2, agent=3, customer="abc"
)
KEYS = "timestamp level event app status outcome cache duration_us bytes peer conversation mailbox agent customer"


def written(reply=REPLY, **options):
    stream = Lines()
    logs.RequestLog(stream, lambda: 0.25, **options).write(reply, "helpscout", 17, "192.0.2.1")
    return stream.getvalue()


def test_the_request_line():
    assert json.loads(written()) == {
        "timestamp": "1970-01-01T00:00:00.250Z",
        "level": "info",
        "event": "request",
        "app": "helpscout",
        "status": 200,
        "outcome": "found",
        "cache": "hit",
        "duration_us": 17,
        "bytes": 2,
        "peer": "192.0.2.1",
        "conversation": 1,
        "mailbox": 2,
        "agent": 3,
        "customer": "abc",
    }
    assert written().endswith(b"}\n")


def test_its_keys_and_their_order_are_fixed():
    assert (
        list(json.loads(written(Refusal.NOT_FOUND.reply))) == KEYS.split() == list(logs.RequestLine.__struct_fields__)
    )
    with pytest.raises(TypeError, match="address"):
        msgspec.structs.replace(logs.RequestLine(**json.loads(written())), address="ann@example.com")


def test_requests_can_be_left_out():
    assert written(on=False) == b""


def test_on_a_terminal_lines_are_for_people():
    stream = Lines()
    logs.configure(stream, lambda: 0.0, terminal=True)
    logs.RequestLog(stream, lambda: 0.25, terminal=True).write(REPLY, "helpscout", 17, "192.0.2.1")
    assert "request" in stream.getvalue().decode()
    with pytest.raises(json.JSONDecodeError):
        json.loads(stream.getvalue())


@pytest.mark.parametrize(("value", "coloured"), [("", True), ("1", False)], ids=["empty", "set"])
def test_no_color(value, coloured, monkeypatch):
    monkeypatch.setenv("NO_COLOR", value)
    stream = Lines()
    logs.configure(stream, lambda: 0.0, terminal=True)
    logs.log.info("snapshot", rows=7)
    assert (b"\x1b[" in stream.getvalue()) is coloured


def test_an_event(logged):
    logs.log.info("snapshot", rows=7)
    line = logged.take("snapshot")
    assert list(line.items()) == [
        ("timestamp", "2026-09-21T14:13:20.000Z"),
        ("level", "info"),
        ("event", "snapshot"),
        ("rows", 7),
    ]


def test_a_name_that_is_not_utf8_is_escaped():
    """Such as a file's: no line may end the process that writes it."""
    odd = os.fsdecode(b"\xff")
    stream = io.BytesIO()
    logs.configure(stream, lambda: 0.0)
    logs.log.info("check_warning", file=odd, more=[odd, {"x": odd}], size=1)
    found = json.loads(stream.getvalue())
    assert (found["file"], found["more"], found["size"]) == ("\\udcff", ["\\udcff", {"x": "\\udcff"}], 1)


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_levels(level, shown):
    stream = io.BytesIO()
    logs.configure(stream, lambda: 0.0, level=level)
    for method in LEVELS:
        getattr(logs.log, method)("x")
    assert len(stream.getvalue().splitlines()) == shown


def test_what_libraries_log_comes_without_the_values(logged):
    """Tornado formats parts of requests into its messages."""
    logging.getLogger("tornado.general").warning("Malformed HTTP message from %s: %s", "192.0.2.1", "ann@example.com")
    line = logged.take("library")
    assert (line["library"], line["message"]) == ("tornado.general", "Malformed HTTP message from %s: %s")
    assert "ann@" not in str(line)


def test_an_exception_comes_with_frames_and_without_text(logged):
    try:
        raise ValueError("ann@example.com")
    except ValueError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved\nfuture: <ann@example.com>")
    line = logged.take("library")
    assert line["error"] == "ValueError"
    assert "test_logs.py" in line["frames"][-1]
    assert "ann@" not in str(line)


def test_warnings_are_events(logged):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = hooks.show_warning  # pytest had put its own in the place
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert logged.take("warning")["category"] == "DeprecationWarning"


def test_a_crash_is_one_line(logged):
    error = ValueError("ann@example.com")
    hooks.log_crash(ValueError, error, None)
    assert logged.take("crash")["error"] == "ValueError"
