"""docs/load.md says what is so: its commands run, and its tables are whole."""

import re
import shlex
import subprocess
import sys

import click
import msgspec
import pytest

from appliance.cli import replay, requests
from appliance.replay.result import LoadTestResult
from appliance.replay.timeline import TimelinePoint
from tests.daemon import ROOT, Daemon
from tests.factory import write_csv

TEXT = (ROOT / "docs" / "load.md").read_text("utf-8")
COMMANDS = re.findall(r"^    sidebard (.+)$", TEXT, re.MULTILINE)


def test_the_three_commands(tmp_path):
    write_csv(tmp_path / "customers.csv")
    with Daemon(tmp_path, config="[log]\nrequests = false") as daemon:
        daemon.wait_for("serving")
        daemon.ask()
        for command in COMMANDS:
            command = command.replace("https://your.name", f"https://localhost:{daemon.port}")  # noqa: PLW2901
            if command.startswith("replay"):
                command += " --duration 0.3 --ca state/self-signed/localhost.crt"  # noqa: PLW2901
                command = re.sub("--max-p99 100ms", "--max-p99 60s", command)  # noqa: PLW2901  # a busy machine
            done = subprocess.run(
                f"{shlex.quote(sys.executable)} -m appliance {command}",
                shell=True,
                cwd=tmp_path,
                capture_output=True,
                env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": "/nonexistent"},
                timeout=60,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, b""), done.stdout
        assert daemon.stop() == 0
    assert len(COMMANDS) == 3
    assert (tmp_path / "load.html").exists()


@pytest.mark.parametrize(("title", "command"), [("requests", requests.command), ("replay", replay.command)])
def test_every_flag(title, command):
    section = TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    flags = {name for one in command.params if isinstance(one, click.Option) for name in one.opts}
    assert [flag for flag in flags - {"--config"} if f"`{flag}" not in section and f" {flag}" not in section] == []


def test_every_key_of_the_result():
    keys = [field.encode_name for struct in (LoadTestResult, TimelinePoint) for field in msgspec.structs.fields(struct)]
    assert [key for key in keys if f"`{key}`" not in TEXT] == []
