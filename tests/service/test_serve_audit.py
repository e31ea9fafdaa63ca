"""The audit trail of the whole service."""

from __future__ import annotations

import http.client
import json
import os
import re
import shlex
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from tests.daemon import ROOT, Daemon, until
from tests.factory import body_for, sign
from tests.service.test_faults import clients
from tests.service.test_log import metric

TRAIL = '[log]\ntrail = "trail"\n'


def read(folder: Path) -> list[dict[str, object]]:
    """Return the trail's lines, all of which are JSON."""
    return [json.loads(line) for line in (folder / "trail").read_text().splitlines()]


def look(daemon: Daemon, email: str) -> None:
    """Look at a customer as an agent does, with every id."""
    body = body_for(email, user={"id": 7, "fname": "Agnes"}, mailbox={"id": "5", "email": "help@example.com"})
    assert daemon.post(body, sign(body)) == 200


@pytest.mark.parametrize("named", [False, True], ids=["hash", "address"])
def test_says_who_looked_at_whom(named: bool, tmp_path: Path) -> None:
    with Daemon(tmp_path, workers=2, config=TRAIL + f"trail_addresses = {str(named).lower()}\n") as daemon:
        daemon.wait_for("serving")
        look(daemon, "Ann@Example.com")
        look(daemon, "nobody@example.com")
        daemon.post(b"{}", b"wrong")
        daemon.post(b"{}", sign(b"{}"))
        assert daemon.stop() == 0
        daemon.rest()
    lines = sorted(read(tmp_path), key=lambda line: str(line["outcome"]))
    requests = [line for line in daemon.lines if line["event"] == "request"]
    assert [line["outcome"] for line in lines] == ["found", "unknown"]
    assert [(line["agent"], line["mailbox"], line["conversation"]) for line in lines] == [(7, 5, 1)] * 2
    assert {line["customer"] for line in lines} == {line["customer"] for line in requests} - {None}
    assert [line.get("address") for line in lines] == (
        ["ann@example.com", "nobody@example.com"] if named else [None] * 2
    )
    assert "example" not in json.dumps(daemon.lines)
    assert "Agnes" not in (tmp_path / "trail").read_text()
    assert stat.S_IMODE((tmp_path / "trail").stat().st_mode) == 0o600


def test_says_whose_card_was_shown_by_a_number_in_the_subject(tmp_path: Path) -> None:
    rule = '[[app.subject]]\npattern = "Jackie Chan"\ncolumn = "name"\n'
    with Daemon(tmp_path, config=TRAIL + "trail_addresses = true\n", app=rule) as daemon:
        daemon.wait_for("serving")
        body = body_for("nobody@example.com", ticket={"id": 1, "subject": "I am Jackie Chan"})
        assert daemon.post(body, sign(body)) == 200
        look(daemon, "jackie.chan@somewhere.com")
        daemon.stop()
    by_number, by_address = read(tmp_path)
    assert by_number["address"] == "jackie.chan@somewhere.com"
    assert by_number["customer"] == by_address["customer"]


def hash_by_the_docs(key: str, file: Path) -> str:
    """Return the hash of ada@example.com by the command of docs/log.md that names this key."""
    text = (ROOT / "docs" / "log.md").read_text()
    command = re.search(rf"(?m)^    python3 -c .*\n.* {re.escape(key)}$", text)
    assert command is not None
    asked = command[0].replace(key, shlex.quote(str(file)))
    return subprocess.run(["sh", "-c", asked], capture_output=True, check=True, text=True, timeout=60).stdout.strip()


def test_the_hash_of_an_address_is_found_as_the_docs_say(tmp_path: Path) -> None:
    with Daemon(tmp_path, config=TRAIL) as daemon:
        daemon.wait_for("serving")
        look(daemon, "Ada@example.com")
        daemon.stop()
    said = hash_by_the_docs("/var/lib/sidebard/log.key", tmp_path / "state" / "log.key")
    assert said == read(tmp_path)[0]["customer"]


