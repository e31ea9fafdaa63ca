"""Files that are refused, and the exact sentence that each gets."""

import pytest

from appliance.customers.snapshot_store import newest
from appliance.ingest.spec import ImportRefused
from tests.factory import import_spec, related_spec, run_import
from tests.ingest.bad_csv_files import CSV_FILES
from tests.ingest.bad_databases import DATABASES

CASES = [*CSV_FILES, *DATABASES]


@pytest.mark.parametrize("large", [False, True], ids=["small", "as if large"])
@pytest.mark.parametrize(("file", "content", "options", "sentence"), CASES)
def test_refused_with_a_sentence(file, content, options, sentence, large, tmp_path, monkeypatch):
    """A large file is read in a process of its own, and refused with the same words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("appliance.ingest.snapshot_builder._LARGE", -1 if large else 1 << 40)
    path = tmp_path / file
    content(path) if callable(content) else path.write_bytes(content)
    for name, other in options.get("others", {}).items():
        (tmp_path / name).write_bytes(other)
    absolute = {
        name: tmp_path / value if name.endswith("_file") else value
        for name, value in options.items()
        if name not in ("related", "others")
    }
    related = []
    if "related" in options:
        keys = {**absolute, **options["related"]}  # what a related file does not say is as for the customers
        related = [related_spec(tmp_path / keys.pop("file", "orders.csv"), **keys)]
    spec = import_spec(source=path, related=tuple(related), **absolute)
    with pytest.raises(ImportRefused) as caught:
        run_import(spec, tmp_path / "state")
    assert str(caught.value).replace(f"{tmp_path}/", "") == sentence
    assert newest(tmp_path / "state", spec.digest()) is None
    assert sorted(one.name for one in (tmp_path / "state").iterdir()) == ["lock"]


def test_no_sentence_holds_a_customer(tmp_path):
    """A file without a header begins with one, whose name must not end in the log."""
    source = tmp_path / "c.csv"
    for content in (
        b"ada@example.com,Ada Lovelace\n",
        b"1,Ada Lovelace,Ada Lovelace,ada@example.com\n",
        b'Ada,,"ada@example.com"\n',
    ):
        source.write_bytes(content)
        with pytest.raises(ImportRefused) as caught:
            run_import(import_spec(source=source), tmp_path / "state")
        assert "Ada" not in str(caught.value)
        assert "ada@" not in str(caught.value)


def test_there_are_enough():
    assert len(CASES) >= 60
