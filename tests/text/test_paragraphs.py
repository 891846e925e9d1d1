"""Paragraphs in blocks of any size, compared with the lines of the whole text."""

import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charrnn.errors import CorpusError
from charrnn.text import paragraphs as module
from charrnn.text.paragraphs import PARAGRAPH_END, separated_paragraphs

# Mostly what a blank line is made of, and what looks like it: U+0085, a no-break space.
characters = st.sampled_from("\n\n\n\r\r  \t\tab\f\x85\xa0水")
texts = st.text(characters, max_size=40) | st.text(st.characters(codec="utf-8"), max_size=20)


def reference(text: str) -> list[str]:
    """The paragraphs of a text: groups of lines that are not blank, with the ends between them."""
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text)
    groups = itertools.groupby(lines, key=lambda line: line.strip(" \t\r\n") != "")
    return ["".join(lines).rstrip("\r\n") for is_text, lines in groups if is_text]


def cut(text: str, places: list[int]) -> list[str]:
    """Cut a text into blocks, some of them empty."""
    borders = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:stop] for start, stop in itertools.pairwise(borders)]


@given(text=texts, places=st.lists(st.integers(0, 40)))
@example(text="a\r\n\r\nb", places=[2, 4])
@example(text="a\r\nb", places=[2])
@example(text="a\n \t", places=[3])
def test_paragraphs_are_what_blank_lines_separate(text: str, places: list[int]) -> None:
    """However the text is cut into blocks; the stream is the paragraphs with their ends."""
    pieces = list(separated_paragraphs(cut(text, places), "t"))
    assert "".join(pieces) == "".join(part + PARAGRAPH_END for part in reference(text))
    ends = sum(piece.count(PARAGRAPH_END) for piece in pieces)
    assert ends == len(reference(text)), "none is cut in two, and there are no others"


def test_long_runs_of_blank_lines_are_not_kept() -> None:
    """A text may hold more of them than fit into memory."""
    blocks = itertools.chain(["a"], itertools.repeat("\n  \n", 10_000), ["  b"])
    assert "".join(separated_paragraphs(blocks, "t")) == "a\n\n  b\n\n"


def test_a_blank_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would fill the memory, since it may turn out to be the beginning of a line."""
    monkeypatch.setattr(module, "LONGEST_BLANK", 1_000)
    with pytest.raises(CorpusError, match="t: more than 1,000 spaces and tabs in a row"):
        list(separated_paragraphs(["a\n", *[" " * 90] * 20, "b"], "t"))
    assert list(separated_paragraphs(["a\n", " " * 900, "b"], "t"))[-1] == PARAGRAPH_END
