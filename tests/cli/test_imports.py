"""What a start does not import: each module would cost every start its time, and every process its memory.

What most processes need is imported before the first fork, so that they share it. What is in this table is needed by
one of them alone, rarely, or by other commands.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.daemon import ROOT

LATER = {
    "appliance.acme": "the steward and workers, with [acme]",
    "appliance.bootstrap.proposal": "commands without a config",
    "appliance.ingest.sources.mysql_inspection": "check",
    "appliance.ingest.sources.postgres_inspection": "check",
    "appliance.ingest.survey": "commands without a config",
    "appliance.observe.exposition": "the steward, once it is scraped",
    "appliance.preview": "preview",
    "appliance.replay": "replay",
    "asyncpg": "the process that fetches",
    "cryptography": "whoever reads or makes certificates: not without TLS",
    "http.server": "nothing; prometheus_client brings it along",
    "importlib.resources": "nothing",
    "prometheus_client": "the steward, once it is scraped",
    "pymysql": "the process that fetches",
    "re2": "a config with app.subject",
    "tornado.simple_httpclient": "nothing",
    "unittest": "nothing",
    "urllib.request": "nothing; prometheus_client brings it along",
    "zoneinfo": "a config with a time zone of its own",
}
"""A module that a start does not import -> what needs it."""

LOAD = "import sys; import appliance.__main__, appliance.cli.{}; print(*sys.modules, sep=chr(10))"


@pytest.fixture(scope="module")
def imported() -> frozenset[str]:
    """Return the names of all modules that `sidebard serve` has imported before it reads its config."""
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {LOAD.format('serve')}"]
    return frozenset(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_it_is_seen_what_a_start_imports(imported: frozenset[str]) -> None:
    assert {"appliance.service.worker", "appliance.service.steward", "tornado.web", "structlog", "uvloop"} <= imported


@pytest.mark.parametrize("module", LATER)
def test_a_start_does_not_import(module: str, imported: frozenset[str]) -> None:
    assert module not in imported, f"it is needed by {LATER[module]}"
