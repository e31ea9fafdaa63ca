"""`sidebard check`, as an operator types it: what is wrong is found, and the sentence says what to do."""

import json
import os
import stat
import subprocess
import sys

import pytest

from tests.checks.running import write_home
from tests.cli.in_process import run
from tests.daemon import ROOT, Daemon
from tests.edge.test_tls import BETWEEN, leaf, write
from tests.factory import SECRET


@pytest.fixture
def files(tmp_path):
    write_home(tmp_path)
    return tmp_path


def check(folder, *flags, **environ):
    return run("check", *flags, "--config", folder / "sidebard.toml", HOME=str(folder), **environ)


def statuses(result):
    return {each["name"]: each["status"] for each in json.loads(result.stdout)["checks"]}


def test_all_is_well_but_the_certificate(files):
    before = sorted(os.listdir(files)), sorted(os.listdir(files / "state"))
    result = check(files)
    assert (result.returncode, result.stderr) == (0, b"")
    lines = result.stdout.decode().splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["config", "ok"],
        ["secrets", "ok"],
        ["sockets", "ok"],
        ["certificate", "warning"],
    ]
    assert lines[-1] == "14 checks: 13 ok, 1 warning"
    assert (sorted(os.listdir(files)), sorted(os.listdir(files / "state"))) == before


def test_quiet_says_nothing_of_what_is_well(files):
    result = check(files, "-q")
    assert result.returncode == 0
    assert [line.split()[0] for line in result.stdout.decode().splitlines()] == ["certificate"]


def test_as_json(files):
    result = check(files, "--json")
    document = json.loads(result.stdout)
    assert (result.returncode, document["status"]) == (0, "warning")
    assert set(document) == {"status", "checks"}
    assert document["checks"][0] == {
        "name": "config",
        "status": "ok",
        "findings": [{"status": "ok", "sentence": f"{files}/sidebard.toml"}],
    }


def test_quietly_as_json(files):
    """What a reload writes into the journal: nothing but what somebody should read."""
    document = json.loads(check(files, "-q", "--json").stdout)
    assert {each["name"] for each in document["checks"]} == {
        each["name"]
        for each in json.loads(check(files, "--json").stdout)["checks"]
        if each["status"] in ("warning", "fault")
    }
    assert [each["name"] for each in document["checks"]] == ["certificate"]


@pytest.mark.parametrize("flags", [[], ["-q"], ["--json"]], ids=["text", "quiet", "json"])
def test_a_config_that_cannot_be_used(flags, files):
    write_home(files, customers="refresh = 60")
    result = check(files, *flags)
    assert result.returncode == 78
    said = result.stdout if flags == ["--json"] else result.stderr
    assert f"{files}/sidebard.toml:10: customers.refresh: must be a duration (got 60)" in said.decode()


def test_a_missing_secret_is_a_fault(files):
    (files / "secret").unlink()
    result = check(files, "-q")
    assert result.returncode == 1
    assert "secrets      FAULT" in result.stdout.decode()
    assert f"put the secret into {files}/secret, readable to the user that runs sidebard" in result.stdout.decode()


# A new operator finds what is wrong with this command alone.


def test_finds_a_wrong_secret(tmp_path):
    """The service signs with one secret, and the file has another since."""
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        daemon.healthy()
        flags = [
            "check",
            "--config",
            daemon.config,
            "--self",
            f"https://127.0.0.1:{daemon.port}/helpscout",
            "--insecure",
        ]
        result = run(*flags)
        assert (result.returncode, b"it answers correctly" in result.stdout) == (0, True)
        (tmp_path / "secret").write_text("what Help Scout does not have")
        result = run(*flags)
        assert daemon.stop() == 0
    assert (result.returncode, result.stderr) == (1, b"")
    assert "it refuses the signature: it has another secret" in result.stdout.decode()
    assert "give it this secret and reload it" in result.stdout.decode()
    assert SECRET not in result.stdout.decode()


@pytest.mark.parametrize(("content", "why"), [("", "is empty or not set"), ("short", "5 bytes are easy to guess")])
def test_finds_a_secret_that_cannot_be_right(content, why, files):
    (files / "secret").write_text(content)
    said = check(files, "-q").stdout.decode()
    assert why in said
    assert "Help Scout" in said


def test_finds_an_expired_certificate(tmp_path):
    write(tmp_path, leaf(begin=-400, days=90), BETWEEN)
    write_home(tmp_path, tls='certificate = "a.crt"\nkey = "a.key"')
    result = check(tmp_path, "-q")
    assert result.returncode == 1
    assert f"FAULT             {tmp_path}/a.crt: expired on 2025-11-15; renew it" in result.stdout.decode()


def test_finds_a_missing_column(files):
    (files / "customers.csv").write_text("e-mail,name\nann@example.com,Ann\n")
    result = check(files, "-q")
    assert result.returncode == 1
    assert (
        f'{files}/customers.csv:1: there is no column "email", only "e-mail", "name"; correct customers.addresses, or'
        " the header" in result.stdout.decode()
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ann@example.com,An", "customers.csv:3: the last line has no line end, so the file may be cut short; end it"),
        (
            'ann@example.com,"An',
            "customers.csv:3: a quoted field begins here and never ends; close the quote, or export",
        ),
    ],
)
def test_finds_a_half_written_file(text, sentence, files):
    (files / "customers.csv").write_text(f"email,name\nbob@example.com,Bob\n{text}")
    result = check(files, "-q")
    assert result.returncode == 1
    assert sentence in result.stdout.decode()


