"""What goes into the packages and how they are made, as far as it can be read here; tests/package tries them."""

import configparser
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.config.loader import load
from tests.daemon import ROOT
from tests.package.base import NoMachine, archive, remove


@pytest.fixture
def tool(monkeypatch):
    """Return a function that imports a module of packaging/, which lie beside each other."""
    monkeypatch.syspath_prepend(ROOT / "packaging")
    return importlib.import_module


@pytest.fixture(scope="module")
def fresh_machine():
    specification = importlib.util.spec_from_file_location("fresh_machine", ROOT / ".ci/fresh_machine.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_packaged_config_is_a_good_one():
    """Its defaults are the paths that the unit and README name."""
    settings = load(ROOT / "packaging/etc/sidebard.toml", {})
    assert str(settings.server.state) == "/var/lib/sidebard"
    assert str(settings.customers.source.path) == "/var/lib/sidebard-data/customers.csv"


def test_what_is_pinned_is_what_is_asked_for():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    pins = dict(re.findall(r"^([\w.-]+)==([\d.]+)", (ROOT / "packaging/requirements.txt").read_text(), re.MULTILINE))
    for name, least in re.findall(r"^([\w-]+)>=([\d.]+)", config["options"]["install_requires"], re.MULTILINE):
        assert _numbers(pins[name]) >= _numbers(least), f"make requirements: {name}"


def _numbers(version):
    return [int(part) for part in version.split(".")]


# The documents in the packages.


def test_links_in_the_packed_documents_lead_to_what_is_packed_with_them(tool, tmp_path):
    tool("documents").write(tmp_path / "docs")
    shutil.copy(ROOT / "conf/sidebard.toml", tmp_path)
    for folder in ("cards", "monitoring"):
        shutil.copytree(ROOT / "conf" / folder, tmp_path / folder)
    documents = sorted((tmp_path / "docs").glob("*.md"))
    assert {file.name for file in documents} == {file.name for file in (ROOT / "docs").glob("*.md")}
    dead = [
        (file.name, link)
        for file in documents
        for link in re.findall(r'(?:\]\(|(?:src|srcset)=")(?!https?:|#)([^)"#]+)', file.read_text())
        if not (file.parent / link).exists()
    ]
    assert dead == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[alerts.yml](../conf/monitoring/alerts.yml)", "[alerts.yml](../monitoring/alerts.yml)"),
        ("[shapes](../appliance/replay/shapes.py) that", "shapes that"),
        ("[README.md](../README.md#try-it)", "README.md"),
        ("[a](log.md) [b](../x.md) [c](#d)", "[a](log.md) b [c](#d)"),
        ("[Mozilla](https://example.org/../x)", "[Mozilla](https://example.org/../x)"),
    ],
    ids=["a file of conf/", "a source", "another document", "three on a line", "elsewhere"],
)
def test_links_of_a_packed_document(tool, text, wanted):
    assert tool("documents").packed(text) == wanted


def test_install_names_only_what_the_archive_holds():
    build = (ROOT / "packaging/build.py").read_text()
    held = {"sidebard", *re.findall(r'^    "([\w.-]+)": "', build, re.MULTILINE)}
    text = (ROOT / "packaging/INSTALL").read_text()
    installed = re.findall(r"^install -D --mode=\d+ (\S+) ", text, re.MULTILINE)
    listed = re.findall(r"^(\S.*?)  +\S", text.partition("What else is here")[2], re.MULTILINE)
    assert len(installed) == 8
    assert {*installed, *(name for names in listed for name in names.split(", "))} | {"INSTALL"} == held


def test_modes_and_times_do_not_come_from_the_build(tool, tmp_path):
    """Under umask 077 everything that is built or checked out is its owner's alone, and packages keep that."""
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True, mode=0o700)
    for file in (folder / "program", folder / "below/module"):
        file.touch(mode=0o700)
    tool("build").normalise(folder, 1_000_000_000)
    found = {path.name: path.stat() for path in (folder, *folder.rglob("*"))}
    assert {name: oct(one.st_mode & 0o777) for name, one in found.items()} == {
        "folder": "0o755",
        "below": "0o755",
        "program": "0o644",
        "module": "0o644",
    }
    assert {one.st_mtime for one in found.values()} == {1_000_000_000}


