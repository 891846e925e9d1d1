"""The pages of the documentation: the examples they show, and the texts those read."""

import gzip
import itertools
import re
import shlex
import string
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT, TEXT

DOCS = ROOT / "docs"
README = ROOT / "README.md"
# Each uses every character that the examples use.
SOURCE = TEXT + string.printable
# A fence may have a title: the name of the file that it shows.
_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.M | re.S)
_COMMAND = re.compile(r"(?:\$ )?(?:cat (?P<stdin>\S+) \| )?charrnn (?P<words>.*)")
# Options that make a real command end in a moment. The last of two options wins.
_STEPS = 3
SMALL = (
    "--hidden-size", "8", "--embedding-size", "4", "--batch-size", "4", "--seq-length", "16",
    "--steps", str(_STEPS), "--eval-every", "2",
)  # fmt: skip


@dataclass(frozen=True)
class Example:
    """A charrnn command of a page.

    words: what follows `charrnn`. stdin: the file that is piped into it, or "". output: the lines
    that the page shows below it.
    """

    words: Sequence[str]
    stdin: str
    output: Sequence[str]


def labels(lines: Sequence[str]) -> set[str]:
    """The names that begin lines of output, such as `corpus`, `saved in` and `notice:`."""
    found = (re.match(r"[a-z]+(?: [a-z]+)*(?=  )|[a-z]+:", line) for line in lines)
    return {label[0] for label in found if label is not None}


def masked(line: str) -> str:
    """A line of output without its numbers and its wider gaps."""
    return re.sub(r"\d(?:[\d,.:]*\d)?", "#", re.sub(r"\s+", " ", line))


def blocks(page: Path, *languages: str) -> list[str]:
    """The contents of a page's fenced blocks in one of these languages."""
    text = page.read_text(encoding="utf-8")
    return [content for language, _, content in _FENCE.findall(text) if language in languages]


def examples(page: Path) -> list[Example]:
    """The charrnn commands in the shell blocks and sessions of a page, in order."""
    found = []
    for block in blocks(page, "sh", "console"):
        lines = block.replace("\\\n", "").splitlines()
        starts = [n for n, line in enumerate(lines) if _COMMAND.match(line)]
        for start, end in itertools.pairwise([*starts, len(lines)]):
            command = _COMMAND.match(lines[start])
            assert command is not None
            words = shlex.split(command["words"], comments=True)
            words = list(itertools.takewhile(lambda word: word != ">", words))
            found.append(Example(words, command["stdin"] or "", lines[start + 1 : end]))
    return found


def quickened(commands: Sequence[Example]) -> Iterator[tuple[Example, list[str]]]:
    """Yield each command that can be run here, and its words with smaller sizes and fewer steps.

    Nothing is left out of a command; what is added limits it further.
    """
    resumed = 0
    for example in commands:
        words = list(example.words)
        match words[0]:
            case "corpora" if words[1:2] == ["fetch"]:
                continue  # downloads; tests/catalog/test_download.py does so from its own server
            case "train":
                words += SMALL
            case "resume":
                resumed += 1
                words += ["--steps", str(_STEPS * (resumed + 1))]
        yield example, words


def write_sources(folder: Path, page: Path) -> None:
    """Write small texts under the names that a page uses, and the files that it shows."""
    text = page.read_text(encoding="utf-8")
    for name in {"novel.txt", "names.txt", *re.findall(r"(?<![\w/])[\w-]+\.txt\b", text)}:
        (folder / name).write_text(SOURCE, encoding="utf-8")
    (folder / "poems").mkdir()
    (folder / "poems" / "river.txt").write_text(TEXT, encoding="utf-8")
    (folder / "poems" / "stones.md").write_text(TEXT, encoding="utf-8")
    for name in ("essays.zip", "books.zip"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("stones.txt", TEXT)
    (folder / "notes.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    rows = [line for line in TEXT.splitlines() if line]
    (folder / "recipes.csv").write_text("".join(f'1,"{r}"\n' for r in ["text", *rows]))
    (folder / "reviews.jsonl").write_text("".join(f'{{"text": "{r}"}}\n' for r in rows))
    (folder / "corpora").mkdir()
    (folder / "corpora" / "tiny-shakespeare.txt").write_text(SOURCE, encoding="utf-8")
    for line in re.findall(r"^echo .*", text, re.M):
        _, content, _, name = shlex.split(line)
        (folder / name).write_text(f"{content}\n", encoding="utf-8")
    for _, name, content in _FENCE.findall(text):
        if name:
            (folder / name).write_text(content, encoding="utf-8")
