"""Runs commands in the process of the tests, where coverage sees what they do; else like tests.commands.

What `main` does around them, streams, signals and the end of the process, has its tests with processes of their own.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import chdir
from unittest import mock

from click.testing import CliRunner

from appliance.cli import _text_of, cli
from appliance.errors import SidebardError
from tests.daemon import ROOT


def run(*arguments: object, stdin: bytes = b"", **environ: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command with these arguments, in the project's folder and with nothing of this environment."""
    words = [str(argument) for argument in arguments]
    with chdir(ROOT), mock.patch.dict(os.environ, {"PATH": "/usr/bin:/bin", **environ}, clear=True):
        result = CliRunner().invoke(cli, words, input=stdin, prog_name="sidebard")
    code, stderr = result.exit_code, result.stderr_bytes
    if isinstance(result.exception, SidebardError):
        code, stderr = result.exception.exit_code, stderr + f"{_text_of(result.exception)}\n".encode()
    else:
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return subprocess.CompletedProcess(words, code, result.stdout_bytes, stderr)
