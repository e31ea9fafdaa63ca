"""An import of a few customers."""

import pytest

from tests.factory import import_spec, write_csv


@pytest.fixture
def spec(tmp_path):
    return import_spec(source=write_csv(tmp_path / "customers.csv"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "state"
