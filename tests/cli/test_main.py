"""`main`: what a command raises becomes text on stderr and an exit code, at this one place."""

from __future__ import annotations

import errno

import click
import pytest

from appliance import cli
from appliance.cli import interrupts, streams
from appliance.cli.common import CommandError
from appliance.config.reader import ConfigError, Fault
from appliance.edge.certificate import CertificateError
from appliance.errors import SidebardError, StartError
from appliance.ingest.spec import ImportRefused

FAULT = Fault(None, 7, "server.workers", "must be a whole number", "-1", "write one from 0 to 64")
SENTENCE = "server.workers: must be a whole number (got -1); write one from 0 to 64"


def run(error: BaseException | None, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run `main` with a command that raises `error`, and return the exit code."""

    @click.command()
    def command() -> None:
        if error is not None:
            raise error

    monkeypatch.setattr("sys.argv", ["sidebard"])
    monkeypatch.setattr(cli, "cli", command)
    monkeypatch.setattr(streams, "discard_output", lambda: None)  # the streams are those of the tests, too
    for name in ("block", "ignore"):  # the signals are those of the tests
        monkeypatch.setattr(interrupts, name, lambda: None)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        pytest.param(None, 0, "", id="none"),
        pytest.param(SidebardError("a; b"), 1, "a; b\n", id="the root"),
        pytest.param(CommandError("a; b"), 1, "a; b\n", id="a command"),
        pytest.param(ImportRefused("a; b"), 1, "a; b\n", id="an import"),
        pytest.param(CertificateError("a; b"), 1, "a; b\n", id="a certificate"),
        pytest.param(StartError("a; b"), 3, "a; b\n", id="a start"),
        pytest.param(ConfigError([FAULT]), 78, f"{SENTENCE}\n1 fault\n", id="a config"),
        pytest.param(
            ConfigError([FAULT, FAULT]), 78, f"{SENTENCE}\n{SENTENCE}\n2 faults\n", id="a config with two faults"
        ),
    ],
)
def test_an_error_that_an_operator_can_correct_is_its_text(
    error: Exception | None,
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(error, monkeypatch) == code
    assert capsys.readouterr() == ("", text)


def test_wrong_usage_is_clicks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(click.UsageError("not so"), monkeypatch) == 2
    assert capsys.readouterr().err.endswith("Error: not so\n")


@pytest.mark.parametrize(
    "error", [KeyError("x"), OSError(errno.EACCES, "Permission denied", "/x")], ids=["any", "an error of a file"]
)
def test_anything_else_is_an_internal_error(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(error, monkeypatch) == 70
    *above, last = capsys.readouterr().err.splitlines()
    assert above[0] == "Traceback (most recent call last):"
    assert last == f"sidebard: internal error ({type(error).__name__}); please report it with the lines above"


def test_an_output_that_cannot_be_written_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(OSError(errno.ENOSPC, "No space left on device"), monkeypatch) == 1
    assert capsys.readouterr().err == "sidebard: the output cannot be written: No space left on device\n"
