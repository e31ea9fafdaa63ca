"""The checks of certificates, and of who may read and write the files that a config names."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.bootstrap import certificates
from appliance.checks.finding import Status
from tests.checks.running import context, only, run_check, settings, told
from tests.conftest import Logged
from tests.edge.test_tls import BETWEEN, NEW_ROOT_SIGNED_BY_OLD, NOW, ROOT, issuer, leaf, root_is_trusted, write

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
        "45 days, eight left",
        lambda folder: write(folder, leaf(begin=-37, days=45), BETWEEN),
        "ok",
        "8 days left",
    ),
    (
        "45 days, seven left",
        lambda folder: write(folder, leaf(begin=-38, days=45), BETWEEN),
        "warning",
        "ends in 7.0 days; renew it",
    ),
    (
        "hours left",
        lambda folder: write(folder, leaf(begin=-6.5, days=7), BETWEEN),
        "warning",
        "ends in 12.0 hours; renew it",
    ),
    (
        "an expired issuer",
        lambda folder: write(folder, *issuer(days=5)),
        "fault",
        "a.crt: certificate 2 of the chain (issuer) expired on 2026-09-16; use the chain",
    ),
    (
        "an issuer near its end",
        lambda folder: write(folder, *issuer(begin=-995, days=1000)),
        "warning",
        "a.crt: certificate 2 of the chain (issuer) ends in 5.0 days",
    ),
    (
        "an old cross-signed root",
        lambda folder: write(folder, *issuer(), NEW_ROOT_SIGNED_BY_OLD),
        "ok",
        "for support.example.com, 89 days left",
    ),
    (
        "missing",
        lambda folder: None,
        "fault",
        "tls.certificate cannot be read: No such file or directory; put it there",
    ),
    ("cut", _cut, "fault", "is not a PEM file with a certificate: its last block, CERTIFICATE, has no END"),
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


def test_health_is_told_of_the_chain(tmp_path: Path, logged: Logged) -> None:
    """What check says of a chain, a running service serves with: the first end, from when on it is near, and whose."""
    write(tmp_path, *issuer(days=5))
    _context, (served,) = certificates.load(settings(tmp_path, tls='certificate = "a.crt"\nkey = "a.key"'))
    assert (served.names, served.issuer) == (("support.example.com",), "issuer")
    assert served.ends == (NOW - timedelta(days=5)).timestamp()
    assert served.renewal == (NOW - timedelta(days=5 + 5 / 6)).timestamp()
    assert "certificate 2 of the chain (issuer) expired" in str(logged.take("certificate_warning")["message"])


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
        ("password", 0o640, "ok"),
        ("password", 0o644, "warning"),
        ("api-secret", 0o644, "warning"),
        ("hash-key", 0o640, "ok"),
        ("hash-key", 0o644, "warning"),
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
    more += '\nhash_key = "file:hash-key"\n[helpscout]\napi_id = "file:api-id"\napi_secret = "file:api-secret"'
    where = context(tmp_path, tls=tls, app=app, more=more, customers='password = "file:password"')
    for name in ("a.crt", "a.key", "card.html", "trail", "password", "api-id", "api-secret", "hash-key"):
        (tmp_path / name).touch(0o600)
    (tmp_path / file).chmod(mode)
    finding = only(run_check("permissions", where))
    assert finding.status.value == status
    assert status == "ok" or (
        f"{tmp_path / file} (mode {mode:04o}): " in finding.sentence and "chmod" in finding.sentence
    )


@pytest.mark.parametrize("key", ["a.key", "a.crt"], ids=["also in its own file", "in one file"])
def test_the_mode_of_a_certificate_with_its_key(key: str, tmp_path: Path) -> None:
    one = leaf()
    write(tmp_path, one, BETWEEN)
    (tmp_path / "a.key").chmod(0o600)
    (tmp_path / "a.crt").write_bytes((one.pem + one.key_pem).replace(b"-----\n-----", b"----------"))
    (tmp_path / "a.crt").chmod(0o644)
    where = context(tmp_path, tls=f'certificate = "a.crt"\nkey = "{key}"')
    finding = only(run_check("permissions", where))
    assert (finding.status, "a.crt (mode 0644): every user of this machine can read the key" in finding.sentence) == (
        Status.WARNING,
        True,
    )