def test_with_a_hash_key_it_is_the_same_wherever_the_key_is(tmp_path: Path) -> None:
    key, (first, second) = tmp_path / "hash-key", ("k" * 32 + "\r\n", "l" * 64 + "\n")
    key.write_text(first)
    hashes = [hash_by_the_docs("/etc/sidebard/hash-key", key)]
    with Daemon(tmp_path, config=TRAIL + 'hash_key = "file:hash-key"\n') as daemon:
        daemon.wait_for("serving")
        look(daemon, "Ada@example.com")
        key.write_text("too short\n")
        daemon.send(signal.SIGHUP)
        assert "log.hash_key: file:hash-key has 9 bytes" in str(daemon.wait_for("reload_refused")["why"])
        look(daemon, "Ada@example.com")
        key.write_text(second)
        hashes.append(hash_by_the_docs("/etc/sidebard/hash-key", key))
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        look(daemon, "Ada@example.com")
        daemon.stop()
        daemon.rest()
    assert [line["customer"] for line in read(tmp_path)] == [hashes[0], hashes[0], hashes[1]]
    assert len((tmp_path / "state" / "log.key").read_bytes()) == 32  # its own key stays, for when hash_key is removed


def test_nothing_is_missing_after_kills_but_what_is_counted(tmp_path: Path) -> None:
    with Daemon(tmp_path, workers=2, config=TRAIL) as daemon:
        daemon.wait_for("serving")
        with clients(daemon) as failures:
            for number in range(3):
                asked = daemon.requests
                until(lambda before=asked: daemon.requests > before + 50, "some requests")
                os.kill(daemon.workers()[0], signal.SIGKILL)
                daemon.wait_for("worker_died")
                daemon.healthy()
                (tmp_path / "trail").rename(tmp_path / f"trail.{number}")  # as logrotate does
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        lost = metric(daemon, "trail_lines_lost_total")
        assert daemon.stop() == 0
        daemon.rest()
    told = sum(int(str(line["count"])) for line in daemon.lines if line["event"] == "trail_lines_lost")
    lines = [json.loads(line) for file in tmp_path.glob("trail*") for line in file.read_text().splitlines()]
    assert told == lost
    # A request that failed may have been noted; one that was written just before the kill is counted as lost.
    assert daemon.requests <= len(lines) + lost <= daemon.requests + len(failures) + lost


def test_a_disk_that_does_not_take_it_stops_no_request(tmp_path: Path) -> None:
    trail = tmp_path / "trail"
    with Daemon(tmp_path, config=TRAIL) as daemon:
        daemon.wait_for("serving")
        daemon.ask()
        until(lambda: trail.stat().st_size, "the first line")
        trail.unlink()
        trail.mkdir()
        daemon.ask()
        assert daemon.wait_for("trail_failed")["why"] == "Is a directory"
        (reason,) = daemon.health()["reasons"]
        assert reason == "the audit trail cannot be written: Is a directory; its lines are being queued, up to a limit"
        daemon.ask()
        trail.rmdir()
        assert daemon.wait_for("trail_recovered")["lost"] == 0
        daemon.healthy()
        assert len(read(tmp_path)) == 2


def test_a_trail_that_cannot_be_written_is_no_start(tmp_path: Path) -> None:
    with Daemon(tmp_path, config='[log]\ntrail = "none/trail"\n') as daemon:
        assert str(daemon.wait_for("start_failed")["message"]).startswith(
            f"{tmp_path}/none/trail: the audit trail cannot be written: No such file or directory; name another file"
        )
        assert daemon.end() == 3


def test_a_trail_that_cannot_be_written_is_no_reload(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        daemon.write_config(more='[log]\ntrail = "none/trail"\n')
        daemon.send(signal.SIGHUP)
        assert "the audit trail cannot be written" in str(daemon.wait_for("reload_refused")["why"])
        try:
            assert "Ann Lee" in daemon.ask()
        except http.client.HTTPException as error:
            raise AssertionError(error) from None
