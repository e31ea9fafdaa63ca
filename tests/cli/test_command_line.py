"""The command line as a whole: versions, no command, and what happens when a command has a bug."""

from __future__ import annotations

import platform
import re
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.coverage_env import COVERAGE
from tests.factory import SECRET, write_csv

ROOT = Path(__file__).parents[2]
WITH_A_BUG = """
import sys
from appliance import cli
cli.COMMANDS["sign"] = "no_such_module"
sys.argv = ["sidebard", "sign"]
cli.main()
"""


def python(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**COVERAGE, "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        timeout=60,
        check=False,
    )


def sidebard(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return python("-m", "appliance", *arguments)


def test_every_version() -> None:
    said = sidebard("--version", "--verbose")
    assert (said.returncode, said.stderr) == (0, "")
    first, *more = said.stdout.splitlines()
    assert first == sidebard("--version").stdout.rstrip()
    assert [line.partition(":")[0] for line in more] == ["Python", "TLS", "certificates", "SQLite", "system"]
    assert re.fullmatch(rf"Python: +{platform.python_version()}, .+, compiled with(out)? PGO and LTO", more[0])
    assert ssl.OPENSSL_VERSION in more[1]
    assert more[-1].endswith("run from source")


def test_verbose_alone_is_wrong_usage() -> None:
    said = sidebard("--verbose")
    assert (said.returncode, said.stdout) == (2, "")
    assert "--version" in said.stderr


def test_without_a_command_help_goes_to_stderr() -> None:
    said = sidebard()
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == sidebard("--help").stdout


def test_a_bug_is_told_with_where_it_is() -> None:
    said = python("-c", WITH_A_BUG)
    assert (said.returncode, said.stdout) == (70, "")
    assert said.stderr.startswith("Traceback (most recent call last):")
    last = said.stderr.splitlines()[-1]
    assert "ModuleNotFoundError" in last
    assert "report it" in last


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_csv(tmp_path / "customers.csv")
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "sidebard.toml").write_text(
        '[server]\nstate = "state"\n'
        '[customers]\nsource = "customers.csv"\naddresses = ["email"]\nmax_bad_rows = "100%"\n'
        '[[app]]\nsecrets = ["file:secret"]\n'
    )
    return tmp_path / "sidebard.toml"


@pytest.mark.parametrize(
    "command",
    [("requests",), ("card", "ann@example.com"), ("sign",), ("import",), ("serve",)],
    ids=lambda words: words[0],
)
def test_a_config_that_is_not_there(command: tuple[str, ...]) -> None:
    said = sidebard(*command, "--config", "missing.toml")
    assert (said.returncode, said.stdout) == (78, "")
    assert "missing.toml" in said.stderr


def test_an_address_that_is_no_address(config: Path) -> None:
    said = sidebard("card", "ann", "--config", config)
    assert (said.returncode, said.stdout) == (2, "")


def test_a_listening_address_that_is_no_address(config: Path) -> None:
    said = sidebard("serve", "--config", config, "--listen", "nowhere")
    assert (said.returncode, said.stdout) == (2, "")
    assert "nowhere" in said.stderr


def test_a_card_that_fails_says_so_beside_the_built_in_one(config: Path) -> None:
    (config.parent / "card.html").write_text("\n{{ float(customer.name) }}")
    config.write_text(config.read_text() + 'card = "card.html"\n')
    said = sidebard("card", "ann@example.com", "--config", config)
    assert "Ann Lee" in said.stdout
    assert "card.html:2: ValueError" in said.stderr
    assert said.returncode == 1


def test_a_damaged_snapshot_is_a_sentence(config: Path) -> None:
    rows = [(f"a{n}@example.com", f"{n}", "Pro") for n in range(5000)]
    write_csv(config.parent / "customers.csv", [("email", "name", "plan"), *rows])
    assert sidebard("import", "--config", config).returncode == 0
    (snapshot,) = (config.parent / "state" / "customers").glob("*.db")
    content = snapshot.read_bytes()
    snapshot.chmod(0o600)
    half = len(content) // 8192 * 4096
    snapshot.write_bytes(content[:half] + b"\xff" * (len(content) - half))
    said = sidebard("requests", "--config", config)
    assert said.returncode == 1
    assert "sidebard import" in said.stderr
    assert "Traceback" not in said.stderr


def test_import_lists_the_first_rows_and_how_many_more(config: Path) -> None:
    good = [(f"a{n}@example.com", f"{n}", "Pro") for n in range(10)]
    bad = [("nobody", "x", "Pro")] * 25
    unclear = [(f"b{n}@example.com; nobody", "x", "Pro") for n in range(22)]
    write_csv(config.parent / "customers.csv", [("email", "name", "plan"), *good, *bad, *unclear])
    said = sidebard("import", "--config", config)
    assert (said.returncode, said.stderr) == (0, "")
    assert "bad rows, left out: 25" in said.stdout
    assert said.stdout.count("customers.csv:") == 41  # the first line, and twenty of each kind
    assert "  and 5 more" in said.stdout
    assert "  and 2 more" in said.stdout
