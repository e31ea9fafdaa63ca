"""A customers file that is cut at every byte."""

import pytest

from tests.ingest.test_damage import import_cut_files

pytestmark = pytest.mark.system


def test_cut_at_every_byte(request, tmp_path):
    every = 1 if request.config.getoption("--long") else 7
    seen = import_cut_files(tmp_path, lambda whole: range(0, len(whole) + 1, every))
    assert None in seen
    assert seen >= {*range(160, 201)} or every > 1
    assert len(seen) > 2
