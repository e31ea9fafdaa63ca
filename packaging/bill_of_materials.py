"""The bill of materials: every package and library in the executable, in CycloneDX 1.6 (ECMA-424).

It is made from the files that PyInstaller put in, not from what was asked for.
"""

from __future__ import annotations

import re
import ssl
import subprocess
import sys
import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from urllib.parse import quote

Component = dict[str, object]


def make(files: Sequence[str], said: str, epoch: int) -> dict[str, object]:
    """Return the document for an executable of these `files` that says `said` of its version."""
    version = said.split()[1]
    components = sorted([*_python(files), *_packages(files), *_libraries(files)], key=lambda one: str(one["bom-ref"]))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, repr(components) + said)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).isoformat(),
            "component": {
                "type": "application",
                "bom-ref": "sidebard",
                "name": "sidebard",
                "version": version,
                "description": said,
                "licenses": [{"license": {"id": "MIT"}}],
            },
        },
        "components": components,
        "dependencies": [{"ref": "sidebard", "dependsOn": [one["bom-ref"] for one in components]}],
    }


def _python(files: Iterable[str]) -> Iterable[Component]:
    version = sys.version.partition(" ")[0]
    yield _component("framework", "CPython", version, f"pkg:generic/python@{version}")
    # What ssl is linked with comes from the machine; cryptography brings its own copy, inside its wheel.
    openssl = ssl.OPENSSL_VERSION.split()[1]
    yield _component("library", "OpenSSL (of Python's ssl)", openssl, f"pkg:generic/openssl@{openssl}#ssl")
    if any("/cryptography/" in file for file in files):
        from cryptography.hazmat.backends.openssl import backend

        own = backend.openssl_version_text().split()[1]
        yield _component("library", "OpenSSL (of cryptography)", own, f"pkg:generic/openssl@{own}#cryptography")


def _packages(files: Iterable[str]) -> Iterable[Component]:
    """Return the installed distributions that own one of the files."""
    inside = {str(Path(file).resolve()) for file in files}
    for distribution in distributions():
        own = (str(Path(str(distribution.locate_file(file))).resolve()) for file in distribution.files or ())
        if any(file in inside for file in own):
            name = str(distribution.metadata["Name"])
            component = _component(
                "library", name, distribution.version, f"pkg:pypi/{_norm(name)}@{distribution.version}"
            )
            yield {**component, **_licence(distribution)}


def _libraries(files: Iterable[str]) -> Iterable[Component]:
    """Return the system's packages whose shared libraries were copied."""
    libraries = [file for file in files if re.search(r"\.so[.\d]*$", file) and "site-packages" not in file]
    libraries.append("/usr/include/zstd.h")  # of the package whose library is in the bootloader
    found = {}
    for library in libraries:
        # dpkg knows a file by the name it was installed under, which may or may not go by the link /lib.
        for path in (library, str(Path(library).resolve()), str(Path(library).resolve()).removeprefix("/usr")):
            said = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True, check=False).stdout
            if said:
                found[said.partition(":")[0]] = None
                break
    for package in found:
        show = ["dpkg-query", "--show", "--showformat=${Version}", package]
        version = subprocess.run(show, capture_output=True, text=True, check=True).stdout.split("\n")[0]
        yield _component("library", package, version, f"pkg:deb/debian/{package}@{quote(version)}")


def _component(kind: str, name: str, version: str, url: str) -> Component:
    return {"type": kind, "bom-ref": url, "name": name, "version": version, "purl": url}


def _licence(distribution: Distribution) -> Component:
    expression = distribution.metadata["License-Expression"]
    return {"licenses": [{"expression": expression}]} if expression else {}


def _norm(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
