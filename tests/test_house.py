"""The rules of the house: who may import whom, and how long a module may be."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "appliance").rglob("*.py"))
# A room -> the rooms that it may import. What stands higher is never imported by what stands lower.
ROOMS = {
    "errors": (),
    "http_client": ("errors",),
    "outcomes": (),
    "observe": ("errors", "outcomes"),
    "system": ("errors", "observe"),
    "config": ("errors", "system"),
    "customers": ("errors",),
    "cards": ("config", "customers", "errors"),
    "sidebar": ("cards", "config", "customers", "outcomes"),
    "ingest": ("customers", "errors", "sidebar", "system"),
    "replay": ("customers", "errors", "http_client", "observe", "outcomes", "sidebar"),
    "edge": ("config", "errors", "observe", "outcomes", "sidebar", "system"),
}
ROOMS["bootstrap"] = tuple(room for room in ROOMS if room != "replay")
ROOMS["checks"] = (*ROOMS["bootstrap"], "bootstrap")
ROOMS["service"] = ROOMS["checks"]  # but not the checks: a start is handed them
ROOMS["preview"] = (*ROOMS["service"], "service")
ROOMS["cli"] = (*ROOMS["preview"], "checks", "preview", "replay")
PURE = ("cards", "customers", "outcomes", "sidebar")
# What the pure rooms may not touch: event loops, sockets, loggers, clocks.
IMPURE = ("asyncio", "logging", "socket", "ssl", "structlog", "time", "tornado", "uvloop")
PURE_PARTS = ("tornado.escape", "tornado.template")


def imports(file):
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            yield from ((f"{node.module}.{name.name}") for name in node.names)


def room(file):
    first = file.relative_to(ROOT / "appliance").parts[0]
    return first.removesuffix(".py")


def allowed(here, there):
    return here in ("__init__", "__main__") or there in (here, "__released__", "__version__") or there in ROOMS[here]


def test_no_import_runs_upward():
    """The table itself is in order: each room stands above those that it imports."""
    below = set()
    for room, imported in ROOMS.items():
        assert set(imported) <= below
        below.add(room)


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_one_way(file):
    here = room(file)
    ours = {name.split(".")[1] for name in imports(file) if name.startswith("appliance.")}
    assert [there for there in ours if not allowed(here, there)] == []


@pytest.mark.parametrize("file", [file for file in MODULES if room(file) in PURE], ids=lambda file: file.name)
def test_the_core_is_pure(file):
    impure = [name for name in imports(file) if name.split(".")[0] in IMPURE and not name.startswith(PURE_PARTS)]
    assert impure == []


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(ROOT)))
def test_one_idea_a_module(file):
    assert len(file.read_text("utf-8").splitlines()) <= 400


def test_the_map_names_every_room():
    """The package's docstring is the map; a room that is not on it would not be found."""
    text = ast.get_docstring(ast.parse((ROOT / "appliance/__init__.py").read_text("utf-8")))
    rooms = {room(file) for file in MODULES} - {"__init__", "__main__"}
    assert [name for name in rooms if name not in re.findall(r"^ +(\w+)", text, re.M)] == []
