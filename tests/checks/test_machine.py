"""The checks of the machine: state folder, space, clock, descriptors."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.checks.finding import Status
from appliance.ingest import resources
from tests.checks.running import context, only, run_check
from tests.edge.test_tls import NOW


def test_the_state_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    where = context(tmp_path, server="")
    (tmp_path / "state").rmdir()
    assert "state does not exist yet, and will be created" in only(run_check("state", where)).sentence
    (tmp_path / "state").touch()
    finding = only(run_check("state", where))
    assert (finding.status, "set server.state to another folder, or correct its owner" in finding.sentence) == (
        Status.FAULT,
        True,
    )


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = context(tmp_path)
    assert run_check("space", where).status is Status.OK
    monkeypatch.setattr(resources, "_ROOM", 1 << 60)
    finding = only(run_check("space", where))
    assert (finding.status, "make room there" in finding.sentence) == (Status.FAULT, True)


@pytest.mark.parametrize(
    ("now", "status"),
    [
        (datetime(1970, 1, 2, tzinfo=UTC), "fault"),
        (datetime(2025, 12, 31, tzinfo=UTC), "fault"),
        (NOW - timedelta(days=1), "warning"),
        (NOW, "ok"),
    ],
    ids=["no battery", "before this build", "a day before a file of the state", "right"],
)
def test_the_clock(now: datetime, status: str, tmp_path: Path) -> None:
    where = context(tmp_path, now=now.timestamp())
    (tmp_path / "state" / "log.key").touch()
    os.utime(tmp_path / "state" / "log.key", (NOW.timestamp(), NOW.timestamp()))
    assert only(run_check("clock", where)).status.value == status


def test_descriptors(tmp_path: Path) -> None:
    assert only(run_check("descriptors", context(tmp_path, server="max_connections = 10"))).status is Status.OK
    finding = only(run_check("descriptors", context(tmp_path, server="max_connections = 1_000_000")))
    assert (finding.status, "raise LimitNOFILE=" in finding.sentence) == (Status.WARNING, True)
