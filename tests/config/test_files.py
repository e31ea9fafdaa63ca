"""What a config names: the secrets are read exactly as they are, and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.config import files, loader, reader
from tests.config.loading import ENVIRON, MINIMAL, load


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"s", b"s"),
        (b"s\n", b"s"),
        (b"s\r\n", b"s"),
        (b" s \n\n", b" s \n"),
        (b"s\r", b"s\r"),
        (b"x" * 4096 + b"\r\n", b"x" * 4096),
    ],
    ids=["no line end", "LF", "CRLF", "spaces and two LF", "CR alone", "as long as may be"],
)
def test_secret_file(content: bytes, secret: bytes, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(content)
    assert files.read_secrets(load(tmp_path).apps[0], {}) == (secret,)


def test_secrets_of_systemd_and_environment(tmp_path: Path) -> None:
    (tmp_path / "name").write_bytes(b"one\n")
    app = load(tmp_path, MINIMAL.replace("file:secret", 'credential:name", "env:NAME')).apps[0]
    assert files.read_secrets(app, {"CREDENTIALS_DIRECTORY": str(tmp_path), "NAME": "two"}) == (b"one", b"two")
    with pytest.raises(reader.ConfigError) as caught:
        files.read_secrets(app, {})
    assert [fault.line for fault in caught.value.faults] == [5, 5]


@pytest.mark.parametrize(
    "content", [None, b"", b"\n", b"hunter2" * 600], ids=["missing", "empty", "empty line", "too long"]
)
def test_useless_secret_file(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(reader.ConfigError, match=r"sidebard.toml:5: app\[0\]\.secrets: file:secret ") as caught:
        files.read_secrets(load(tmp_path).apps[0], {})
    assert "hunter2" not in repr(caught.value.faults)


def test_the_id_and_the_secret_of_the_inbox_api(tmp_path: Path) -> None:
    text = '[helpscout]\napi_id = "file:id"\napi_secret = "env:HS"\n'
    assert files.read_api_credentials(load(tmp_path), {}) is None
    settings = load(tmp_path, text + MINIMAL)
    with pytest.raises(reader.ConfigError) as caught:
        files.read_api_credentials(settings, {})
    assert [(fault.line, fault.key) for fault in caught.value.faults] == [
        (2, "helpscout.api_id"),
        (3, "helpscout.api_secret"),
    ]
    (tmp_path / "id").write_text("an id\n")
    assert files.read_api_credentials(settings, {"HS": "hunter2"}) == (b"an id", b"hunter2")
    with pytest.raises(reader.ConfigError, match="put nothing but the secret into") as caught:
        files.read_api_credentials(settings, {"HS": "hunter2" * 1000})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"k" * 32 + b"\n", "", id="the least"),
        pytest.param(b"\xff\0 \n" * 900, "", id="any bytes"),
        pytest.param(
            b"k" * 31 + b"\r\n",
            "file:key has 31 bytes, and at least 32 are needed; create one with `openssl rand -hex 32`,",
            id="too short",
        ),
        pytest.param(b"\n", "file:key is empty or not set; put the key of the log's hashes into", id="empty"),
        pytest.param(b"k" * 4097, "file:key is longer than 4096 bytes", id="too long"),
        pytest.param(None, "file:key cannot be read: No such file or directory", id="missing"),
    ],
)
def test_the_key_of_the_logs_hashes(content: bytes | None, why: str, tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL + '[log]\nhash_key = "file:key"\n')
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    if not why:
        assert content is not None
        assert files.read_hash_key(settings, {}) == content.removesuffix(b"\n")
        return
    with pytest.raises(reader.ConfigError) as caught:
        files.read_hash_key(settings, {})
    assert f"sidebard.toml:{MINIMAL.count(chr(10)) + 2}: log.hash_key: {why}" in str(caught.value)
    assert "kkk" not in str(caught.value)


def test_without_a_key_of_its_own_the_log_has_none(tmp_path: Path) -> None:
    assert files.read_hash_key(load(tmp_path), {}) is None


def test_useless_secret_file_of_a_flag(tmp_path: Path) -> None:
    app = loader.from_flags(Path("c.csv"), Path("s"), ENVIRON, tmp_path).apps[0]
    with pytest.raises(reader.ConfigError, match=r"^--secret-file: file:s cannot be read"):
        files.read_secrets(app, {})
