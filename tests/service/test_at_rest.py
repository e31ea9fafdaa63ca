"""Files that are written in place, by an exporter that pauses: what is read of them is whole."""

from __future__ import annotations

import time
from pathlib import Path

from tests.daemon import Daemon, until
from tests.factory import CUSTOMERS

PEOPLE = [f"person{number}@example.com" for number in range(100)]
PAUSE = 1.5  # seconds: seven looks, where two that are the same were enough


def content(plan: str) -> bytes:
    rows = [",".join(row) for row in CUSTOMERS] + [f"{address},Somebody,{plan}" for address in PEOPLE]
    return "".join(f"{row}\r\n" for row in rows).encode()


def test_a_slow_exporter_s_file_is_read_when_it_is_closed(tmp_path: Path) -> None:
    """It pauses in the last 15 %, so the cut is within max_shrink, and between two lines, so it looks whole."""
    file = tmp_path / "customers.csv"
    file.write_bytes(content("Old"))
    with Daemon(tmp_path, customers=False, config="[log]\nrequests = false\n") as daemon:
        daemon.wait_for("serving")
        new = content("Newer")
        cut = new.rindex(b"\n", 0, len(new) * 9 // 10) + 1
        with file.open("wb", buffering=0) as export:
            export.write(new[:cut])
            began = time.monotonic()
            while time.monotonic() < began + PAUSE:
                assert "Old" in daemon.ask(PEOPLE[-1])
            export.write(new[cut:])
        closed = time.monotonic()
        until(lambda: "Newer" in daemon.ask(PEOPLE[-1]), "the new data")
        assert time.monotonic() - closed < 8  # not the long rest, for it was seen to be closed
        assert daemon.stop() == 0
        daemon.rest()
        assert [line["event"] for line in daemon.lines if str(line["event"]).startswith("import")] == ["import"] * 2