# What the build asks of the machine.


@pytest.mark.parametrize(
    ("arguments", "prefix", "optimised"),
    [
        ("'--enable-shared'", "/usr", True),
        ("'--enable-optimizations' '--with-lto'", "/opt/python", True),
        ("'--enable-optimizations'", "/opt/python", False),
        ("'--with-lto'", "/opt/python", False),
        ("'--prefix=/usr/local'", "/usr/local", False),
        ("None", "/opt/python", False),
    ],
    ids=["Debian's", "with both", "without LTO", "without PGO", "from source", "nothing known"],
)
def test_the_executable_gets_an_optimised_python(tool, arguments, prefix, optimised):
    assert tool("install_tools").is_optimised(arguments, prefix) is optimised


@pytest.mark.parametrize("name", ["install_tools", "build"])
def test_a_python_that_is_not_optimised_is_refused_in_one_sentence(tool, monkeypatch, name):
    """By both: an environment made before may be of another Python."""
    monkeypatch.setattr(sys, "base_prefix", "/opt/python")
    monkeypatch.setattr(sys, "argv", [f"packaging/{name}.py", "folder"])
    monkeypatch.setattr("sysconfig.get_config_var", lambda _: None)
    main = tool(name).main
    with pytest.raises(SystemExit, match=rf"^{name}\.py: \S+ was compiled without --enable-opt.*BUILD_PYTHON=\S+$"):
        main(Path("folder")) if name == "install_tools" else main()


def test_all_that_the_build_lacks_is_said_at_once_and_before_any_work(tool, monkeypatch, tmp_path):
    install_tools = tool("install_tools")
    monkeypatch.setattr(install_tools, "require_optimised_python", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(Path, "is_file", lambda _: False)
    with pytest.raises(SystemExit) as ended:
        install_tools.main(tmp_path / "made")
    version = "{}.{}".format(*sys.version_info)
    said = f"gcc libc6-dev patch binutils zlib1g-dev libzstd-dev libpython{version} python3-venv"
    assert str(ended.value).endswith(f"apt-get install git {said}")
    assert not (tmp_path / "made").exists()


def test_the_build_takes_debians_python_whatever_is_first_in_path(tmp_path):
    (tmp_path / "python3").symlink_to("/bin/false")
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "MAKEFLAGS": ""}
    command = ["make", "--no-print-directory", "--dry-run", "--always-make", ".venv-build/.installed"]
    said = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True).stdout
    assert said.startswith("/usr/bin/python3 packaging/install_tools.py")


# The machines that tests make.

OWN = "Debian|Debian|main|Packages|http://archive.example/debian/"


@pytest.mark.parametrize(
    "targets",
    [
        OWN,
        f"Debian|Debian-Security|main|Packages|http://archive.example/security/\n{OWN}",
        f"Google|Cloud|main|Packages|https://elsewhere.example/apt/\n{OWN}",
        f"Debian|Debian|contrib|Packages|http://contrib.example/\n{OWN}",
        f"Debian|Debian|main|Sources|http://sources.example/\n{OWN}",
    ],
    ids=["alone", "after security", "after somebody's", "after contrib", "after sources"],
)
def test_the_archive_is_that_of_apt(targets):
    assert archive(targets) == "http://archive.example/debian"


def test_the_archive_may_be_the_first_of_a_list(tmp_path):
    mirrors = tmp_path / "debian.list"
    mirrors.write_text("# ours\n\nhttps://archive.example/debian/\tpriority:1\nhttps://second.example/debian\n")
    assert archive(f"Debian|Debian|main|Packages|mirror+file:{mirrors}/") == "https://archive.example/debian"


@pytest.mark.parametrize("targets", ["", "||main|Packages|http://archive.example/debian/"], ids=["none", "unread"])
def test_without_an_archive_it_is_said_what_to_do(targets):
    with pytest.raises(NoMachine, match="apt-get update"):
        archive(targets)


