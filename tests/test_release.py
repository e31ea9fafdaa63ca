"""packaging/release.py, in a repository of its own with a small .ci/run."""

import importlib
import re
import shutil
import subprocess
from datetime import UTC, datetime

import pytest

from tests.daemon import ROOT

NOW = datetime(2026, 12, 1, tzinfo=UTC)
BUILD = """#!/bin/sh -e
test ! -e fail
mkdir -p dist && cd dist
version=$(sed -n 's/^__version__ = "\\(.*\\)"/\\1/p' ../appliance/__init__.py)
for file in sidebard sidebard.cdx.json "sidebard_${version}_amd64.deb" "sidebard-$version-1.x86_64.rpm" \\
  "sidebard-$version-linux-x86_64.tar.gz"; do echo "$file" > "$file"; done
sha256sum sidebard* > SHA256SUMS
"""


@pytest.fixture
def release(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "packaging")
    return importlib.import_module("release")


@pytest.fixture
def clone(tmp_path, monkeypatch):
    for name, value in {"NAME": "A", "EMAIL": "a@example.com"}.items():
        monkeypatch.setenv(f"GIT_AUTHOR_{name}", value)
        monkeypatch.setenv(f"GIT_COMMITTER_{name}", value)
    for name in ("appliance/__init__.py", "CHANGELOG.md", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    # What it finds must not depend on whether this is just after a release.
    text = (tmp_path / "CHANGELOG.md").read_text()
    (tmp_path / "CHANGELOG.md").write_text(re.sub(r"^## .*", "## Unreleased", text, count=1, flags=re.MULTILINE))
    (tmp_path / ".gitignore").write_text("dist/\n")
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/run").write_text(BUILD)
    (tmp_path / ".ci/run").chmod(0o755)
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    commit(tmp_path)
    return tmp_path


def git(folder, *words):
    return subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True).stdout


def commit(folder):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=Work")


def test_a_dry_run_shows_the_edits_and_makes_none(release, clone, capsys):
    before = git(clone, "rev-parse", "HEAD")
    release.main(["98.7.6", "--dry-run"], clone, NOW)
    said = capsys.readouterr().out
    for line in (
        '+__version__ = "98.7.6"',
        '+__released__ = "2026-12-01"',
        "-## Unreleased",
        "+## 98.7.6 (2026-12-01)",
        "+apt-get install ./sidebard_98.7.6_amd64.deb",
    ):
        assert f"{line}\n" in said or f"{line}  #" in said, line
    assert said.splitlines()[-1].startswith("ready: ")
    assert (git(clone, "rev-parse", "HEAD"), git(clone, "status", "--porcelain"), git(clone, "tag")) == (before, "", "")


def test_a_release_is_a_commit_a_tag_and_files(release, clone, capsys):
    release.main(["98.7.6"], clone, NOW)
    said = capsys.readouterr().out
    assert "git push --atomic origin main v98.7.6" in said
    assert "  dist/sidebard_98.7.6_amd64.deb\n" in said
    assert git(clone, "tag").split() == ["v98.7.6"]
    assert git(clone, "log", "-1", "--format=%s", "v98.7.6") == "Release 98.7.6\n"
    assert "- `sidebard serve` answers" in git(clone, "tag", "--list", "--format=%(contents)")
    assert git(clone, "status", "--porcelain") == ""
    with pytest.raises(SystemExit, match=r"98\.7\.5 is not newer than 98\.7\.6"):
        release.main(["98.7.5"], clone, NOW)


def change_file(clone):
    (clone / "README.md").write_text("changed")


def other_branch(clone):
    git(clone, "switch", "--quiet", "--create", "work")


def say_nothing(clone):
    (clone / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n### Added\n")
    commit(clone)


def no_section(clone):
    (clone / "CHANGELOG.md").write_text("# Changelog\n\n## 0.1.0 (2026-01-05)\n\n- All.\n")
    commit(clone)


def fail(clone):
    (clone / "fail").touch()
    commit(clone)


def lose_a_file(clone):
    text = (clone / ".ci/run").read_text()
    (clone / ".ci/run").write_text(text + "rm sidebard.cdx.json\n")
    commit(clone)


def damage_a_file(clone):
    text = (clone / ".ci/run").read_text()
    (clone / ".ci/run").write_text(text + "echo more >> sidebard\n")
    commit(clone)


NOT_READY = {
    "no version": (lambda clone: None, "next", "is not a version"),
    "not clean": (change_file, "98.7.6", r"the tree is not clean(?s:.*)README\.md"),
    "another branch": (other_branch, "98.7.6", "git switch main"),
    "nothing new": (say_nothing, "98.7.6", "says nothing of what is new"),
    "no section": (no_section, "98.7.6", "'## Unreleased' 0 times"),
    "CI fails": (fail, "98.7.6", r"\.ci/run failed"),
    "a file is missing": (lose_a_file, "98.7.6", r"has no sidebard\.cdx\.json"),
    "a file is damaged": (damage_a_file, "98.7.6", "another hash"),
}


@pytest.mark.parametrize(("prepare", "version", "sentence"), NOT_READY.values(), ids=NOT_READY)
def test_what_is_not_ready_leaves_all_as_it_was(prepare, version, sentence, release, clone):
    prepare(clone)
    before = git(clone, "rev-parse", "HEAD"), git(clone, "status", "--porcelain")
    with pytest.raises(SystemExit, match=f"release.py: (?s:.*){sentence}"):
        release.main([version], clone, NOW)
    assert (git(clone, "rev-parse", "HEAD"), git(clone, "status", "--porcelain")) == before
    assert git(clone, "tag") == ""
