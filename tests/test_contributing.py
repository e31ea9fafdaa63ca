"""What a contributor is told to run is what the tools and the CI run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
RECIPES = dict(re.findall(r"(?ms)^### (Add .*?)\n(.*?)(?=^##|\Z)", (ROOT / "CONTRIBUTING.md").read_text("utf-8")))


def test_pre_commit_runs_what_make_lint_runs() -> None:
    recipe = (ROOT / "Makefile").read_text("utf-8").partition("\nlint:")[2].partition("\n\n")[0]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    run = [hook["entry"].removeprefix(".venv/bin/").replace(" --force-exclude", "") for hook in hooks]
    assert run == [command.removesuffix(" .") for command in re.findall(r"\t\$\(BIN\)/(.*)", recipe)]


def test_the_workflow_runs_the_one_script_that_decides() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    steps = workflow["jobs"]["ci"]["steps"]
    assert steps[-1] == {"run": ".ci/run"}


def test_there_are_three_recipes() -> None:
    assert list(RECIPES) == ["Add a customer source", "Add a help desk protocol", "Add a check"]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_what_a_recipe_names_is_there(recipe: str) -> None:
    """NAME stands for the files of those that there are."""
    steps = re.findall(r"(?ms)^\d\. (.*?)(?=^\d\. |\Z)", recipe)
    assert len(steps) == 5
    for step in steps:
        paths = re.findall(r"`([\w./]+\.(?:py|md|toml))`", step)
        assert paths, step
        assert [path for path in paths if not any(ROOT.glob(path.replace("NAME", "*")))] == []


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_what_a_recipe_names_in_code_is_in_the_files_that_it_names(recipe: str) -> None:
    paths = re.findall(r"`(appliance/[\w./]+\.py)`", recipe)
    code = "\n".join(file.read_text("utf-8") for path in paths for file in ROOT.glob(path.replace("NAME", "*")))
    names = re.findall(r"`@?([A-Za-z_]+)(?:=\w+|\(\"name\"\))?`", recipe)
    assert [name for name in names if not re.search(rf"\b{name}\b", code)] == []
