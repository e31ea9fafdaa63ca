"""What docs/log.md says of events is what the code logs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.daemon import ROOT

CALLS = {f"{log}.{level}" for log in ("log", "logs.log") for level in ("debug", "info", "warning", "error", "critical")}
KINDS = ("worker", "steward")
ELSEWHERE = {"config_fault", "start_failed", "library"}  # named where they are not logged


def texts(node: ast.expr) -> Iterator[str]:
    """Give every text that an event's name may be."""
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.IfExp):
        yield from (*texts(node.body), *texts(node.orelse))
    elif isinstance(node, ast.JoinedStr):
        yield from (f"{kind}{node.values[-1].value}" for kind in KINDS)  # type: ignore[attr-defined]


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
