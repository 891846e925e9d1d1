"""The reference and research pages agree with the code and the records."""

import dataclasses
import importlib
import json
import re
import tomllib
from typing import Any

import pytest

import charrnn
from charrnn.training.events import LOGGED
from tests.conftest import ROOT, Command
from tests.docs.pages import DOCS


def test_every_event_and_its_fields_are_documented() -> None:
    page = (DOCS / "reference" / "log.md").read_text(encoding="utf-8")
    for event in LOGGED:
        (row,) = re.findall(rf"^\| `{event.kind}` .*$", page, re.M)
        fields = {field.name for field in dataclasses.fields(event)} - {"step"}
        assert set(re.findall(r"`(\w+)`", row.rpartition("|")[0].rpartition("|")[2])) == fields


def test_every_weight_is_documented() -> None:
    page = (DOCS / "reference" / "checkpoints.md").read_text(encoding="utf-8")
    from charrnn.model.config import parameter_shapes
    from charrnn.model.specs import CellName

    for cell in CellName.__args__:  # type: ignore[attr-defined]
        for name in parameter_shapes(charrnn.ModelConfig(cell=cell), 9):
            assert re.sub(r"cells\.\d+", "", name) in page, name


def test_the_table_of_results_is_made_of_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure in it was written by hand; a mean stands below the rows it is of."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    quality: Any = importlib.import_module("quality")
    records = quality.read_records(quality.RECORDS)
    assert quality.table(records) in (DOCS / "research" / "results.md").read_text(encoding="utf-8")

    others = [
        {**records[0], "seed": seed, "carried": carried} for seed, carried in ((7, 1), (8, 2))
    ]
    assert "| 1.5000 (1.0000 to 2.0000) |" in quality.table(others)


def test_every_public_name_has_an_entry_in_the_api_pages() -> None:
    pages = "".join(path.read_text() for path in (DOCS / "reference" / "api").glob("*.md"))
    entries = re.findall(r"^::: charrnn\.(\w+)$", pages, re.M)
    assert sorted(entries) == sorted(charrnn.__all__)


def test_every_dependency_is_explained() -> None:
    page = (DOCS / "explanation" / "dependencies.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in project["dependencies"]:
        (name,) = re.findall(r"^[\w.-]+", requirement)
        assert f"| {name} |" in page


@pytest.mark.parametrize(
    ("words", "section"),
    [
        (("sample", "river", "--seed", "1", "--length", "9", "--report"), "sample"),
        (("eval", "river"), "eval"),
        (("runs",), "runs"),
        (("compare",), "compare"),
        (("info", "river"), "info"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_keys_of_json_are_documented(
    command: Command, trained: charrnn.TrainingResult, words: tuple[str, ...], section: str
) -> None:
    folder = trained.folder.parent
    result = json.loads(command(*words, "--json", "--checkpoint-dir", folder).stdout)
    page = (DOCS / "reference" / "scripting.md").read_text(encoding="utf-8")
    part = page.partition(f"\n### {section}\n")[2].partition("\n### ")[0]
    cells = "".join(re.findall(r"^\| (`.*?) \|", part, re.M))
    keys = set(result[0] if isinstance(result, list) else result)
    only_for_beams = {"score"} if section == "sample" else set()
    assert set(re.findall(r"`(\w+)`", cells)) == keys | only_for_beams
