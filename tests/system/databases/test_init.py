"""`sidebard init` with a table of a real PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands import run
from tests.system.databases.postgres_server import Postgres

pytestmark = pytest.mark.system


def test_a_table_becomes_a_config(server: Postgres, tmp_path: Path) -> None:
    server.sql(
        """CREATE TABLE people (id int PRIMARY KEY, contact text);
        INSERT INTO people SELECT n, n || '@example.com' FROM generate_series(1, 50) AS n;
        GRANT SELECT ON people TO reader;"""
    )
    named = server.server()
    (tmp_path / "password").write_text(named.read_password())
    (tmp_path / "password").chmod(0o600)
    config = tmp_path / "sidebard.toml"
    words = (str(named), "--table", "people", "--password", f"file:{tmp_path / 'password'}", "--config", str(config))
    result = run("init", *words, "--json", HOME=str(tmp_path))
    said = json.loads(result.stdout)
    assert (said["customers"], said["addresses"], said["table"]) == (50, ["contact"], "people")
    assert "1@example.com" in said["card"]
    results = {each["name"]: each["status"] for each in said["check"]["checks"]}
    assert results["customers"] in ("ok", "warning"), said
    assert 'table = "people"' in config.read_text()


def test_what_is_wrong_is_one_sentence(server: Postgres, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(server.server().read_password())
    for words, sentence in (((), "name its table or view with --table"), (("--table", "nothing"), "no such table")):
        given = (*words, "--password", f"file:{secret}", "--yes", "--config", tmp_path / "c.toml")
        result = run("init", str(server.server()), *given, HOME=str(tmp_path))
        assert (result.returncode, len(result.stderr.splitlines())) == (1, 1), result.stderr
        assert sentence in result.stderr.decode()
    assert list(tmp_path.iterdir()) == [secret]
