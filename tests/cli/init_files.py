"""Every source that the tests of the import know, for `sidebard init`: refused ones, odd ones, damaged ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ingest.bad_csv_files import CSV_FILES
from tests.ingest.bad_databases import DATABASES
from tests.ingest.test_csv_reader import HEADERS
from tests.ingest.test_file_kinds import EXAMPLES
from tests.ingest.test_skip_lines import READ, SEEN
from tests.ingest.test_sqlite_file import BESIDE, TABLES
from tests.ingest.test_world import CASES as WORLD
from tests.ingest.test_world import INSERT, TABLE, database

Write = Callable[[Path], None]


def write(file: Path, content: Any) -> None:
    """Write a case's content: bytes, text, or whatever a function makes of the file."""
    if callable(content):
        content(file)
    else:
        file.write_bytes(content.encode() if isinstance(content, str) else content)


def _cases() -> list[tuple[str, str, Any, dict[str, bytes]]]:
    cases = [
        (str(case.id), str(case.values[0]), case.values[1], dict(case.values[2].get("others", {})))
        for case in (*CSV_FILES, *DATABASES)
    ]
    cases += [(str(case.id), case.values[0].file, case.values[0].content, {}) for case in WORLD]
    cases += [(f"header, {name}", "c.csv", content, {}) for name, (content, _) in HEADERS.items()]
    cases += [(f"titles, {name}", "c.csv", case[0], {}) for name, case in (*READ.items(), *SEEN.items())]
    cases += [(f"{name} as CSV", "c.csv", content, {}) for name, content, _ in EXAMPLES]
    cases += [
        (f"beside, {name}", "c.db", database(TABLE, INSERT, *(each.replace("slug", "fold") for each in statements)), {})
        for name, statements in BESIDE.items()
    ]
    cases += [(f"view, {name}", "c.db", database(*statements), {}) for name, (statements, _) in TABLES.items()]
    return cases


SOURCES = [pytest.param(file, content, others, id=name) for name, file, content, others in _cases()]
