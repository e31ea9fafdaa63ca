"""The check of the Inbox API, as far as nothing has to be asked; test_serve_inbox_api has the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.checks.finding import Status
from appliance.inbox_api import wire
from tests.checks.running import context, only, run_check, told
from tests.inbox_api.help_scout import API_ID, API_SECRET, HelpScout, Server

API = '[helpscout]\napi_id = "{}:id"\napi_secret = "{}:API_SECRET"\n'


def test_it_is_not_configured(tmp_path: Path) -> None:
    assert told(run_check("inbox_api", context(tmp_path))) == [("ok", "not configured")]


def test_the_service_alone_can_read_a_credential(tmp_path: Path) -> None:
    where = context(tmp_path, more=API.format("file", "credential"), app="[app.page]")
    assert only(run_check("inbox_api", where)).status is Status.NOT_CHECKED


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    where = context(tmp_path, more=API.format("file", "env"), app="[app.page]")
    first, second = told(run_check("inbox_api", where))
    assert first[0] == second[0] == "fault"
    assert "helpscout.api_id: file:id cannot be read: No such file" in first[1]
    assert "put the id into" in first[1]
    assert "is not set" in second[1] or "empty" in second[1]


def test_without_a_page_it_is_of_no_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = context(tmp_path, more=API.format("file", "file"))
    (tmp_path / "id").write_text(API_ID)
    (tmp_path / "API_SECRET").write_text(API_SECRET)
    with Server(tmp_path, HelpScout()) as server:
        monkeypatch.setattr(wire, "API", server.origin)
        [(status, said), second] = told(run_check("inbox_api", where))
    assert (status, "no app has one" in said) == ("warning", True)
    assert second[0] == "ok"
