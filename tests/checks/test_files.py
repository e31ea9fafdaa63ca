"""The checks of certificates, and of who may read and write the files that a config names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.checks.finding import Status
from tests.checks.running import context, only, run_check, told
from tests.edge.test_tls import BETWEEN, NOW, ROOT, leaf, root_is_trusted, write

__all__ = ["root_is_trusted"]  # a fixture that every test here uses


def _cut(folder: Path) -> None:
    certificate, _key = write(folder, leaf(), BETWEEN)
    certificate.write_bytes(certificate.read_bytes()[:300])


CERTIFICATES: list[tuple[str, Callable[[Path], object], str, str]] = [
    ("good", lambda folder: write(folder, leaf(), BETWEEN), "ok", "for support.example.com, 89 days left"),
    ("expired", lambda folder: write(folder, leaf(begin=-100), BETWEEN), "fault", "expired on 2026-09-11; renew it"),
    ("not yet", lambda folder: write(folder, leaf(begin=1), BETWEEN), "fault", "not valid before 2026-09-22 00:00 UTC"),
    ("no name", lambda folder: write(folder, leaf(names=[]), BETWEEN), "fault", "names no server"),
    ("another key", lambda folder: write(folder, leaf(), BETWEEN, key=leaf()), "fault", "do not belong together"),
    ("chain in the wrong order", lambda folder: write(folder, leaf(), ROOT, BETWEEN), "fault", "put the server's own"),
    ("no chain", lambda folder: write(folder, leaf()), "warning", "use the full chain"),
    ("near its end", lambda folder: write(folder, leaf(begin=-77), BETWEEN), "warning", "ends in 13.0 days; renew it"),
    ("six days, four left", lambda folder: write(folder, leaf(begin=-2, days=6), BETWEEN), "ok", "4 days left"),
    (
        "six days, one left",
        lambda folder: write(folder, leaf(begin=-5, days=6), BETWEEN),
        "warning",
        "ends in 1.0 days",
    ),
    (
        "missing",
        lambda folder: None,
        "fault",
        "tls.certificate cannot be read: No such file or directory; put it there",
    ),
    ("cut", _cut, "fault", "is not a PEM file with a certificate; convert it"),
]


@pytest.mark.parametrize(
    ("make", "status", "sentence"), [case[1:] for case in CERTIFICATES], ids=[case[0] for case in CERTIFICATES]
)
def test_certificates(make: Callable[[Path], object], status: str, sentence: str, tmp_path: Path) -> None:
    make(tmp_path)
    result = run_check(
        "certificate", context(tmp_path, now=NOW.timestamp(), tls='certificate = "a.crt"\nkey = "a.key"')
    )
    assert result.status.value == status
    assert sentence in " ".join(said for found, said in told(result) if found == status)


def test_a_certificate_too_many_is_not_in_the_way_of_the_others(tmp_path: Path) -> None:
    write(tmp_path, leaf(), BETWEEN)
    tls = 'certificate = "none"\nkey = "none"\n[[tls.more]]\ncertificate = "a.crt"\nkey = "a.key"'
    found = told(run_check("certificate", context(tmp_path, now=NOW.timestamp(), tls=tls)))
    assert [status for status, _ in found] == ["fault", "ok"]


def test_no_certificate(tmp_path: Path) -> None:
    made_here = only(run_check("certificate", context(tmp_path)))
    assert made_here.status is Status.WARNING
    assert (
        "a self-signed one for localhost is used, and Help Scout does not accept it; set tls.certificate"
        in made_here.sentence
    )
    assert only(run_check("certificate", context(tmp_path, tls="enabled = false"))).status is Status.OK
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.parametrize(
    ("file", "mode", "status"),
    [
        ("secret", 0o640, "ok"),
        ("secret", 0o644, "warning"),
        ("secret", 0o660, "warning"),
        ("a.key", 0o640, "ok"),
        ("a.key", 0o644, "warning"),
        ("a.crt", 0o644, "ok"),
        ("sidebard.toml", 0o644, "ok"),
        ("sidebard.toml", 0o664, "warning"),
        ("card.html", 0o644, "ok"),
        ("card.html", 0o664, "fault"),
        ("card.html", 0o646, "fault"),
        ("trail", 0o640, "ok"),
        ("trail", 0o644, "warning"),
    ],
)
def test_modes(file: str, mode: int, status: str, tmp_path: Path) -> None:
    tls, app, more = 'certificate = "a.crt"\nkey = "a.key"', 'card = "card.html"', '[log]\ntrail = "trail"'
    where = context(tmp_path, tls=tls, app=app, more=more)
    for name in ("a.crt", "a.key", "card.html", "trail"):
        (tmp_path / name).touch(0o600)
    (tmp_path / file).chmod(mode)
    finding = only(run_check("permissions", where))
    assert finding.status.value == status
    assert status == "ok" or (
        f"{tmp_path / file} (mode {mode:04o}): " in finding.sentence and "chmod" in finding.sentence
    )
