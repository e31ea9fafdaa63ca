"""`sidebard import`, as an operator types it."""

import json
import re
import subprocess
import sys

import pytest

from tests.cli.in_process import run
from tests.cli.test_commands import files
from tests.daemon import ROOT
from tests.factory import write_csv

__all__ = ["files"]  # a fixture


def test_import(files):
    with open(files / "customers.csv", "a") as text:
        text.writelines(f"more{n}@example.com,More,\n" for n in range(200))
        text.write("nobody,No Address,\n")
    result = run("import", "--config", files / "sidebard.toml")
    assert (result.returncode, result.stderr) == (0, b"")
    lines = result.stdout.decode().splitlines()
    assert re.fullmatch(r".*/customers\.csv: 206 customers with 206 addresses in \d\.\d s, [\d,]+ rows/s", lines[0])
    assert lines[1:] == [
        "without an address: 0",
        "addresses of more than one customer: 0",
        "bad rows, left out: 1",
        f'  {files}/customers.csv:208: "email" contains a value that is not an email address',
    ]
    assert run("card", "more7@example.com", "--config", files / "sidebard.toml").returncode == 0


def test_import_tells_of_companies(files):
    write_csv(
        files / "customers.csv", [("email", "web"), ("ann@example.com", "example.com"), ("bob@example.com", "n/a")]
    )
    config = files / "sidebard.toml"
    config.write_text(config.read_text().replace("[customers]", '[customers]\ncompany_domain = "web"', 1))
    lines = run("import", "--config", config).stdout.decode().splitlines()
    assert lines[3:] == [
        "companies, by domain: 1",
        "bad rows, left out: 0",
        "kept, ignoring a value that is not an email address or domain: 1",
        f'  {files}/customers.csv:3: "web" contains a value that is not a domain; nobody is found by it',
    ]
    assert json.loads(run("import", "--json", "--config", config).stdout)["companies"] == 1
    card = run("card", "zoe@example.com", "--config", config)
    assert (card.returncode, b"This is the company, not the person." in card.stdout) == (0, True)


def test_import_as_json(files):
    report = json.loads(run("import", "--json", "--config", files / "sidebard.toml").stdout)
    chapter = (ROOT / "docs" / "customers.md").read_text().split("## What `import` reports")[1].split("\n## ")[0]
    keys = [key for row in re.findall(r"^\| (`.*?) \|", chapter, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)]
    assert {*keys} == {*report, "refused"}
    assert report.pop("seconds") >= 0
    assert report.pop("rows_per_second") >= 0
    assert report == {
        "generation": 1,
        "rows": 6,
        "addresses": 6,
        "without_address": 0,
        "shared_addresses": 0,
        "bad_rows": 0,
        "bad": [],
        "unclear_rows": 0,
        "unclear": [],
        "related": {},
    }


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["text", "json"])
def test_a_refused_import_keeps_what_was_there(flags, files):
    assert run("import", "--config", files / "sidebard.toml").returncode == 0
    write_csv(files / "customers.csv", [("email", "name"), ("none", "X"), ("ann@example.com", "Y")])
    result = run("import", *flags, "--config", files / "sidebard.toml")
    assert result.returncode == 1
    sentence = f"1 of 2 rows are bad, more than customers.max_bad_rows allows (1%); mend them, the first is {files}"
    row = f'{files}/customers.csv:2: "email" contains a value that is not an email address'
    if flags:
        said = json.loads(result.stdout)
        assert said["refused"].startswith(sentence)
        assert [bad["line"] for bad in said["bad"]] == [2]
        assert result.stderr == b""
    else:
        assert result.stdout == b""
        assert result.stderr.decode().splitlines()[0].startswith(f"refused: {sentence}")
        assert result.stderr.decode().splitlines()[1] == f"  {row}"
    assert b"Ann Lee" in run("card", "ann@example.com", "--config", files / "sidebard.toml").stdout


def test_import_on_a_terminal_shows_a_bar(files):
    shown = subprocess.run(
        ["script", "-qec", f"{sys.executable} -m appliance import --config {files}/sidebard.toml", "/dev/null"],
        capture_output=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TERM": "xterm", "NO_COLOR": "1"},
        timeout=60,
        check=True,
    ).stdout.decode()
    assert "100% 6 rows" in shown
    assert "6 customers with 6 addresses" in shown
