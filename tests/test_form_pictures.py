"""The drawings of Help Scout's forms: they are as they are drawn now, and have the fields of the tables beside them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/helpscout.md").read_text("utf-8")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("form_pictures", ROOT / "packaging/form_pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DRAWN = load()


@pytest.mark.parametrize("name", DRAWN.FORMS)
def test_a_drawing(name: str) -> None:
    form = DRAWN.FORMS[name]
    file = ROOT / "docs/pictures" / f"{name}.svg"
    assert file.read_text("utf-8") == DRAWN.draw(form), "draw it anew with make reference"
    assert file.stat().st_size < 4096
    ElementTree.fromstring(file.read_text("utf-8"))
    table = TEXT.partition(f"(pictures/{name}.svg)")[2].partition("\n\n")[2].partition("\n\n")[0]
    assert re.findall(r"(?m)^\| ([^|]+?) \|", table)[1:] == [label for label, _ in form.fields]
