"""The commands that README and docs show run, and print what the pages say."""

import itertools
import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT, Command
from tests.docs import pages
from tests.in_process import run_here

PAGES = [pages.README, *sorted(pages.DOCS.glob("*.md"))]
PAGES += [
    page for room in ("tutorials", "how-to") for page in sorted((pages.DOCS / room).glob("*"))
]
# Lines that are the same for all texts and models, but for their numbers.
ALIKE = (
    "split ", "vocabulary ", "model ", "chunks ", "resumed ", "finished ", "size ", "entropy ",
    "text context ", "validation ",
)  # fmt: skip
# Lines that runs of a few steps do not have.
OF_LONG_RUNS = {"time", "verdict"}
# What a how-to guide takes for granted: a run on a novel, and one on names.
NAMES = ("novel", "names")


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `novel` and `names`, in a folder with the texts they learned."""
    folder = tmp_path_factory.mktemp("two-runs")
    for name in NAMES:
        text = folder / f"{name}.txt"
        text.write_text(pages.SOURCE, encoding="utf-8")
        words = ["train", text.name, *(["--lines"] if name == "names" else []), *pages.SMALL]
        done = run_here(*words, cwd=folder, environment={})
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run(
    page: Path, command: Command, tmp_path: Path, two_runs: Path
) -> None:
    """From top to bottom, on texts of the same names, with smaller sizes and fewer steps."""
    pages.write_sources(tmp_path, page)
    examples = pages.examples(page)
    if page.parent.name == "how-to":
        shutil.copytree(two_runs, tmp_path, dirs_exist_ok=True)
    for example, words in pages.quickened(examples):
        stdin = (tmp_path / example.stdin).read_bytes() if example.stdin else ""
        done = command(*words, stdin=stdin)
        assert done.returncode == 0, (words, done.stderr)
        shown = done.stdout + done.stderr
        for label in pages.labels(example.output) - OF_LONG_RUNS:
            assert re.search(rf"^{re.escape(label)}", shown, re.M), (words, label)
        found = {pages.masked(line) for line in shown.splitlines()}
        for line in map(pages.masked, example.output):
            assert line in found or not line.startswith(ALIKE), (words, line)


def test_lines_shown_without_a_command_begin_as_a_run_s_do() -> None:
    """So do lines that a page shows of a longer run than can be tried here."""
    render = ROOT / "charrnn" / "render"
    source = "".join(path.read_text(encoding="utf-8") for path in render.glob("*.py"))
    for label in OF_LONG_RUNS:
        assert f'"{label}"' in source, label
    for page in PAGES:
        for block in pages.blocks(page, "console"):
            lines = list(itertools.takewhile(lambda line: line[:1] != "$", block.splitlines()))
            for label in pages.labels(lines):
                assert f'"{label}"' in source, (page, label)


def test_every_flag_that_a_page_names_exists() -> None:
    """The research notes also name flags of the benchmarks."""
    known = set(_flags(pages.DOCS / "reference" / "cli.md"))
    for page in {pages.README, *pages.DOCS.rglob("*.md")} - {*pages.DOCS.rglob("research/*")}:
        assert set(_flags(page)) <= known, page


def _flags(page: Path) -> list[str]:
    """The flags on a page, those of other programs aside."""
    lines = page.read_text(encoding="utf-8").splitlines()
    others = r"\b(python|mkdocs|iconv|pip|git) |\b(torchrun|docker run) -|^#SBATCH"
    own = (line for line in lines if not re.search(others, line))
    return re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", "\n".join(own))
