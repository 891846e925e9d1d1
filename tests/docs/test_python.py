"""The Python examples of README and docs run."""

from pathlib import Path

import pytest

from tests.conftest import TEXT
from tests.docs import pages


@pytest.fixture
def novel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own, with the text that the examples read."""
    monkeypatch.chdir(tmp_path)
    Path("novel.txt").write_text(pages.SOURCE + TEXT, encoding="utf-8")


def run(page: Path, names: dict[str, object], examples: list[str]) -> None:
    for example in examples:
        exec(compile(example, page, "exec"), names)  # noqa: S102 - our own text


def test_the_example_of_the_readme_runs(novel: None) -> None:
    """As it is, but for the minutes."""
    (example,) = pages.blocks(pages.README, "python")
    quick = example.replace("minutes=5", "steps=3")
    assert quick != example
    run(pages.README, {}, [quick])


def test_the_examples_of_the_python_guide_run(novel: None) -> None:
    """From top to bottom, followed by that of the log, which reads the run they trained."""
    names: dict[str, object] = {}
    for page in (pages.DOCS / "how-to" / "python.md", pages.DOCS / "reference" / "log.md"):
        examples = pages.blocks(page, "python")
        assert examples
        run(page, names, examples)
    assert len(names["steps"]) == 250  # type: ignore[arg-type]
