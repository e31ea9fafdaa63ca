"""Make a release of this commit: its version, its section of the changelog, a tag, and what is to be published.

    clean tree  ->  edit, commit  ->  .ci/run, which builds dist/  ->  look at dist/  ->  tag  ->  say what to push

Whatever fails before the tag takes the commit back, so that the next try begins from the same. Nothing is pushed here.
Usage: release.py VERSION [--dry-run]; --dry-run looks whether everything is ready, and shows the edits.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BRANCH = "main"
UNRELEASED = "## Unreleased\n"
NEEDED = (
    "sidebard",
    "sidebard.cdx.json",
    "sidebard_{0}_amd64.deb",
    "sidebard-{0}-1.x86_64.rpm",
    "sidebard-{0}-linux-x86_64.tar.gz",
)


class NotReady(Exception):
    """Something stands against a release; the text says what, and what to do."""


def main(arguments: list[str], root: Path = ROOT, now: datetime | None = None) -> None:
    """Make the release that the command line asks for, or say in one sentence why not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version")
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args(arguments)
    try:
        release(root, given.version, now or datetime.now(UTC), dry_run=given.dry_run)
    except NotReady as fault:
        sys.exit(f"release.py: {fault}")


def release(root: Path, version: str, now: datetime, *, dry_run: bool) -> None:
    """Make a release. Raises NotReady."""
    check_tree(root, version)
    edits = edit(root, version, now.date().isoformat())
    if dry_run:
        show(root, edits)
        print(f"ready: release.py {version} would commit this, run .ci/run, and tag v{version}")
        return
    before = git(root, "rev-parse", "HEAD")
    notes = section(edits[root / "CHANGELOG.md"], version)
    try:
        for file, text in edits.items():
            file.write_text(text, "utf-8")
        git(root, "commit", "--all", "--quiet", "--allow-empty", f"--message=Release {version}")
        if subprocess.run([root / ".ci" / "run"], cwd=root, check=False).returncode:
            raise NotReady(".ci/run failed; correct what it says, and begin again")
        check_artefacts(root / "dist", version)
        git(root, "tag", "--annotate", "--cleanup=verbatim", f"--message=sidebard {version}\n\n{notes}", f"v{version}")
    except BaseException:
        git(root, "reset", "--keep", "--quiet", before)  # what was edited meanwhile stays
        raise
    print(f"released {version}. Publish it:\n  git push --atomic origin {BRANCH} v{version}")
    print("  and these files, with the tag's text:")
    for file in sorted((root / "dist").iterdir()):
        print(f"  dist/{file.name}")


def check_tree(root: Path, version: str) -> None:
    """Raise NotReady unless this is a clean tree of the branch, and the version is a new one."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise NotReady(f"{version} is not a version; write, for example, 1.2.0")
    if git(root, "rev-parse", "--abbrev-ref", "HEAD") != BRANCH:
        raise NotReady(f"releases are made of {BRANCH}; git switch {BRANCH}")
    if changed := git(root, "status", "--porcelain"):
        raise NotReady(f"the tree is not clean, commit or remove first:\n{changed}")
    tags = [tag.removeprefix("v") for tag in git(root, "tag", "--list", "v*").split()]
    newest = max(tags, key=_order, default="0.0.0")
    if _order(version) <= _order(newest):
        raise NotReady(f"{version} is not newer than {newest}, which was released; choose the next")


def edit(root: Path, version: str, date: str) -> Mapping[Path, str]:
    """Return the files that name the version, as they are to be. Raises NotReady."""
    package, changelog, readme = (root / name for name in ("appliance/__init__.py", "CHANGELOG.md", "README.md"))
    text = package.read_text("utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    before = found[1] if found else ""
    text = once(package, text, f'__version__ = "{before}"', f'__version__ = "{version}"')
    released = re.search(r'^__released__ = ".+"', text, re.MULTILINE)
    text = once(package, text, released[0] if released else "__released__", f'__released__ = "{date}"')
    changes = changelog.read_text("utf-8")
    changes = once(changelog, changes, UNRELEASED, f"## {version} ({date})\n")
    if not section(changes, version):
        raise NotReady("CHANGELOG.md says nothing of what is new; write it below ## Unreleased")
    words = readme.read_text("utf-8")
    if f"sidebard_{before}_" not in words:
        raise NotReady(f"README.md does not name sidebard_{before}_amd64.deb; correct it")
    for name in ("sidebard_{}_", "sidebard-{}-"):
        words = words.replace(name.format(before), name.format(version))
    return {package: text, changelog: changes, readme: words}


def once(file: Path, text: str, old: str, new: str) -> str:
    """Return a text with `old`, which is there once, replaced. Raises NotReady."""
    if text.count(old) != 1:
        raise NotReady(f"{file.name} has {old.strip()!r} {text.count(old)} times in place of once; correct it")
    return text.replace(old, new)


def section(changelog: str, version: str) -> str:
    """Return what the changelog says of a version; "" if it lists nothing."""
    text = changelog.partition(f"## {version} (")[2].partition("\n")[2].partition("\n## ")[0].strip()
    return text if re.search(r"^- ", text, re.MULTILINE) else ""


def check_artefacts(dist: Path, version: str) -> None:
    """Raise NotReady unless all that is to be published is there, and has the hashes of SHA256SUMS."""
    for name in NEEDED:
        if not list(dist.glob(name.format(version))):
            raise NotReady(f"dist/ has no {name.format(version)}; .ci/run builds it")
    rows = [line.split("  ") for line in (dist / "SHA256SUMS").read_text().splitlines()]
    if {name for _, name in rows} != {file.name for file in dist.iterdir()} - {"SHA256SUMS"}:
        raise NotReady("dist/SHA256SUMS lists other files than there are; make deb writes it")
    for digest, name in rows:
        if hashlib.sha256((dist / name).read_bytes()).hexdigest() != digest:
            raise NotReady(f"dist/{name} has another hash than in SHA256SUMS; build it again")


def show(root: Path, edits: Mapping[Path, str]) -> None:
    """Print what would be edited."""
    for file, text in edits.items():
        before = file.read_text("utf-8").splitlines(keepends=True)
        name = str(file.relative_to(root))
        sys.stdout.writelines(difflib.unified_diff(before, text.splitlines(keepends=True), name, name, n=0))


def git(root: Path, *words: str) -> str:
    """Return what git says. Raises NotReady if it fails."""
    ended = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise NotReady(f"git {words[0]} failed: {ended.stderr.strip()}")
    return ended.stdout.strip()


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


if __name__ == "__main__":
    main(sys.argv[1:])
