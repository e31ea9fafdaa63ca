"""The commands, as an operator types them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.cli import COMMANDS
from tests.coverage_env import COVERAGE
from tests.factory import SECRET, body_for, sign, write_csv

ROOT = Path(__file__).parents[2]
BODY = body_for("ann@example.com")


def run(*arguments, stdin=b"", **environ):
    """Run a command in a process of its own, with nothing of this one's environment."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "appliance", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=ROOT,
        env={**COVERAGE, "PATH": "/usr/bin:/bin", **environ},
        timeout=60,
        check=False,
    )


@pytest.fixture
def files(tmp_path):
    write_csv(tmp_path / "customers.csv")
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "sidebard.toml").write_text(
        '[server]\nstate = "state"\n[customers]\nsource = "customers.csv"\naddresses = ["email"]\n'
        '[[app]]\nsecrets = ["file:secret"]\n[[app]]\nname = "freescout"\npath = "/freescout"\n'
        'signature_header = "X-FreeScout-Signature"\nsecrets = ["file:other"]\n'
    )
    (tmp_path / "other").write_text("another secret")
    return tmp_path


STREAMS = {
    "help": ("--help",),
    "text": ("card", "ann@example.com", "--config", "FILES/sidebard.toml"),
    "bytes": ("card", "ann@example.com", "--response", "--config", "FILES/sidebard.toml"),
    "lines": ("requests", "--count", "100", "--config", "FILES/sidebard.toml"),
}


def run_in_shell(words, redirection, files):
    command = [sys.executable, "-W", "error", "-m", "appliance", *(word.replace("FILES", str(files)) for word in words)]
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirection}', "sh", *command],
        capture_output=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("words", STREAMS.values(), ids=STREAMS)
def test_a_full_disk_is_no_bug(words, files):
    result = run_in_shell(words, ">/dev/full", files)
    told = "sidebard: the output cannot be written: No space left on device\n"
    assert (result.returncode, result.stderr.decode()) == (1, told)


@pytest.mark.parametrize("words", STREAMS.values(), ids=STREAMS)
def test_a_closed_stream_is_no_bug(words, files):
    assert run_in_shell(words, "<&- >&-", files).returncode == 0
    assert run_in_shell(words, ">/dev/full 2>/dev/full", files).returncode == 1


def test_version():
    result = run("--version")
    assert result.returncode == 0
    assert result.stdout.decode().startswith("sidebard 0.1.0 (Python 3.")
    assert b"OpenSSL 3" in result.stdout
    assert b"Tornado 6." in result.stdout


def test_help_names_every_command_and_goes_to_stdout():
    result = run("--help")
    assert result.returncode == 0
    text = result.stdout.decode()
    assert [name for name in COMMANDS if not re.search(rf"(?m)^  {name} ", text)] == []
    assert "78 the config is wrong" in " ".join(text.split())


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_no_summary_is_cut_off(columns):
    listed = run("--help", COLUMNS=str(columns)).stdout.decode().partition("Commands:\n")[2].splitlines()
    assert len(listed) == len(COMMANDS)
    assert [line for line in listed if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command):
    result = run(command, "--help")
    assert result.returncode == 0
    assert b"--config FILE" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fly"], "No such command 'fly'"),
        (["card"], "name either one ADDRESS or --payload FILE"),
        (["card", "a@b.c", "--payload", "x"], "name either one ADDRESS or --payload FILE"),
        (["card", "a@b.c", "--html", "--response"], "exclude each other"),
        (["card", "a@b.c", "--config", "x", "--customers", "y"], "leave out --customers"),
        (["sign", "--header", "--curl", "https://x.example"], "exclude each other"),
        (["sign", "--config", "x", "--secret-file", "y"], "leave out --secret-file"),
        (["sign", "nofile", "--secret-file", "conf/demo-secret"], "nofile: No such file or directory"),
        (["serve", "--customers", "x.csv"], "--customers needs --secret-file"),
        (["serve", "--config", "x", "--customers", "y"], "leave out --customers and --secret-file"),
    ],
)
def test_wrong_usage(arguments, sentence):
    result = run(*arguments, HOME="/nonexistent")
    assert (result.returncode, result.stdout) == (2, b"")
    assert sentence in result.stderr.decode()


def test_no_config_says_which_file():
    result = run("card", "ann@example.com", HOME="/nonexistent")
    assert result.returncode == 78
    assert "/etc/sidebard/sidebard.toml" in result.stderr.decode()


# card


def test_card_as_text(files):
    result = run("card", "ANN@example.com", "--config", files / "sidebard.toml")
    assert result.returncode == 0
    assert result.stdout.decode().splitlines() == ["Ann Lee", "Email: ann@example.com", "Plan: Pro"]


@pytest.mark.parametrize("flags", [(), ("--html",)], ids=["text", "html"])
def test_a_name_cannot_command_the_terminal(flags, tmp_path):
    customers = tmp_path / "customers.csv"
    customers.write_text("name,email\n\x1b]0;title\x07Ann\x9b31m,ann@example.com\n", "utf-8")
    result = run("card", "ann@example.com", "--customers", customers, *flags, HOME=str(tmp_path))
    assert "\ufffd]0;title\ufffdAnn\ufffd31m" in result.stdout.decode()


