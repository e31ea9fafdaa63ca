"""What `check` says when systemd has given up on the service."""

from __future__ import annotations

import subprocess

import pytest

from appliance.checks.units import failed_units


def _said(socket: str, service: str, result: str = "success") -> str:
    return (
        f"Id=sidebard.socket\nActiveState={socket}\nResult={result}\n\n"
        f"Id=sidebard.service\nActiveState={service}\nResult={result}\n"
    )


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        pytest.param("", None, id="no systemd"),
        pytest.param(_said("active", "active"), None, id="both run"),
        pytest.param(_said("inactive", "inactive"), None, id="not installed"),
        pytest.param(
            _said("active", "failed", "exit-code"),
            ("warning", "(exit-code); once the faults listed here are fixed, run systemctl restart sidebard"),
            id="service",
        ),
        pytest.param(_said("active", "deactivating"), None, id="an orderly stop"),
        pytest.param(
            _said("active", "deactivating", "exit-code"), ("warning", "restart sidebard"), id="pause between two tries"
        ),
        pytest.param(
            _said("active", "failed", "start-limit-hit"),
            ("warning", "systemctl reset-failed sidebard && systemctl restart sidebard"),
            id="service at a start limit of the operator's",
        ),
        pytest.param(
            _said("failed", "failed", "service-start-limit-hit"),
            (
                "fault",
                "the port is closed; open it again: systemctl reset-failed sidebard.socket sidebard.service &&",
            ),
            id="socket",
        ),
    ],
)
def test_failed_units(said: str, wanted: tuple[str, str] | None) -> None:
    found = list(failed_units({}, lambda: said))
    assert [one.status.value for one in found] == ([wanted[0]] if wanted else [])
    assert all(wanted is not None and wanted[1] in one.sentence for one in found), found


def test_nothing_is_asked_inside_the_unit() -> None:
    assert list(failed_units({"INVOCATION_ID": "1"}, lambda: _said("failed", "failed"))) == []


def test_systemd_that_does_not_answer_is_no_finding() -> None:
    def ask() -> str:
        raise subprocess.TimeoutExpired("systemctl", 5)

    assert list(failed_units({}, ask)) == []
