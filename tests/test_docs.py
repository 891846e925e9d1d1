"""What the documents show works."""

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.training.events import LOGGED
from tests.conftest import ROOT, TEXT


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)


def test_the_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("novel.txt").write_text(TEXT * 2, encoding="utf-8")
    names: dict[str, object] = {}
    examples = blocks(ROOT / "docs" / "python.md", "python")
    assert len(examples) == 8
    for example in examples:
        exec(compile(example, "docs/python.md", "exec"), names)  # noqa: S102 - our own text
    for example in blocks(ROOT / "docs" / "log.md", "python"):
        exec(compile(example, "docs/log.md", "exec"), names)  # noqa: S102
    assert len(names["steps"]) == 250  # type: ignore[arg-type]


def test_every_event_and_its_fields_are_documented() -> None:
    page = (ROOT / "docs" / "log.md").read_text(encoding="utf-8")
    for event in LOGGED:
        (row,) = re.findall(rf"^\| `{event.kind}` .*$", page, re.M)
        fields = {field.name for field in dataclasses.fields(event)} - {"step"}
        assert set(re.findall(r"`(\w+)`", row.rpartition("|")[0].rpartition("|")[2])) == fields


def test_every_weight_is_documented() -> None:
    page = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    from charrnn.model.config import parameter_shapes
    from charrnn.model.specs import CellName

    for cell in CellName.__args__:  # type: ignore[attr-defined]
        for name in parameter_shapes(charrnn.ModelConfig(cell=cell), 9):
            assert re.sub(r"cells\.\d+", "", name) in page, name


def test_the_table_of_results_is_made_of_the_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure in it was written by hand; a mean stands below the rows it is of."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    quality: Any = importlib.import_module("quality")
    records = quality.read_records()
    assert quality.table(records) in (ROOT / "docs" / "results.md").read_text(encoding="utf-8")

    others = [
        {**records[0], "seed": seed, "carried": carried} for seed, carried in ((7, 1), (8, 2))
    ]
    assert "| 1.5000 (1.0000 to 2.0000) |" in quality.table(others)