def test_nothing_mounted_is_removed(monkeypatch):
    monkeypatch.setattr(shutil, "rmtree", pytest.fail)
    with pytest.raises(NoMachine, match=r"^/dev is not removed, .*: umount /dev"):
        remove(Path("/dev"))


def test_readme_asks_for_no_more_than_this(fresh_machine):
    packages = fresh_machine.readme_words().packages
    assert packages == "apt-get install python3-venv git make curl ca-certificates"
    assert fresh_machine.readme_words()[1:] == ("make run", "make test", "make deb")


def test_settings_of_pip_are_handed_on_with_what_they_name(fresh_machine, tmp_path):
    """Files are copied, folders bound; of an index in a folder its parent, for its pages link to files beside it."""
    for folder in ("etc/xdg/pip", "home/.config/pip", "index/simple", "wheels"):
        (tmp_path / folder).mkdir(parents=True)
    constraints, bundle = tmp_path / "constraints.txt", tmp_path / "bundle.pem"
    constraints.touch()
    bundle.touch()
    (tmp_path / "etc/xdg/pip/pip.conf").write_text("[global]\ncert = /nowhere.pem\ntimeout = 5\n")
    (tmp_path / "etc/pip.conf").write_text(f"[install]\nretries = 9\n[global]\ncert = {bundle}\nretries = 1\n")
    index = f"file://{tmp_path}/index/simple\n  file:///nowhere/simple https://index.example/%40/simple"
    (tmp_path / "home/.config/pip/pip.conf").write_text(f"[global]\nextra-index-url =\n  {index}\n")
    (tmp_path / "own.conf").write_text(f"[global]\nconstraint = {constraints}\ntimeout = 6\n")
    environ = {
        "PIP_CONFIG_FILE": str(tmp_path / "own.conf"),
        "PIP_FIND_LINKS": f"{tmp_path}/wheels /nowhere/wheels",
        "PIP_TIMEOUT": "180",
        "https_proxy": "http://proxy.example:3128",
        "HOME": str(tmp_path / "home"),
        "CI": "true",
        "SECRET": "unasked",
    }
    settings = fresh_machine.pip_settings(environ, tmp_path)
    assert settings.environ.pop("PIP_EXTRA_INDEX_URL").split() == index.split()
    assert settings.environ == {
        "PIP_CERT": str(bundle),
        "PIP_RETRIES": "9",
        "PIP_CONSTRAINT": str(constraints),
        "PIP_FIND_LINKS": f"{tmp_path}/wheels /nowhere/wheels",
        "PIP_TIMEOUT": "180",
        "https_proxy": "http://proxy.example:3128",
        "CI": "true",
    }
    assert set(settings.files) == {constraints, bundle}
    assert set(settings.folders) == {tmp_path / "wheels", tmp_path / "index"}


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("dist/sidebard", "dist/sidebard of two builds"),
        ("build/out/folder/lib.so", "the folder of the packages of two builds"),
    ],
)
def test_only_a_build_that_can_be_repeated_is_published(file, said, fresh_machine, monkeypatch, tmp_path):
    monkeypatch.setattr(fresh_machine, "ROOT", tmp_path)
    builds = tmp_path / "one/dist", tmp_path / "other/dist"
    for build in builds:
        build.mkdir(parents=True)
        for name in ("sidebard", "sidebard.cdx.json"):
            (build / name).write_text("the same")
        (build / "../build/out/folder").mkdir(parents=True)
        (build / "../build/out/folder/lib.so").write_text("the same")
    (tmp_path / "one/dist/sidebard.deb").touch()
    fresh_machine.publish(*builds)
    (tmp_path / "other" / file).write_text("another")
    with pytest.raises(fresh_machine.Failure, match=said):
        fresh_machine.publish(*builds)
    assert {file.name for file in (tmp_path / "dist").iterdir()} == {"sidebard", "sidebard.cdx.json", "sidebard.deb"}
