"""What a deployment serves of the certificates that the settings name, and why a start refuses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from appliance.bootstrap import certificates
from appliance.config.loader import from_flags
from appliance.config.schema import Settings
from appliance.errors import StartError
from tests.conftest import Logged
from tests.factory import write_csv
from tests.server import make_issued


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings that name server.crt and server.key, neither of which is there."""
    (tmp_path / "secret").write_text("a secret of the tests")
    environ = {"STATE_DIRECTORY": str(tmp_path / "state")}
    made = from_flags(write_csv(tmp_path / "customers.csv"), tmp_path / "secret", environ, tmp_path)
    return replace(made, tls=replace(made.tls, certificate=tmp_path / "server.crt", key=tmp_path / "server.key"))


def encrypted() -> bytes:
    loaded = serialization.load_pem_private_key(make_issued().private_key_pem.bytes(), None)
    return loaded.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"hush"),
    )


def certificate() -> bytes:
    return make_issued().cert_chain_pems[0].bytes()


def key() -> bytes:
    return make_issued().private_key_pem.bytes()


@pytest.mark.parametrize(
    ("crt", "key", "why"),
    [
        pytest.param(None, key, "server.crt: tls.certificate cannot be read: No such file", id="no certificate"),
        pytest.param(certificate, None, "server.key: tls.key cannot be read: No such file", id="no key"),
        pytest.param(lambda: b"hello", key, "is not a PEM file", id="text"),
        pytest.param(certificate, key, "do not belong together", id="another key"),
        pytest.param(certificate, encrypted, "is encrypted; write it without a pass phrase", id="pass phrase"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_sentence(
    crt: Callable[[], bytes] | None, key: Callable[[], bytes] | None, why: str, settings: Settings, tmp_path: Path
) -> None:
    for name, content in (("server.crt", crt), ("server.key", key)):
        if content is not None:
            (tmp_path / name).write_bytes(content())
    with pytest.raises(StartError) as caught:
        certificates.load(settings)
    assert why in str(caught.value)


def test_without_tls_there_are_none(settings: Settings) -> None:
    without = replace(settings, tls=replace(settings.tls, enabled=False))
    assert certificates.load(without) == (None, ())
    assert certificates.fingerprint(without) == ""


def test_so_much_of_them_is_told_as_fits_the_status(settings: Settings, tmp_path: Path, logged: Logged) -> None:
    names = [f"{number}.{'long' * 15}.{'long' * 15}.example" for number in range(5)]
    issued = trustme.CA().issue_cert(*names)
    (tmp_path / "server.key").write_bytes(issued.private_key_pem.bytes())
    (tmp_path / "server.crt").write_bytes(issued.cert_chain_pems[0].bytes())
    _context, [told] = certificates.load(settings)
    assert (told.names, told.more) == (tuple(name[:100] for name in names[:3]), 2)
    logged.take("certificate_warning")


def test_one_that_is_made_is_told_to_be_so(settings: Settings, logged: Logged) -> None:
    _context, [told] = certificates.load(replace(settings, tls=replace(settings.tls, certificate=None, key=None)))
    assert (told.names[0], told.distrust) == ("localhost", "self-signed by sidebard")
    said = logged.take("self_signed_certificate")
    assert said["message"] == "the certificate is self-signed by sidebard, so Help Scout does not accept it"


def test_a_folder_that_cannot_be_written_is_refused_with_a_sentence(settings: Settings) -> None:
    settings.server.state.touch()
    with pytest.raises(StartError, match=r"the state folder cannot be used: Not a directory; set server\.state to"):
        certificates.load(replace(settings, tls=replace(settings.tls, certificate=None, key=None)))


# Of [acme]


NAME = "sidebar.example.com"


@pytest.fixture
def by_itself(settings: Settings) -> Settings:
    tls = replace(settings.tls, certificate=None, key=None)
    made = replace(settings, tls=tls, acme=replace(settings.acme, domains=(NAME,)))
    made.server.state.mkdir()
    certificates.acme_pair(made, NAME).parent.mkdir(parents=True)
    return made


def pair_of(name: str = NAME) -> bytes:
    issued = trustme.CA().issue_cert(name)
    return issued.private_key_pem.bytes() + b"".join(each.bytes() for each in issued.cert_chain_pems)


def test_until_there_is_one_a_placeholder_is_served(by_itself: Settings, logged: Logged) -> None:
    certificates.make_placeholders(by_itself)
    _context, [told] = certificates.load(by_itself)
    assert (told.names, told.is_placeholder) == ((NAME,), True)
    assert logged.take("certificate_awaited")["name"] == NAME
    before = certificates.fingerprint(by_itself)
    certificates.acme_pair(by_itself, NAME).write_bytes(pair_of())
    assert certificates.fingerprint(by_itself) != before
    _context, [told] = certificates.load(by_itself)
    assert (told.names, told.is_placeholder) == ((NAME,), False)
    logged.take("certificate_warning")  # of an authority that this machine does not know


def test_a_damaged_one_stays_out_and_a_start_does_without(by_itself: Settings, logged: Logged) -> None:
    certificates.acme_pair(by_itself, NAME).write_bytes(pair_of()[:300])
    with pytest.raises(StartError, match=r"pair\.pem"):
        certificates.load(by_itself)
    _context, [told] = certificates.load(by_itself, at_start=True)
    assert told.is_placeholder
    assert "pair.pem" in str(logged.take("certificate_refused")["why"])
    logged.take("certificate_awaited")


def test_one_that_is_gone_stays_in_use(by_itself: Settings) -> None:
    file = certificates.acme_pair(by_itself, NAME)
    assert certificates.lost(by_itself, certificates.fingerprint(by_itself)) == ""
    file.write_bytes(pair_of())
    before = certificates.fingerprint(by_itself)
    assert certificates.lost(by_itself, before) == ""
    file.unlink()
    assert certificates.lost(by_itself, before).startswith(f"{file} is gone; the authority is asked for a new one")
