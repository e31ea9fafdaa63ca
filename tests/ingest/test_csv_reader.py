"""Every way in which programs write CSV."""

import csv
import io

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from appliance.customers.address import normalise
from appliance.customers.record import fields_of
from appliance.ingest.spec import ImportRefused
from tests.factory import import_spec, open_snapshot, run_import

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "cp1252"]


def encode(text, encoding):
    return b"\xff\xfe" + text.encode("utf-16-le") if encoding == "utf-16-le-bom" else text.encode(encoding)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"], ids=["comma", "semicolon", "tab", "bar"])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_every_dialect(encoding, delimiter, line_end, suffix, tmp_path):
    rows = [["email", "name", "x,;|\t"], ["jürgen@example.com", 'Jürgen "J" Müller', "a,b;c|d\te"]]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator=line_end).writerows(rows)
    for begin in ("", f"sep={delimiter}{line_end}"):
        source = tmp_path / f"c{suffix}"
        source.write_bytes(encode(begin + text.getvalue(), encoding))
        spec = import_spec(source=source, encoding="cp1252" if encoding == "cp1252" else "")
        run_import(spec, tmp_path / "state")
        snapshot = open_snapshot(tmp_path / "state", spec)
        (record,) = snapshot.find(("jürgen@example.com",))
        assert [value for _, value in fields_of(record)] == rows[1]
        snapshot.close()


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


ADDRESSES = st.from_regex(r"[a-z0-9_%+-]{1,4}(\.[a-z0-9_%+-]{1,4})?@[a-z0-9]{1,6}\.(com|org)", fullmatch=True)


@given(
    rows=st.lists(st.tuples(ADDRESSES, CELLS, CELLS), min_size=1, max_size=12),
    delimiter=st.sampled_from(",;\t|"),
    line_end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_rows_are_found_again(rows, delimiter, line_end, encoding, quoting, tmp_path):
    """Whatever Python's csv module writes is found by each of its addresses, and by no other."""
    # Between LF line ends Python's writer leaves a lone CR unquoted, and so two files of different rows are the same.
    assume(line_end == "\r\n" or quoting != csv.QUOTE_MINIMAL or "\r" not in "".join(map("".join, rows)))
    source = tmp_path / "any.csv"
    with open(source, "w", encoding=encoding, newline="") as text:
        writer = csv.writer(text, delimiter=delimiter, lineterminator=line_end, quoting=quoting)
        writer.writerows([("email", "name", "note"), *rows])
    spec = import_spec(source=source, max_shrink=1.0)
    report = run_import(spec, tmp_path / "any")
    assert report.rows == len(rows)
    snapshot = open_snapshot(tmp_path / "any", spec)
    expected = {}
    for row in rows:
        expected.setdefault(normalise(row[0]), []).append(row)
    for address, wanted in expected.items():
        found = [tuple(value for _, value in fields_of(record)) for record in snapshot.find((address,))]
        assert found == wanted
        assert snapshot.find((address + "x", "x" + address)) == () or {address + "x", "x" + address} & expected.keys()
    snapshot.close()


UNTERMINATED = {
    "a line feed": (b"\n", ""),
    "Windows": (b"\r\n", ""),
    "an old Mac": (b"\r", ""),
    "UTF-16": (b"\n", "utf-16"),
}


@pytest.mark.parametrize(("line_end", "encoding"), UNTERMINATED.values(), ids=UNTERMINATED.keys())
@pytest.mark.parametrize("large", [False, True], ids=["small", "as if large"])
def test_an_unterminated_last_line_is_accepted_where_the_config_says_so(
    large, line_end, encoding, tmp_path, folder, monkeypatch
):
    monkeypatch.setattr("appliance.ingest.snapshot_builder._LARGE", -1 if large else 1 << 40)
    text = line_end.join([b"email,name", b"ann@example.com,Ann", b'bob@example.com,"Bob"']).decode()
    source = tmp_path / "c.csv"
    source.write_bytes(text.encode(encoding or "utf-8"))
    with pytest.raises(
        ImportRefused, match=r"c\.csv:3: the last line has no line end, .*; everything else is complete; .*accept"
    ):
        run_import(import_spec(source=source), folder)
    spec = import_spec(source=source, unterminated_last_line="accept")
    assert run_import(spec, folder).rows == 2
    (bob,) = open_snapshot(folder, spec).find(("bob@example.com",))
    assert bob.name == "Bob"


HEADERS = {
    "two byte order marks": (b"\xef\xbb\xbf\xef\xbb\xbfemail,name\nann@example.com,Ann\n", ("email", "name")),
    "a second mark before a quote": (
        b'\xef\xbb\xbf\xef\xbb\xbf"email","name"\nann@example.com,Ann\n',
        ("email", "name"),
    ),
    "a zero-width space": ("email\u200b,name\nann@example.com,Ann\n".encode(), ("email", "name")),
    "a no-break space": ("email\u00a0,full\u00a0name\nann@example.com,Ann\n".encode(), ("email", "full name")),
    "a line end in it": (b'email,"full\nname"\nann@example.com,Ann\n', ("email", "full name")),
    "a delimiter at the end of each row": (b"email,name\nann@example.com,Ann,\n", ("email", "name")),
    "delimiters at the end of some rows": (
        b"email,name\nann@example.com,Ann, ,,\nbob@example.com,Bob\n",
        ("email", "name"),
    ),
    "a line of white space": (b"email,name\n \t\nann@example.com,Ann\n  \n", ("email", "name")),
    "empty columns at the end": (b"email,name,,\nann@example.com,Ann,,\n", ("email", "name")),
    "white columns at the end": ("email,name, ,\u00a0\nann@example.com,Ann,,\n".encode(), ("email", "name")),
    "an empty column that some rows do not have": (b"email,name,\nann@example.com,Ann\n", ("email", "name")),
    "numbers of rows": (b",email,name\n0,ann@example.com,Ann\n1,bob@example.com,Bob\n", ("email", "name")),
    "numbers of rows, and empty columns": (b",email,name,\n0,ann@example.com,Ann,\n", ("email", "name")),
    "sep= in quotes": (b'"sep=;"\nemail;name\nann@example.com;Ann\n', ("email", "name")),
}


@pytest.mark.parametrize(("content", "names"), HEADERS.values(), ids=HEADERS.keys())
def test_headers_of_common_programs(content, names, tmp_path, folder):
    source = tmp_path / "customers.csv"
    source.write_bytes(content)
    report = run_import(import_spec(source=source), folder)
    snapshot = open_snapshot(folder, import_spec(source=source))
    assert (snapshot.metadata.columns, report.bad_rows) == (names, 0)
    (ann,) = snapshot.find(("ann@example.com",))
    assert [value for _, value in fields_of(ann)] == ["ann@example.com", "Ann"]
    snapshot.close()


@pytest.mark.parametrize(
    "content",
    [
        b"email,name\nann@example.com,Ann,Pro\n",
        b"email,name,\nann@example.com,Ann,Pro\n",
        b",email,name\n0,ann@example.com,Ann,1\n",
    ],
    ids=["no name", "a name that is empty", "numbers of rows"],
)
def test_a_value_under_no_name_is_never_dropped(content, tmp_path, folder):
    source = tmp_path / "customers.csv"
    source.write_bytes(content)
    with pytest.raises(ImportRefused, match="name the other columns there, or quote a cell that contains a delimiter"):
        run_import(import_spec(source=source), folder)
