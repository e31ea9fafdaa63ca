"""What docs/log.md says of events is what the code logs."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import ROOT, Daemon

CALLS = {f"{log}.{level}" for log in ("log", "logs.log") for level in ("debug", "info", "warning", "error", "critical")}
ELSEWHERE = {"config_fault", "start_failed", "library"}  # named where they are not logged


def texts(node: ast.expr) -> Iterator[str]:
    """Yield every text that an event's name may be."""
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.IfExp):
        yield from (*texts(node.body), *texts(node.orelse))


def logged_events() -> set[str]:
    found = set(ELSEWHERE)
    for file in (ROOT / "appliance").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS:
                found.update(texts(node.args[0]))
    return found


def test_every_event_is_in_the_docs_and_no_other() -> None:
    text = (ROOT / "docs" / "log.md").read_text()
    cells = re.findall(r"(?m)^\| (`[a-z_]+`.*?) \|", text.partition("## Other events")[2])
    told = {name for cell in cells for name in re.findall(r"`([a-z_]+)`", cell)}
    assert told == logged_events() - {"request"}


RECIPE = re.compile(r"(?m)^journalctl -o cat _SYSTEMD_UNIT=sidebard.service.*? \| jq (-\w) '(.*?)'")
RECIPES = RECIPE.findall((ROOT / "docs" / "log.md").read_text())


@pytest.mark.system  # for it needs jq, and `make test` no more than README names
def test_the_recipes_for_jq_pick_what_they_say(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        daemon.ask()
        assert daemon.post(b"{}", b"wrong") == 403
        daemon.stop()
        daemon.rest()
    lines = [json.dumps({**line, "duration_us": 60_000 if line.get("status") == 200 else 1}) for line in daemon.lines]
    checked = '{"status":"ok","checks":[]}'  # as a reload writes it
    picked = []
    for form, recipe in RECIPES:
        number = recipe.replace("123456789", "1")
        said = subprocess.run(["jq", form, number], input="\n".join([*lines, checked]), capture_output=True, text=True)  # noqa: PLW1510
        assert (said.returncode, said.stderr) == (0, "")
        picked.append(said.stdout.splitlines())
    refused, kinds, slow, conversation = picked
    assert [json.loads(line)["status"] for line in refused] == [403]
    assert kinds == [json.loads(refused[0])["outcome"]]
    assert [json.loads(line)["status"] for line in slow] == [200]
    assert conversation == slow
