"""The commands, as an operator types them."""

import re
import subprocess
import sys

import pytest

from appliance import __version__
from appliance.cli import COMMANDS
from tests.commands import run
from tests.daemon import ROOT
from tests.factory import SECRET, body_for, write_csv

BODY = body_for("ann@example.com")


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


def run_anew(*words, stdin=b""):
    command = [sys.executable, "-W", "error", "-m", "appliance", *words]
    environ = {"PATH": "/usr/bin:/bin"}
    return subprocess.run(command, input=stdin, capture_output=True, cwd=ROOT, env=environ, timeout=60, check=False)


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


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"], ids=["full disk", "closed"])
def test_an_error_that_cannot_be_told_keeps_its_code(redirection, files):
    words = ("card", "ann@example.com", "--config", "FILES/none.toml")
    assert run_in_shell(words, redirection, files).returncode == 78


def test_version():
    result = run("--version")
    assert result.returncode == 0
    assert result.stdout.decode().startswith(f"sidebard {__version__} (Python 3.")
    assert b"OpenSSL 3" in result.stdout
    assert b"Tornado 6." in result.stdout


def test_help_names_every_command_and_goes_to_stdout():
    result = run("--help")
    assert result.returncode == 0
    text = result.stdout.decode()
    assert [name for name in COMMANDS if not re.search(rf"(?m)^  {name} ", text)] == []
    assert "78 invalid configuration" in " ".join(text.split())


@pytest.mark.parametrize("columns", [60, 80, 200], ids=["narrow", "usual", "wide"])
def test_no_summary_is_cut_off(columns):
    listed = run("--help", COLUMNS=str(columns)).stdout.decode().partition("Commands:\n")[2].splitlines()
    assert len(listed) == len(COMMANDS)
    assert [line for line in listed if not line.endswith(".") or line.endswith("...")] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command):
    """By a process that has imported nothing else."""
    result = run_anew(command, "--help")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"--config FILE" in result.stdout


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        (("--version", "--verbose"), b""),
        (("sign", "--secret-file", "conf/demo-secret"), BODY),
        (("sign", "--verify", "wrong", "--secret-file", "conf/demo-secret"), BODY),
        (("card",), b""),
        (("card", "ada@example.com", "--config", "none"), b""),
    ],
    ids=["versions", "a result", "a negative result", "wrong usage", "no config"],
)
def test_a_command_of_the_tests_is_as_in_a_new_process(words, stdin):
    """What `run` gives is what an operator gets."""
    forked, new = run(*words, stdin=stdin), run_anew(*words, stdin=stdin)
    assert (forked.returncode, forked.stdout, forked.stderr) == (new.returncode, new.stdout, new.stderr)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["fly"], "No such command 'fly'"),
        (["card"], "pass either an ADDRESS or --payload FILE"),
        (["card", "a@b.c", "--payload", "x"], "pass either an ADDRESS or --payload FILE"),
        (["card", "a@b.c", "--html", "--response"], "cannot be combined"),
        (["card", "a@b.c", "--config", "x", "--customers", "y"], "--config cannot be combined with --customers"),
        (["sign", "--header", "--curl", "https://x.example"], "cannot be combined"),
        (["sign", "--config", "x", "--secret-file", "y"], "--config cannot be combined with --secret-file"),
        (["sign", "nofile", "--secret-file", "conf/demo-secret"], "nofile: No such file or directory"),
        (["serve", "--customers", "x.csv"], "--customers requires --secret-file"),
        (
            ["serve", "--config", "x", "--customers", "y"],
            "--config cannot be combined with --customers or --secret-file",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(arguments, sentence):
    result = run(*arguments, HOME="/nonexistent")
    assert (result.returncode, result.stdout) == (2, b"")
    assert sentence in result.stderr.decode()


def test_no_config_says_which_file():
    result = run("card", "ann@example.com", HOME="/nonexistent")
    assert result.returncode == 78
    assert "/etc/sidebard/sidebard.toml" in result.stderr.decode()
