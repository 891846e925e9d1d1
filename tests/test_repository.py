"""The files that describe the project agree with it: its name, its version, its workflows."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import charrnn
from charrnn.errors import DISTRIBUTION
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = ROOT / ".github" / "workflows"
FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"
SCHEMAS = [
    ("github-workflows", [WORKFLOWS / "ci.yml", WORKFLOWS / "release.yml"]),
    ("github-issue-forms", [FORMS / "bug.yml", FORMS / "feature.yml"]),
    ("github-issue-config", [FORMS / "config.yml"]),
    ("citation-file-format", [ROOT / "CITATION.cff"]),
]
SEARCHED = ("charrnn", "tests", "docs", "benchmarks", "notebooks", "plugins", ".github")
SUFFIXES = {".cff", ".ipynb", ".md", ".py", ".pyi", ".toml", ".txt", ".yaml", ".yml"}
# `charrnn` where the distribution is meant: behind what installs it, or before an extra.
WRONG_NAME = re.compile(
    r"(?:pipx? install|pipx run|uv add|uv pip install|uv tool install|uvx|poetry add)"
    r"\s+(?:-\S+\s+)*[\"']?charrnn(?!-lm\b|/)\b"
    r"|\bcharrnn\[[a-z]"
)


def name(requirement: str) -> str:
    """The package a requirement is for, as indexes spell it: PyYAML>=6 is pyyaml."""
    return re.sub(r"[-_.]+", "-", re.findall(r"[\w.-]+", requirement)[0]).lower()


def texts() -> Iterator[tuple[Path, str]]:
    """The files people read and the code, each with its text."""
    found = [*ROOT.iterdir(), *(path for folder in SEARCHED for path in (ROOT / folder).rglob("*"))]
    for path in found:
        if path.is_file() and (path.suffix in SUFFIXES or path.name == "Makefile"):
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8", errors="replace")


def test_the_distribution_has_one_name_everywhere() -> None:
    """`charrnn` on the package index is somebody else's."""
    assert PROJECT["name"] == DISTRIBUTION
    wrong = {path: found for path, text in texts() if (found := WRONG_NAME.findall(text))}
    assert wrong == {}
    for path, text in texts():
        if path.parts[0] == "charrnn" and path != Path("charrnn", "errors.py"):
            assert DISTRIBUTION not in text, f"{path}: use charrnn.errors.DISTRIBUTION"


@pytest.mark.parametrize(
    "text", ["pip install {}", "pip install -U '{}[plot]'", "it needs {}[fast]", "uvx {} train"]
)
def test_another_spelling_of_the_name_is_found(text: str) -> None:
    assert WRONG_NAME.search(text.format("charrnn"))
    assert not WRONG_NAME.search(text.format(DISTRIBUTION))


def test_every_extra_that_is_recommended_exists() -> None:
    named = {
        extra for _, text in texts() for extra in re.findall(rf"{DISTRIBUTION}\[([a-z,]+)\]", text)
    }
    assert {one for extra in named for one in extra.split(",")} <= {
        *PROJECT["optional-dependencies"]
    }


def test_every_direct_dependency_has_a_tested_version() -> None:
    pins = {
        name(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    }
    direct = {name(each) for each in PROJECT["dependencies"]}
    extras = {name(each) for extra in PROJECT["optional-dependencies"].values() for each in extra}
    assert (direct | extras) - {DISTRIBUTION} <= pins


def test_the_citation_names_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {charrnn.__version__}\n" in citation
    assert f"- name: {PROJECT['authors'][0]['name']}\n" in citation


@pytest.mark.parametrize(("schema", "files"), SCHEMAS)
def test_what_the_hosting_site_reads_is_valid(schema: str, files: list[Path]) -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [checker, "--builtin-schema", f"vendor.{schema}", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_workflow_tests_the_versions_declared() -> None:
    """Every supported Python, and the lowest torch."""
    workflow = (WORKFLOWS / "ci.yml").read_text(encoding="utf-8")
    tested = json.loads(re.findall(r"^ {8}python: (\[.*\])$", workflow, re.M)[0])
    classifiers = " ".join(PROJECT["classifiers"])
    assert tested == re.findall(r"Python :: (3\.\d+)", classifiers)
    assert PROJECT["requires-python"] == f">={tested[0]}"
    (lowest,) = (each for each in PROJECT["dependencies"] if each.startswith("torch"))
    assert f"TORCH='{lowest.replace('>=', '==')}'" in workflow