def test_card_needs_no_config_and_no_secret():
    result = run("card", "ada@example.com", "--customers", "conf/customers.csv", HOME="/nonexistent")
    assert result.returncode == 0
    assert result.stdout.decode().startswith("Ada Lovelace\n")


def test_card_of_a_stranger(files):
    result = run("card", "nobody@example.com", "--config", files / "sidebard.toml")
    assert result.returncode == 1
    assert result.stdout.decode().startswith("Not a customer\n")


def test_card_of_a_message(files):
    result = run("card", "--payload", "-", "--html", "--config", files / "sidebard.toml", stdin=BODY)
    assert result.returncode == 0
    assert result.stdout.startswith(b"<h4>Ann Lee</h4>")


def test_card_of_what_is_no_message(files):
    result = run("card", "--payload", "-", "--config", files / "sidebard.toml", stdin=b"[]")
    assert (result.returncode, result.stdout) == (1, b"The body is not a JSON object.\n")


def test_card_as_the_exact_bytes(files):
    result = run("card", "ann@example.com", "--response", "--config", files / "sidebard.toml")
    assert set(json.loads(result.stdout)) == {"html"}
    assert not result.stdout.endswith(b"\n")


def test_card_without_customers(files):
    (files / "customers.csv").unlink()
    result = run("card", "ann@example.com", "--config", files / "sidebard.toml")
    assert result.returncode == 1
    assert "customers.csv does not exist; put the file there" in result.stderr.decode()


# import


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


@pytest.mark.parametrize("flags", [[], ["--json"]])
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
        env={**COVERAGE, "PATH": "/usr/bin:/bin", "TERM": "xterm", "NO_COLOR": "1"},
        timeout=60,
        check=True,
    ).stdout.decode()
    assert "100% 6 rows" in shown
    assert "6 customers with 6 addresses" in shown


# sign


def test_sign(files):
    result = run("sign", "--secret-file", files / "secret", stdin=BODY, HOME="/nonexistent")
    assert result.stdout == sign(BODY) + b"\n"


def test_sign_a_file_with_the_config(files):
    (files / "body.json").write_bytes(BODY)
    result = run("sign", files / "body.json", "--header", "--config", files / "sidebard.toml", "--app", "freescout")
    assert result.stdout == b"X-FreeScout-Signature: " + sign(BODY, "another secret") + b"\n"


def test_sign_for_an_app_that_is_not_there(files):
    result = run("sign", "--config", files / "sidebard.toml", "--app", "x", stdin=BODY)
    assert result.returncode == 2
    assert 'no app "x"; the config has helpscout, freescout' in result.stderr.decode()


@pytest.mark.parametrize(("signature", "code"), [(sign(BODY), 0), (sign(BODY, "x"), 1), ("ä".encode(), 1)])
def test_verify(signature, code, files):
    result = run("sign", "--verify", signature.decode(), "--secret-file", files / "secret", stdin=BODY, HOME="/x")
    assert (result.returncode, result.stdout.startswith(b"right")) == (code, code == 0)
    assert sign(BODY) not in result.stdout + result.stderr


def test_curl_quotes_for_the_shell(files):
    body = b"""{"customer":{"email":"o'neil@example.com"},"x":"$(touch /tmp/x) `a` \\" \\\\"}"""
    result = run(
        "sign", "--curl", "https://127.0.0.1:8443/h", "--secret-file", files / "secret", stdin=body, HOME=str(files)
    )
    shown = subprocess.run(
        ["/bin/sh", "-c", "curl() { printf '%s\\n' \"$@\"; }\n" + result.stdout.decode()],
        capture_output=True,
        check=True,
    )
    words = shown.stdout.decode().splitlines()
    assert words[-2:] == [body.decode(), "https://127.0.0.1:8443/h"]
    assert words[words.index("-w") + 1] == r"\n%{http_code}\n"
    assert f"X-HelpScout-Signature: {sign(body).decode()}" in words
    assert str(files / ".local/state/sidebard/self-signed/localhost.crt") in words


def test_curl_elsewhere_trusts_what_the_machine_trusts(files):
    (files / "body.json").write_bytes(BODY)
    result = run(
        "sign", files / "body.json", "--curl", "https://x.example/", "--secret-file", files / "secret", HOME="/x"
    )
    assert "--cacert" not in result.stdout.decode()
    assert f"@{files}/body.json" in result.stdout.decode()


@pytest.mark.parametrize(("content", "why"), [(None, "cannot be read"), ("", "is empty"), ("\n", "is empty")])
def test_no_secret(content, why, tmp_path):
    if content is not None:
        (tmp_path / "secret").write_text(content)
    result = run("sign", "--secret-file", tmp_path / "secret", stdin=BODY, HOME="/x")
    assert result.returncode == 78
    assert why in result.stderr.decode()
