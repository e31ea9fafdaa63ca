"""Where `init` puts things: what the service can read, whose files they are, and what is taken back."""

import os
import pwd
import stat
from pathlib import Path

import pytest

from appliance.bootstrap import installation
from appliance.bootstrap.installation import Installation, InstallationError, find_config, service_user, writing
from tests.permissions import open_to_others

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def packaged(tmp_path):
    for name in ("etc", "data"):
        (tmp_path / name).mkdir()
    return Installation(tmp_path / "etc" / "sidebard.toml", pwd.getpwnam("nobody"), tmp_path / "data")


def look(file):
    facts = file.stat()
    return facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)


def test_all_belongs_to_root_and_to_the_services_group(packaged, tmp_path):
    source = tmp_path / "customers.csv"
    source.write_text("email\n")
    with writing(packaged, force=False) as files:
        files.copy(source, packaged.data / "customers.csv")
        assert files.write_secret()
        files.write_config("# all\n")
    group = pwd.getpwnam("nobody").pw_gid
    for file in (packaged.config, packaged.secret, packaged.data / "customers.csv"):
        assert look(file) == (0, group, 0o640), file
    assert {file.name for file in packaged.config.parent.iterdir()} == {"secret", "sidebard.toml"}


@pytest.mark.parametrize("folder", ["/root", "/home/ada", "/run/user/0", "/tmp", "/var/tmp"])
def test_folders_that_the_unit_does_not_have(folder, packaged, tmp_path):
    assert not packaged.can_be_read(Path(folder, "customers.csv"))
    (tmp_path / "link.csv").symlink_to(f"{folder}/customers.csv")
    assert not packaged.can_be_read(tmp_path / "link.csv")


def test_a_link_in_such_a_folder_to_a_file_elsewhere(packaged, tmp_path, monkeypatch):
    """The config would name the link."""
    monkeypatch.setattr(installation, "_HIDDEN", (tmp_path / "home",))
    monkeypatch.setattr(installation, "let_others_read", lambda: None)
    open_to_others(tmp_path)
    (tmp_path / "customers.csv").write_text("email\n")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "customers.csv").symlink_to(tmp_path / "customers.csv")
    assert packaged.can_be_read(tmp_path / "customers.csv")
    assert not packaged.can_be_read(tmp_path / "home" / "customers.csv")


def test_a_config_that_has_come_meanwhile_stays(packaged):
    packaged.refuse_existing(force=False)
    packaged.config.write_text("# theirs\n")
    said = pytest.raises(InstallationError, match="cannot be written: File exists")
    with said, writing(packaged, force=False) as files:
        files.write_config("# mine\n")
    assert packaged.config.read_text() == "# theirs\n"


def test_files_that_the_user_cannot_read(packaged, tmp_path, monkeypatch):
    monkeypatch.setattr(installation, "_HIDDEN", ())
    monkeypatch.setattr(installation, "let_others_read", lambda: None)
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    file = tmp_path / "customers.csv"
    file.write_text("email\n")
    file.chmod(0o600)
    assert not packaged.can_be_read(file)
    file.chmod(0o644)
    assert packaged.can_be_read(file)
    assert Installation(packaged.config).can_be_read(file)  # without the package, whoever runs it reads it


def test_a_copy_never_replaces_another_file(packaged, tmp_path, monkeypatch):
    source, place = tmp_path / "customers.csv", packaged.data / "customers.csv"
    source.write_text("email\n")
    place.write_text("theirs")
    with pytest.raises(InstallationError, match="exists and differs from"), writing(packaged, force=False) as files:
        files.copy(source, place)
    with writing(packaged, force=True) as files:
        files.copy(source, place)
    assert (place.read_text(), (packaged.data / "customers.csv.old").read_text()) == ("email\n", "theirs")
    monkeypatch.setattr(installation, "let_others_read", lambda: None)
    open_to_others(packaged.data)
    with writing(packaged, force=False) as files:
        files.copy(source, place)  # the same is no other


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("is_itself", [False, True], ids=["a copy", "the file itself"])
def test_a_copy_that_is_there_must_be_readable_too(is_itself, force, packaged, tmp_path, monkeypatch):
    monkeypatch.setattr(installation, "let_others_read", lambda: None)
    open_to_others(packaged.data)
    place = packaged.data / "customers.csv"
    source = place if is_itself else tmp_path / "customers.csv"
    for file in {source, place}:
        file.write_text("email\n")
        file.chmod(0o600)
    said = pytest.raises(InstallationError, match=f"{place} is there, and the user sidebard cannot read it; run chgrp")
    with said, writing(packaged, force=force) as files:
        files.copy(source, place)


def test_a_link_to_nothing_in_the_place_of_a_copy(packaged, tmp_path):
    (tmp_path / "customers.csv").write_text("email\n")
    (packaged.data / "customers.csv").symlink_to("nowhere.csv")
    with pytest.raises(InstallationError, match="exists and differs from"), writing(packaged, force=False) as files:
        files.copy(tmp_path / "customers.csv", packaged.data / "customers.csv")


def test_a_file_that_only_ends_like_a_database(packaged, tmp_path):
    (tmp_path / "password.db").write_text("secret")
    with writing(packaged, force=False) as files:
        files.copy(tmp_path / "password.db", packaged.password)
    assert packaged.password.read_text() == "secret"


def test_whose_eyes_the_config_of_the_package_is_checked_with(packaged, monkeypatch):
    """Also before the service has run for the first time, when it owns no folder yet."""
    monkeypatch.setattr(installation, "PACKAGED", packaged.config)
    monkeypatch.setattr(installation, "_USER", "nobody")
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    assert service_user(packaged.config) == packaged.user
    assert service_user(packaged.config.with_name("other.toml")) is None
    assert service_user(None) is None
    monkeypatch.setenv("INVOCATION_ID", "1")  # within the unit this is the service's user, whoever that is
    assert service_user(packaged.config) is None


def test_the_packages_own_config_is_replaced_without_a_copy(packaged, tmp_path, monkeypatch):
    (tmp_path / "etc-sidebard.toml").write_text("# as installed\n")
    monkeypatch.setattr(installation, "_AS_PACKAGED", tmp_path / "etc-sidebard.toml")
    packaged.config.write_text("# as installed\n")
    packaged.refuse_existing(force=False)
    with writing(packaged, force=False) as files:
        files.write_config("# mine\n")
    assert [file.name for file in packaged.config.parent.iterdir()] == ["sidebard.toml"]
    with pytest.raises(InstallationError, match="exists; add --force"):
        packaged.refuse_existing(force=False)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, InstallationError])
def test_an_end_within_takes_all_back(error, packaged, tmp_path):
    packaged.config.write_text("# before\n")
    (tmp_path / "customers.csv").write_text("email\n")

    def fail():
        with writing(packaged, force=True) as files:
            files.copy(tmp_path / "customers.csv", packaged.data / "customers.csv")
            files.write_secret()
            files.write_config("# after\n")
            raise error("now")

    with pytest.raises(error):
        fail()
    assert packaged.config.read_text() == "# before\n"
    assert [file.name for file in packaged.config.parent.iterdir()] == ["sidebard.toml"]
    assert list(packaged.data.iterdir()) == []


def test_which_config_a_command_takes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(installation, "PACKAGED", tmp_path / "etc" / "sidebard.toml")
    here = tmp_path / "sidebard.toml"
    assert find_config() == installation.PACKAGED
    here.touch()
    assert find_config() == here
    (tmp_path / "etc").mkdir()
    installation.PACKAGED.touch()
    assert find_config() == installation.PACKAGED
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert find_config() == here
