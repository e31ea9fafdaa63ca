"""The checks of the config and of its secrets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.checks.context import CheckContext
from appliance.checks.finding import Status
from appliance.errors import StartError
from appliance.system.privileges import file_user, owner_of
from tests.checks.running import context, only, run_check, settings, told
from tests.permissions import open_to_others

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as another user")


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        pytest.param(b"x" * 40, "ok", "40 bytes", id="good"),
        pytest.param(
            b"x" * 15, "warning", "15 bytes are easy to guess; create a secret with `openssl rand", id="short"
        ),
        pytest.param(b"x" * 41, "warning", "41 bytes, and Help Scout takes at most 40", id="long"),
        pytest.param(b"x" * 20 + b" \n", "warning", "begins or ends with white space", id="white space"),
        pytest.param(b"", "fault", "is empty or not set; put the secret from Help Scout's app page into", id="empty"),
        pytest.param(None, "fault", "cannot be read: No such file or directory; put the secret into", id="missing"),
    ],
)
def test_secrets(content: bytes | None, status: str, sentence: str, tmp_path: Path) -> None:
    where = context(tmp_path)
    (tmp_path / "secret").unlink()
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    [(found, said)] = told(run_check("secrets", where))
    assert (found, sentence in said) == (status, True), said
    assert "file:secret" in said
    assert "xxx" not in said


def test_each_secret_is_looked_at(tmp_path: Path) -> None:
    where = context(tmp_path, app='secrets = ["file:none", "env:NONE"]')
    first, second = told(run_check("secrets", where))
    assert "sidebard.toml:16: app[0].secrets: file:none cannot be read" in first[1]
    assert "env:NONE is empty or not set" in second[1]


def test_credentials_are_systemds_to_pass(tmp_path: Path) -> None:
    where = context(tmp_path, app='secrets = ["credential:helpscout"]')
    assert only(run_check("secrets", where)).status is Status.NOT_CHECKED
    where = context(
        tmp_path, {"CREDENTIALS_DIRECTORY": str(tmp_path / "hidden")}, app='secrets = ["credential:helpscout"]'
    )
    assert only(run_check("secrets", where)).status is Status.NOT_CHECKED
    (tmp_path / "helpscout").write_text("a secret of systemd's")
    where = context(tmp_path, {"CREDENTIALS_DIRECTORY": str(tmp_path)}, app='secrets = ["credential:helpscout"]')
    assert only(run_check("secrets", where)).status is Status.OK


@pytest.mark.parametrize(
    ("source", "content", "status", "sentence"),
    [
        pytest.param("file:key", "k" * 64, "ok", "log.hash_key, file:key: 64 bytes", id="good"),
        pytest.param("file:key", "k" * 31 + "\n", "fault", "has 31 bytes, and at least 32 are needed", id="short"),
        pytest.param("file:none", "", "fault", "log.hash_key: file:none cannot be read: No such file", id="missing"),
        pytest.param("credential:key", "", "not_checked", "log.hash_key, credential:key: systemd pas", id="systemd's"),
    ],
)
def test_the_key_of_the_logs_hashes(source: str, content: str, status: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(content)
    of_app, of_log = told(run_check("secrets", context(tmp_path, more=f'[log]\nhash_key = "{source}"')))
    assert of_app[0] == "ok"
    assert (of_log[0], sentence in of_log[1]) == (status, True), of_log
    assert "kkk" not in of_log[1]


@needs_root
def test_root_looks_with_the_eyes_of_the_state_folders_owner(tmp_path: Path) -> None:
    made = settings(tmp_path)
    assert owner_of(made.server.state) is None
    os.chown(tmp_path / "state", 65534, 65534)
    eyes = owner_of(made.server.state)
    assert eyes is not None
    open_to_others(tmp_path)
    where = CheckContext(made, {}, file_user=eyes)
    assert eyes.pw_name in told(run_check("config", where))[1][1]
    assert "Permission denied" in only(run_check("secrets", where)).sentence
    assert run_check("state", where).status is Status.OK
    assert os.geteuid() == 0


@needs_root
def test_root_looks_with_the_eyes_of_the_user_whom_it_becomes(tmp_path: Path) -> None:
    made = settings(tmp_path, server='user = "nobody"')
    (tmp_path / "customers.csv").chmod(0o600)
    (tmp_path / "state").chmod(0o700)
    open_to_others(tmp_path)
    where = CheckContext(made, {}, file_user=file_user(made.server.user, made.server.state))
    assert "checking file access as user nobody (server.user)" in told(run_check("config", where))[1][1]
    assert "Permission denied" in only(run_check("customers", where)).sentence
    assert run_check("state", where).status is Status.OK  # it becomes theirs at the start


@needs_root
def test_a_user_who_is_not_there(tmp_path: Path) -> None:
    made = settings(tmp_path, server='user = "no-such-user"')
    fault = 'server.user: there is no user "no-such-user" on this machine; create it, or name another'
    with pytest.raises(StartError, match=fault):
        file_user(made.server.user, made.server.state)
    assert told(run_check("config", CheckContext(made, {})))[-1] == ("fault", fault)
