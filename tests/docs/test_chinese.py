"""The Chinese pages say what the English ones say, block for block, in Chinese.

Text and word order are the translator's. What can be compared is: headings, paragraphs, items and
table rows, the examples, links, words in code, and figures.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.pages import DOCS, README

CHINESE = {
    ROOT / "README.zh-CN.md": README,
    DOCS / "zh" / "index.md": DOCS / "index.md",
    DOCS / "zh" / "ten-minutes.md": DOCS / "tutorials" / "ten-minutes.md",
    DOCS / "zh" / "your-own-text.md": DOCS / "tutorials" / "your-own-text.md",
}
# What only readers of Chinese need to hear of.
ONLY_CHINESE = {
    "corpora/shan-zhen-shou-ji.txt", "shan-zhen-shou-ji.txt",
    "--encoding gb18030", "--min-count 5", "--unit byte",
}  # fmt: skip

_HAN = "\u4e00-\u9fff"
_WIDE = "，。、：；？！（）“”《》"
_BLOCK = re.compile(r"(?P<heading>#+) |(?P<item>-|\d+\.) |(?P<row>\|)|(?P<fence>```\S*)")
_CODE = re.compile(r"`([^`]+)`")
_TARGET = re.compile(r"\]\(([^)\s]+)\)")
_FIGURE = re.compile(r"\d+(?:[.,:]\d+)*")

every_page = pytest.mark.parametrize("page", CHINESE, ids=lambda page: page.stem)


@dataclass
class Block:
    """A heading, paragraph, item of a list, row of a table, or fenced example."""

    kind: str
    text: str

    def prose(self) -> str:
        """The text, with x for each word in code, and without addresses."""
        return re.sub(r"<[^>]+>", "", _TARGET.sub("]", _CODE.sub("x", self.text)))


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    inside = ""  # the kind of the block that the next line may continue
    for line in page.read_text(encoding="utf-8").splitlines():
        begins = _BLOCK.match(line)
        if inside.startswith("```"):
            found[-1].text += line + "\n"
            inside = "" if line == "```" else inside
        elif not line.strip():
            inside = ""
        elif begins is not None:
            cells = len(re.findall(r"(?<!\\)\|", line))
            inside = begins["heading"] or begins["fence"] or ("item" if begins["item"] else "")
            found.append(Block(inside or f"row of {cells}", line[begins.end() :] + "\n"))
        elif inside and not inside.startswith("#"):
            found[-1].text += line + "\n"
        else:
            inside = "paragraph"
            found.append(Block(inside, line + "\n"))
    return found


def pairs(page: Path) -> Iterator[tuple[Block, Block]]:
    """Yield each block of a Chinese page with the English one in the same place."""
    return zip(blocks(page), blocks(CHINESE[page]), strict=True)


def links(page: Path, block: Block) -> list[tuple[str, str | int]]:
    """What a block links to: path or address, and anchor. A translated page counts as the English
    one; an anchor in it is the number of the heading that it leads to.
    """
    found: list[tuple[str, str | int]] = []
    for target in _TARGET.findall(block.text):
        path, _, anchor = target.partition("#")
        if "://" in path:
            found.append((target, ""))
            continue
        to = Path(os.path.normpath(page.parent / path)) if path else page
        assert to.exists(), (page, target)
        place: str | int = anchor
        if anchor and (to in CHINESE or to in CHINESE.values()):
            place = slugs(to).index(anchor)
        found.append((str(CHINESE.get(to, to)), place))
    return sorted(found, key=str)


def slugs(page: Path) -> list[str]:
    """The anchors of a page's headings, as the site and code hosts derive them from the text."""
    headings = (block.text for block in blocks(page) if block.kind.startswith("#"))
    return [re.sub(r"[^\w -]", "", text.strip().lower()).replace(" ", "-") for text in headings]


def figures(block: Block) -> set[str]:
    """The figures in the prose, round thousands aside, which Chinese may count in 万."""
    return {figure for figure in _FIGURE.findall(block.prose()) if not figure.endswith(",000")}


@every_page
def test_the_blocks_of_both_languages_correspond(page: Path) -> None:
    chinese, english = blocks(page), blocks(CHINESE[page])
    for ours, theirs in zip(chinese, english, strict=False):
        assert ours.kind == theirs.kind, (ours.text, theirs.text)
    assert len(chinese) == len(english)


@every_page
def test_the_examples_of_both_languages_are_the_same(page: Path) -> None:
    """Comments in shell blocks are translated."""
    for ours, theirs in pairs(page):
        if ours.kind == "```sh":
            assert _uncommented(ours.text) == _uncommented(theirs.text)
        elif ours.kind.startswith("```"):
            assert ours.text == theirs.text


@every_page
def test_both_languages_link_to_the_same_places(page: Path) -> None:
    for ours, theirs in pairs(page):
        if not ours.kind.startswith("```"):
            assert links(page, ours) == links(CHINESE[page], theirs), ours.text


@every_page
def test_chinese_pages_link_to_chinese_pages(page: Path) -> None:
    """If there is one; its own English version aside."""
    for target in _TARGET.findall(page.read_text(encoding="utf-8")):
        to = Path(os.path.normpath(page.parent / target.partition("#")[0]))
        assert to not in set(CHINESE.values()) - {CHINESE[page]}, target


@every_page
def test_chinese_prose_has_the_same_code_and_figures(page: Path) -> None:
    for ours, theirs in pairs(page):
        if not ours.kind.startswith("```"):
            code, expected = set(_CODE.findall(ours.text)), set(_CODE.findall(theirs.text))
            assert expected <= code <= expected | ONLY_CHINESE, ours.text
            assert figures(theirs) <= figures(ours), (ours.text, theirs.text)


@every_page
def test_chinese_pages_are_in_chinese(page: Path) -> None:
    """Names and terms stay in Latin letters, sentences do not; nor do comments of examples."""
    prose = [block.prose() for block in blocks(page) if not block.kind.startswith("```")]
    text = "\n".join(prose)
    han, latin = (len(re.findall(f"[{letters}]", text)) for letters in (_HAN, "A-Za-z"))
    assert han / (han + latin) > 0.7
    assert re.findall(r"(?:[A-Za-z']+[ ,]+){4,}[A-Za-z']+", text) == []
    for sentence in re.split(r"[。！？\n]", text):
        assert re.search(f"[{_HAN}]", sentence) or len(re.findall(r"[A-Za-z]+", sentence)) < 4
    for block in blocks(page):
        if block.kind == "```sh":
            assert re.findall(rf"(?:^|\s)# [^{_HAN}\n]*$", block.text, re.M) == []


@every_page
def test_chinese_typography_is_uniform(page: Path) -> None:
    """Full-width punctuation; a space between Chinese and Latin; no line breaks, which would show
    as spaces.
    """
    for block in blocks(page):
        if block.kind.startswith("```"):
            continue
        prose = block.prose().strip()
        assert "\n" not in prose
        prose = re.sub(r"!?\[|[*\]]", "", prose)  # marks that a reader does not see
        for mistake in (
            f"[{_HAN}][,.:;?!()]|[,.;?!()][{_HAN}]",
            f"[{_HAN}][A-Za-z0-9]|[A-Za-z0-9][{_HAN}]",
            f"[{_WIDE}] +[{_HAN}]|[{_HAN}] +[{_WIDE}{_HAN}]",
        ):
            assert re.search(mistake, prose) is None, (mistake, prose)


def _uncommented(shell: str) -> str:
    return re.sub(r"(^|\s)# .*", r"\1", shell)
