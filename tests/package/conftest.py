"""Everything here needs dist/, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon import ROOT

DIST = ROOT / "dist"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("package")


@pytest.fixture(scope="session")
def executable() -> Path:
    """Return the executable that was built."""
    file = DIST / "sidebard"
    assert file.is_file(), "there is no dist/sidebard: run make deb first"
    return file


@pytest.fixture(scope="session")
def package() -> Path:
    """Return the Debian package that was built."""
    found = sorted(DIST.glob("*.deb"))
    assert len(found) == 1, f"dist/ holds {[file.name for file in found]}: run make deb first"
    return found[0]