def test_finds_a_column_that_the_card_misses(files):
    (files / "card.html").write_text("<p>{{ customer.plan }}</p>\n<p>{{ customer.nmae }}</p>")
    (files / "card.html").chmod(0o600)
    write_home(files, app='card = "card.html"')
    result = check(files, "-q")
    assert result.returncode == 1
    sentence = f'FAULT             {files}/card.html:2: there is no column "nmae"; did you mean "name"?'
    assert sentence in result.stdout.decode()


# How it counts


@pytest.mark.parametrize(
    ("secret", "last"),
    [
        ("x" * 20, "14 checks: 13 ok, 1 warning"),
        ("short", "14 checks: 12 ok, 2 warnings"),
        (None, "14 checks: 12 ok, 1 warning, 1 fault"),
    ],
)
def test_the_sum_is_in_words(secret, last, files):
    (files / "secret").unlink()
    if secret:
        (files / "secret").write_text(secret)
        (files / "secret").chmod(0o600)
    assert check(files).stdout.decode().splitlines()[-1] == last


def test_several_faults_are_faults(files):
    (files / "secret").unlink()
    (files / "customers.csv").unlink()
    assert check(files).stdout.decode().splitlines()[-1].endswith("2 faults")


@pytest.mark.parametrize(("more", "last"), [("", "1 fault"), ("[caches]\nttl = 5", "2 faults")])
@pytest.mark.parametrize("command", ["check", "import", "card"])
def test_only_serve_says_that_nothing_was_started(command, more, last, files):
    write_home(files, customers="refresh = 60", more=more)
    arguments = ["ann@example.com"] if command == "card" else []
    result = run(command, *arguments, "--config", files / "sidebard.toml", HOME=str(files))
    assert (result.returncode, result.stderr.decode().splitlines()[-1]) == (78, last)


def test_serve_sends_the_reader_to_check(files):
    """On a terminal; what is missing in the config is not all that may be wrong."""
    write_home(files, customers="refresh = 60")
    command = f"{sys.executable} -m appliance serve --config {files}/sidebard.toml"
    shown = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        capture_output=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TERM": "xterm", "HOME": str(files)},
        timeout=60,
        check=False,
    ).stdout.decode()
    assert shown.splitlines()[-2:] == [
        "1 fault; nothing was started",
        f"to see everything that is wrong, run sidebard check --config {files}/sidebard.toml",
    ]


# What it is called with


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--insecure"], "--connect, --ca and --insecure require --self URL"),
        (["--ca", "x"], "--connect, --ca and --insecure require --self URL"),
        (["--connect", "127.0.0.1:8443"], "--connect, --ca and --insecure require --self URL"),
        (["--self", "https://x.example/", "--connect", "x"], "x is not HOST:PORT; write, for example, 127.0.0.1:8443"),
        (["--self", "https://x.example/", "--ca", "x", "--insecure"], "--ca cannot be combined with --insecure"),
        (["--self", "x.example"], "enter the URL that the help desk uses, such as https://"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(flags, sentence, files):
    result = check(files, *flags)
    assert (result.returncode, result.stdout) == (2, b"")
    assert sentence in result.stderr.decode()


@pytest.mark.parametrize(("environ", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=["colours", "NO_COLOR"])
def test_colours_are_for_terminals(environ, coloured, files):
    assert b"\x1b[" not in check(files).stdout
    shown = subprocess.run(
        ["script", "-qec", f"{sys.executable} -m appliance check --config {files}/sidebard.toml", "/dev/null"],
        capture_output=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TERM": "xterm", **environ},
        timeout=60,
        check=True,
    ).stdout
    assert (b"\x1b[" in shown) is coloured


def test_a_secret_that_systemd_passes(files):
    write_home(files, app='secrets = ["credential:helpscout"]')
    result = check(files)
    assert result.returncode == 0
    assert "secrets      not checked here" in result.stdout.decode()
    assert "1 not checked here" in result.stdout.decode().splitlines()[-1]
    (files / "helpscout").write_text("x")
    result = check(files, "-q", CREDENTIALS_DIRECTORY=str(files))
    assert result.returncode == 0
    assert "secrets      warning" in result.stdout.decode()


def test_leaves_everything_as_it_was(files):
    def look():
        return {
            file: (status.st_mtime_ns, status.st_size, stat.S_IMODE(status.st_mode))
            for file in files.rglob("*")
            if (status := file.stat()) and not file.is_dir()
        }

    before = look()
    assert check(files).returncode == 0
    assert look() == before


@pytest.mark.parametrize(
    ("trail", "sentence"),
    [
        ("trail", "/trail: the audit trail can be written"),
        ("state", "/state is not a regular file; choose another in log.trail"),
        ("none/trail", "/none does not exist; create it, or choose another file in log.trail"),
    ],
)
def test_an_access_trail_is_looked_at_and_not_made(trail, sentence, files):
    write_home(files, more=f'[log]\ntrail = "{trail}"')
    (state,) = (each for each in json.loads(check(files, "--json").stdout)["checks"] if each["name"] == "state")
    assert state["findings"][0]["sentence"] == f"{files}{sentence}"
    assert not (files / "trail").exists()
