"""The registry of sources: which one a setting means, and what the docs say of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.config.schema import Customers, Settings
from appliance.ingest import sources
from appliance.ingest.sources.base import Source, SourceKind, SourceSettingError
from appliance.ingest.sources.csv_file import CsvFile
from appliance.ingest.sources.sqlite_file import SqliteTable
from tests.factory import KEYS

ROOT = Path(__file__).parents[2]


def parse(text: str) -> Source:
    return sources.parse(text, Path("/data", text), "customers", KEYS)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("customers.csv", CsvFile),
        ("Customers.TSV", CsvFile),
        ("a:b.csv", CsvFile),
        ("shop.db", SqliteTable),
        ("shop.sqlite", SqliteTable),
        ("shop.csv.SQLite3", SqliteTable),
    ],
    ids=["CSV", "TSV in another case", "with a colon", "database", "SQLite", "the last ending counts"],
)
def test_the_suffix_says_the_kind(text: str, kind: type[Source]) -> None:
    source = parse(text)
    assert type(source) is kind
    assert (source.files(), str(source), source.name) == ((Path("/data", text),), f"/data/{text}", text)


@pytest.mark.parametrize("text", ["customers", "customers.xlsx", "csv", ".csv", "mssql://db/shop", "csv:customers"])
def test_anything_else_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(
        SourceSettingError,
        match=r"^source has none of the endings \.csv \.tsv \.db \.sqlite \.sqlite3, and begins with none of p",
    ):
        parse(text)


def test_a_scheme_comes_before_a_suffix(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[object] = []

    def take(location: object, section: str) -> Source:
        taken.append((location, section))
        return CsvFile.parse(Path("x.csv"), section, **{key: KEYS[key] for key in sources.csv_file.KIND.keys})  # type: ignore[arg-type]

    monkeypatch.setattr(sources, "KINDS", (*sources.KINDS, SourceKind(title="shop", parse=take, schemes=("shop",))))
    parse("shop://host/customers.csv")
    assert taken == [("shop://host/customers.csv", "customers")]


def test_a_file_that_is_not_there_has_no_size_and_can_be_asked_all_the_same(tmp_path: Path) -> None:
    for name in ("none.csv", "none.db"):
        source = sources.parse(name, tmp_path / name, "customers", KEYS)
        assert (source.size(), source.fingerprint().split()[0]) == (0, "-")


def test_every_key_of_a_kind_is_one_of_the_config() -> None:
    known = set(Customers.__dataclass_fields__)
    assert [key for kind in sources.KINDS for key in kind.keys if key not in known] == []
    assert "customers" in Settings.__dataclass_fields__


def test_the_docs_have_a_row_for_each_kind() -> None:
    text = (ROOT / "docs" / "customers.md").read_text("utf-8")
    rows = text.split("| source |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    assert rows == [kind.row for kind in sources.KINDS]
