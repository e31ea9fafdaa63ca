"""What a deployment is made of, and what the next one keeps of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from appliance.bootstrap import certificates
from appliance.bootstrap.deployment import Deployment, make_deployment, with_new_certificate
from appliance.config.endpoint import Endpoint
from appliance.config.loader import from_flags
from appliance.config.schema import Settings
from appliance.errors import StartError
from tests.conftest import Logged
from tests.factory import run_import, write_csv
from tests.server import make_pair
from tests.service.test_files import in_child, killed_before


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a certificate of their own."""
    certificate, key, _ = make_pair(tmp_path)
    made = _from_flags(tmp_path)
    return replace(made, tls=replace(made.tls, certificate=certificate, key=key))


@pytest.fixture
def self_signed(tmp_path: Path) -> Settings:
    """Settings that name no certificate."""
    return _from_flags(tmp_path)


def _from_flags(folder: Path) -> Settings:
    (folder / "secret").write_text("a secret of the tests")
    environ = {"STATE_DIRECTORY": str(folder / "state")}
    return from_flags(write_csv(folder / "customers.csv"), folder / "secret", environ, folder)


@pytest.fixture
def first(settings: Settings, logged: Logged) -> Deployment:
    made = make_deployment(settings, {})
    logged.take("certificate_warning")  # from an authority of the tests
    return made


def with_server(settings: Settings, **values: object) -> Settings:
    return replace(settings, server=replace(settings.server, **values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        pytest.param(lambda made: made, True, id="nothing changed"),
        pytest.param(lambda made: with_server(made, drain=1.0), True, id="a setting"),
        pytest.param(lambda made: with_server(made, workers=7), False, id="other workers"),
        pytest.param(lambda made: replace(made, apps=(replace(made.apps[0], name="other"),)), False, id="another app"),
    ],
)
def test_the_next_one_keeps_the_counters_if_they_fit(
    change: Callable[[Settings], Settings], kept: bool, first: Deployment
) -> None:
    following = make_deployment(change(first.settings), {}, first)
    assert (following.counters is first.counters) is kept
    assert following.log_key == first.log_key


def test_it_keeps_the_keys_of_tls_tickets_while_the_certificate_is_the_same(
    first: Deployment, tmp_path: Path, logged: Logged
) -> None:
    same = make_deployment(first.settings, {}, first)
    assert (same.tls_context, same.certificates) == (first.tls_context, first.certificates)
    make_pair(tmp_path)
    following = make_deployment(first.settings, {}, first)
    assert following.tls_context is not first.tls_context
    assert following.certificate_fingerprint != first.certificate_fingerprint
    logged.take("certificate_warning")


NAMES = {
    "a corrected typo": (("sidebar.exmaple.com",), ("sidebar.example.com",)),
    "another name": (("sidebar.example.com",), ("sidebar.example.com", "www.example.com")),
    "a name less": (("sidebar.example.com", "www.example.com"), ("sidebar.example.com",)),
    "another order": (("sidebar.example.com", "www.example.com"), ("www.example.com", "sidebar.example.com")),
}


@pytest.mark.parametrize(("before", "after"), NAMES.values(), ids=NAMES)
def test_other_names_of_acme_get_other_placeholders(
    before: tuple[str, ...], after: tuple[str, ...], self_signed: Settings, logged: Logged
) -> None:
    """No file has changed yet: none of these names has a certificate."""
    acme = replace(self_signed.acme, domains=before)
    current = make_deployment(replace(self_signed, acme=acme), {})
    following = make_deployment(replace(self_signed, acme=replace(acme, domains=after)), {}, current)
    assert following.tls_context is not current.tls_context
    assert sorted(name for each in following.certificates for name in each.names) == sorted(after)
    assert [logged.take("certificate_awaited")["name"] for _ in (*before, *after)] == [*before, *after]
    again = make_deployment(
        replace(following.settings, acme=replace(acme, domains=after, email="a@b.c")), {}, following
    )
    assert again.tls_context is following.tls_context


def test_a_certificate_that_cannot_be_used_makes_none(first: Deployment) -> None:
    assert first.settings.tls.key is not None
    first.settings.tls.key.write_text("no key")
    with pytest.raises(StartError, match="is not a PEM file"):
        with_new_certificate(first)
    with pytest.raises(StartError, match="is not a PEM file"):
        make_deployment(first.settings, {}, first)


def test_what_only_a_restart_can_change_stays_and_is_said(first: Deployment, tmp_path: Path, logged: Logged) -> None:
    elsewhere = Endpoint("127.0.0.1", 1)
    wanted = with_server(first.settings, listen=(elsewhere,), state=tmp_path / "elsewhere", user="nobody", drain=1.0)
    wanted = replace(wanted, admin=replace(wanted.admin, listen=elsewhere))
    following = make_deployment(wanted, {}, first)
    assert logged.take("needs_restart")["keys"] == ["server.listen", "server.state", "server.user", "admin.listen"]
    assert following.settings == with_server(first.settings, drain=1.0)
    assert not (tmp_path / "elsewhere").exists()


def test_its_snapshot_is_one_of_the_same_import(first: Deployment) -> None:
    assert first.snapshot_metadata() is None
    run_import(first.import_spec, first.settings.server.state / "customers")
    metadata = first.snapshot_metadata()
    assert metadata is not None
    assert metadata.rows == 6
    customers = replace(first.settings.customers, plus_addressing=True)
    assert make_deployment(replace(first.settings, customers=customers), {}, first).snapshot_metadata() is None


def test_a_self_signed_certificate_that_was_removed_is_made_again_once(self_signed: Settings, logged: Logged) -> None:
    """What was made is what the next look compares with: else all workers would be replaced a second time."""
    deployment = make_deployment(self_signed, {})
    shutil.rmtree(self_signed.server.state)
    again = with_new_certificate(deployment)
    assert deployment.certificate_fingerprint != again.certificate_fingerprint == certificates.fingerprint(self_signed)
    for event in ("self_signed_certificate",) * 2:
        logged.take(event)


@pytest.mark.usefixtures("unmeasured")
def test_killed_between_key_and_certificate_both_are_made_again(self_signed: Settings, logged: Logged) -> None:
    """A certificate with the key of another would stop every later start."""
    deployment = make_deployment(self_signed, {})
    folder = self_signed.server.state / "self-signed"
    for call in count():
        (folder / "localhost.key").unlink()
        code = in_child(killed_before(lambda: certificates.load(self_signed), call))
        assert certificates.load(self_signed)[0] is not None
        if code == 0:
            break
    assert deployment.certificates
    while logged.rest():
        logged.take("self_signed_certificate")
