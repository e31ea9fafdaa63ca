"""The rules of the house: who may import whom, and how long a module may be."""

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import appliance

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
    "acme": ("errors", "http_client", "system"),
    "customers": ("errors",),
    "cards": ("config", "customers", "errors"),
    "sidebar": ("cards", "config", "customers", "outcomes"),
    "inbox_api": ("customers", "errors", "http_client", "sidebar", "system"),
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


def test_imports_go_one_way():
    assert [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in MODULES
        for name in imports(file)
        if name.startswith("appliance.") and not allowed(room(file), name.split(".")[1])
    ] == []


def test_the_core_is_pure():
    assert [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in MODULES
        if room(file) in PURE
        for name in imports(file)
        if name.split(".")[0] in IMPURE and not name.startswith(PURE_PARTS)
    ] == []


def test_a_proposal_is_made_of_values_alone():
    """What `init` proposes depends on nothing but the columns that it is handed."""
    values = ("appliance.customers.address_cell", "appliance.customers.column_name", "appliance.ingest.table")
    others = (
        "json.",
        "keyword.",
        "re.",
        "collections.abc.",
        "dataclasses.",
        "typing.",
        "__future__.",
        "json",
        "keyword",
    )
    allowed = (*values, *others, "re", "pathlib.PurePath", "appliance.ingest.sources.base.SourceError")
    names = imports(ROOT / "appliance/bootstrap/proposal.py")
    assert [name for name in names if not name.startswith(allowed)] == []


def test_one_idea_a_module():
    lengths = {file: len(file.read_text("utf-8").splitlines()) for file in MODULES}
    assert [f"{file.relative_to(ROOT)}: {length}" for file, length in lengths.items() if length > 400] == []


def test_the_map_names_every_room():
    """The package's docstring is the map; a room that is not on it would not be found."""
    text = ast.get_docstring(ast.parse((ROOT / "appliance/__init__.py").read_text("utf-8")))
    assert text is not None
    rooms = {room(file) for file in MODULES} - {"__init__", "__main__"}
    assert [name for name in rooms if name not in re.findall(r"^ +(\w+)", text, re.M)] == []


def test_no_pattern_has_what_python_gets_wrong():
    """In Python 3.11.2 possessive quantifiers and atomic groups match what they should not (python/cpython#106052)."""
    names = [module.name for module in pkgutil.walk_packages(appliance.__path__, "appliance.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    patterns = {value for module in modules for value in vars(module).values() if isinstance(value, re.Pattern)}
    assert len(patterns) > 100
    wrong = re.compile("POSSESSIVE_REPEAT|ATOMIC_GROUP")
    parsed = {pattern: repr(re._parser.parse(pattern.pattern, pattern.flags)) for pattern in patterns}  # type: ignore[attr-defined]
    assert [pattern.pattern for pattern, text in parsed.items() if wrong.search(text)] == []
