"""What was only too slow is tried again, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.conftest import ATTEMPTS
from tests.system.load import TooSlow

folders: list[Path] = []


def test_what_is_too_slow_is_tried_again(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    assert [*tmp_path.iterdir()] == []
    folders.append(tmp_path)
    if len(folders) < ATTEMPTS and not request.config.getoption("--long"):
        raise TooSlow("something")
    assert len(set(folders)) == len(folders)
