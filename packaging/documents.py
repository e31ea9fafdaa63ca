"""docs/ as the packages and the archive hold it: beside what lies in conf/ here, and with links that lead somewhere."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


def write(folder: Path) -> None:
    """Write every document and picture into `folder`; what is there is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(DOCS, folder)
    for file in folder.rglob("*.md"):
        file.write_text(packed(file.read_text()))


def packed(text: str) -> str:
    """Return a document without links to the sources, and with those to conf/ leading to where its files are packed."""
    text = text.replace("](../conf/", "](../")
    return re.sub(r"\[([^]]*)\]\(\.\./(?!sidebard\.toml|cards|monitoring)[^)]*\)", r"\1", text)
