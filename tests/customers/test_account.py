"""Sentences about files name the user as whom they were opened."""

from __future__ import annotations

import errno
import os
import pwd

import pytest

from appliance.system.account import account, todo_of


def test_the_user_is_named() -> None:
    assert account() == f"the user {pwd.getpwuid(os.geteuid()).pw_name}"


def test_one_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 54_321)
    assert account() == "the user with id 54321"


@pytest.mark.parametrize(
    ("code", "todo"),
    [
        (errno.ENOENT, "put it there, readable by the user "),
        (errno.EACCES, "let the user "),
        (errno.ELOOP, "correct the file, or its name in the config"),
        (errno.EIO, "correct the file, or its name in the config"),
    ],
)
def test_what_to_do_depends_on_the_error(code: int, todo: str) -> None:
    assert todo_of(OSError(code, "x")).startswith(todo)
