"""Whether Help Scout would accept a certificate, as far as this machine can tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.edge.tls import load_pair, self_signed
from tests.edge.test_tls import BETWEEN, NOW, ROOT, Issued, leaf, write

UNKNOWN = "issued by an authority that this machine does not know"


@pytest.fixture
def authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the authorities that this machine trusts: none of those that tests use."""
    file = tmp_path / "authorities.pem"
    file.write_bytes(Issued("another root").pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return file


def distrust(pair: tuple[Path, Path]) -> tuple[str, list[str]]:
    """Give why the certificate is not accepted, and what is said of it without the name of the file."""
    _context, certificate = load_pair(pair, NOW)
    return certificate.distrust, [flaw.sentence.partition(": ")[2] for flaw in certificate.flaws]


def test_an_authority_of_ones_own(authorities: Path, tmp_path: Path) -> None:
    sentence = f"{UNKNOWN}, so Help Scout does not accept it; get one from a public authority"
    for chain in ([BETWEEN], [BETWEEN, ROOT]):
        assert distrust(write(tmp_path, leaf(), *chain)) == (UNKNOWN, [sentence])


def test_an_authority_that_is_known(authorities: Path, tmp_path: Path) -> None:
    authorities.write_bytes(ROOT.pem)
    assert distrust(write(tmp_path, leaf(), BETWEEN)) == ("", [])


def test_one_that_ends_soon_and_is_not_accepted_is_told_both(authorities: Path, tmp_path: Path) -> None:
    why, said = distrust(write(tmp_path, leaf(begin=-80), BETWEEN))
    assert (why, len(said)) == (UNKNOWN, 2)
    assert said[0] == "ends in 10.0 days; renew it"


@pytest.mark.parametrize("listed", [False, True], ids=["unknown", "in the machine's list"])
def test_one_that_is_signed_by_itself(listed: bool, authorities: Path, tmp_path: Path) -> None:
    own = Issued("support.example.com", names=["support.example.com"])
    if listed:
        authorities.write_bytes(own.pem)
    assert distrust(write(tmp_path, own)) == (
        "signed by itself",
        ["signed by itself, so Help Scout does not accept it; get one from a public authority"],
    )


def test_one_that_is_made_here(authorities: Path, tmp_path: Path) -> None:
    assert distrust(self_signed(tmp_path, NOW))[0] == "signed by itself"


def test_without_its_chain_the_chain_is_what_to_mend(authorities: Path, tmp_path: Path) -> None:
    why, said = distrust(write(tmp_path, leaf()))
    assert (why, said) == ("", ["the certificate that issued it is not in the file; use the full chain"])


def test_dates_are_not_for_this_to_judge(authorities: Path, tmp_path: Path) -> None:
    authorities.write_bytes(ROOT.pem)
    ended = (datetime.now(UTC) - NOW) / timedelta(days=1) - 1
    assert distrust(write(tmp_path, leaf(begin=-400, days=400 + ended), BETWEEN))[0] == ""


def test_a_machine_without_authorities_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "empty"))
    assert distrust(write(tmp_path, leaf(), BETWEEN)) == ("", [])
