"""The config loader: golden cases for every mistake, the shipped file, and any text at all."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.bootstrap.settings import CHECKS
from appliance.config import endpoint, loader, reader, values
from appliance.config.schema import Settings
from appliance.config.secret_source import SecretSource
from tests.config.loading import ENVIRON, MINIMAL, SHIPPED, faults, load

CASES = sorted((Path(__file__).parent / "cases").glob("*.case"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_mistakes_and_their_messages(case: Path, tmp_path: Path) -> None:
    text, expected = case.read_text().split("\n---\n")
    assert faults(tmp_path, text) == expected.rstrip("\n")


# What a good file gives


def test_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.file == tmp_path / "sidebard.toml"
    assert settings.customers.source.path == tmp_path / "c.csv"
    assert settings.server.state == Path("/home/op/.local/state/sidebard")
    assert [str(endpoint) for endpoint in settings.server.listen] == ["0.0.0.0:443"]
    assert (settings.tls.certificate, settings.customers.max_age, settings.apps[0].card) == (None, None, None)
    assert (settings.customers.max_shrink, settings.server.write_timeout) == (0.2, 15.0)
    assert str(settings.server.timezone) == "UTC"
    assert settings.apps[0].secrets == (SecretSource("file", "secret", tmp_path / "secret"),)


def test_everything_set(tmp_path: Path) -> None:
    text = """
    [server]
    listen = ["127.0.0.1:0", "[::1]:443", "unix:/run/sidebard.sock"]
    state = "state"
    timezone = "Europe/Berlin"
    [tls]
    enabled = false
    [[tls.more]]
    certificate = "a.pem"
    key = "a.key"
    [customers]
    source = "c.SQLITE3"
    addresses = ["email", "Other address"]
    max_age = "2d"
    [related.orders]
    source = "/data/o.db"
    key = "customer_id"
    on = "id"
    order_by = "-date"
    [admin]
    listen = ""
    [[app]]
    secrets = ["credential:helpscout-secret", "env:OLD"]
    vary = ["user.role"]
    display = { columns = ["plan"], titles = { plan = "Plan" }, links = { id = "https://x.example/{id}" } }
    subject = [{ pattern = '#(\\d+)', column = "order" }]
    [[app]]
    name = "second"
    path = "/"
    secrets = ["file:/etc/secret"]
    """
    settings = load(tmp_path, text.replace("\n", "\r\n"))
    assert settings.server.state == tmp_path / "state"
    assert str(settings.server.timezone) == "Europe/Berlin"
    assert [tuple(pair) for pair in settings.tls.more] == [(tmp_path / "a.pem", tmp_path / "a.key")]
    assert settings.customers.max_age == 172800
    assert (settings.related[0].name, settings.related[0].table, settings.related[0].limit) == ("orders", "orders", 10)
    assert settings.admin.listen is None
    first, second = settings.apps
    assert [str(source) for source in first.secrets] == ["credential:helpscout-secret", "env:OLD"]
    assert (first.display.titles, first.display.links) == (
        (("plan", "Plan"),),
        (("id", "https://x.example/{id}"),),
    )
    assert first.subject[0].pattern.pattern == r"#(\d+)"
    assert (first.index, second.index, second.name) == (0, 1, "second")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "HOME": "/h"}, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/sidebard"),
        ({"XDG_STATE_HOME": "not/absolute", "HOME": "/h"}, "/h/.local/state/sidebard"),
    ],
    ids=["systemd", "XDG", "home"],
)
def test_state_folder(environ: dict[str, str], expected: str, tmp_path: Path) -> None:
    assert load(tmp_path, environ=environ).server.state == Path(expected)


def test_no_state_folder(tmp_path: Path) -> None:
    with pytest.raises(reader.ConfigError, match=r"server\.state: has no default.*; write state = "):
        load(tmp_path, environ={})


# Files that give no TOML


def test_not_utf8(tmp_path: Path) -> None:
    assert faults(tmp_path, b"# a\n# \xe4\n") == "sidebard.toml:2: is not UTF-8; save the file as UTF-8"


def test_byte_order_mark(tmp_path: Path) -> None:
    load(tmp_path, b"\xef\xbb\xbf" + MINIMAL.encode())


@pytest.mark.parametrize(
    ("name", "why"), [("none.toml", "No such file"), ("", "Is a directory"), ("\0", "is not a config file")]
)
def test_unreadable(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(reader.ConfigError, match=why) as caught:
        loader.load(tmp_path / name, ENVIRON)
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 9000, "a = 1" + "0" * 9000, "server = 0x1" + "0" * 9000],
    ids=["deep brackets", "long number", "long hexadecimal number"],
)
def test_hostile_toml(text: str, tmp_path: Path) -> None:
    assert "sidebard.toml" in faults(tmp_path, text)


def test_deep_dotted_key(tmp_path: Path) -> None:
    assert "unknown table" in faults(tmp_path, ".".join("a" * 3000) + " = 1")


# Flags


def test_from_flags(tmp_path: Path) -> None:
    settings = loader.from_flags(Path("c.csv"), Path("/s"), ENVIRON, tmp_path)
    assert settings.file is None
    assert settings.customers.source.path == tmp_path / "c.csv"
    assert settings.customers.addresses == ("email",)
    assert settings.apps[0].secrets[0].path == Path("/s")


def test_from_flags_names_the_flag(tmp_path: Path) -> None:
    with pytest.raises(reader.ConfigError, match=r"^--customers: has none of the endings"):
        loader.from_flags(Path("c.xlsx"), Path("s"), ENVIRON, tmp_path, CHECKS)


def test_overrides(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert loader.with_overrides(settings, None, None) == settings
    changed = loader.with_overrides(settings, ["127.0.0.1:8443"], 2)
    assert (changed.server.listen, changed.server.workers) == ((endpoint.Endpoint("127.0.0.1", 8443),), 2)


def test_overrides_are_checked(tmp_path: Path) -> None:
    settings = load(tmp_path, '[server]\nlisten = ["127.0.0.1:80"]\n[tls]\nenabled = false\n' + MINIMAL)
    with pytest.raises(reader.ConfigError, match=r"^--listen\[0\]: must be an IP address.*\n--workers: must be"):
        loader.with_overrides(settings, ["nonsense"], -1)
    with pytest.raises(reader.ConfigError, match=r"^--listen: must be a loopback address or Unix socket, because"):
        loader.with_overrides(settings, ["0.0.0.0:80"], None)


# The shipped file


def walk(of: type[Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], reader.Rule]]:
    """Every key that the dataclasses declare."""
    for name, (_, rule) in reader.rules(of).items():
        if rule.table is None:
            yield (*path, name), rule
        else:
            yield from walk(rule.table, (*path, name, *(["orders"] if rule.shape == "named" else [])))


def at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = (tree[0] if isinstance(tree, list) else tree)[name]
    return tree


def test_shipped_file_holds_every_key_at_its_default(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^#(?=\S)", "", SHIPPED.read_text())
    settings = load(tmp_path, text)
    assert all((settings.related, settings.tls.more, settings.apps[0].subject))
    tree = tomllib.loads(text)
    examples = {line.split(" = ")[0].strip() for line in text.splitlines() if "# e.g." in line}
    for path, rule in walk(Settings):
        has = at(tree, path)
        assert has == rule.default or path[-1] in examples, path
        assert (rule.default is reader.REQUIRED) <= (path[-1] in examples), path


def test_shipped_file_needs_three_keys(tmp_path: Path) -> None:
    text = SHIPPED.read_text()
    assert len(faults(tmp_path, text).splitlines()) == 3
    load(tmp_path, re.sub(r"(?m)^#(?=source = \"cust|addresses|secrets = \[.file)", "", text))


def test_frozen(tmp_path: Path) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load(tmp_path).server.workers = 1


# Anything at all

KEYS = st.sampled_from([path for path, _ in walk(Settings)])
VALUES = st.one_of(
    st.text(max_size=20).map(lambda text: '"' + "".join(f"\\U{ord(c):08x}" for c in text) + '"'),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["true", "[]", "{}", "[[]]", "[{}]", '["", 1, true]', "1.5", "nan", "1979-05-27", '"("']),
)


@given(st.one_of(st.text(), st.lists(st.tuples(KEYS, VALUES), max_size=5).map(
    lambda pairs: "\n".join(f"{'.'.join(path)} = {id}" for path, value in pairs))))  # fmt: skip
def test_any_text_gives_settings_or_faults(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(text.encode("utf-8", "replace"))
    with contextlib.suppress(reader.ConfigError):
        assert isinstance(loader.load(file, ENVIRON), Settings)


def test_no_key_of_a_secret_is_repeated_in_messages() -> None:
    """Whatever takes "file:NAME" as a secret is in the table of what messages leave out."""
    names = set()
    for path, rule in reader.places(Settings):
        for written in ("file:a", ["file:a"]):
            with contextlib.suppress(ExceptionGroup, values.InvalidValueError):
                found = rule.parse(written) if rule.parse is not None else None
                if any(isinstance(item, SecretSource) for item in (found if isinstance(found, tuple) else [found])):
                    names.add(path[-1])
    assert names == reader.SECRET_KEYS


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_literal_secret_is_never_shown(tmp_path_factory: pytest.TempPathFactory, secret: str) -> None:
    secret = f"s3cr3t{secret}"
    text = '"' + "".join(f"\\U{ord(c):08x}" for c in secret) + '"'
    for written in (text, f"[{text}]", f'["file:a", {text}]', f"{{ a = {text} }}"):
        file = tmp_path_factory.getbasetemp() / "secret.toml"
        file.write_text(MINIMAL.replace('["file:secret"]', written))
        with pytest.raises(reader.ConfigError) as caught:
            loader.load(file, ENVIRON)
        assert "s3cr3t" not in repr(caught.value.faults)
