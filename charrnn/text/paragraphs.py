"""Paragraphs: what stands between blank lines, in a text that comes in blocks of any size."""

import re
from collections.abc import Iterable, Iterator

from charrnn.errors import CorpusError

PARAGRAPH_END = "\n\n"
LONGEST_BLANK = 2**25  # spaces and tabs in one line, which are kept in memory
# Atomic, so that the two characters of a CRLF are never taken for two line ends.
_LINE_END = r"(?>\r\n|[\r\n])"
_BLANK_LINES = re.compile(rf"{_LINE_END}(?:[ \t]*+{_LINE_END})++")
_FEEDS_ONLY = re.compile(r"\n(?:[ \t]*+\n)++")  # the same without CR; many times faster
_LEADING = re.compile(rf"(?:[ \t]*+{_LINE_END})*+")


def separated_paragraphs(blocks: Iterable[str], name: str) -> Iterator[str]:
    """Yield the paragraphs of a text, each followed by one blank line: PARAGRAPH_END.

    A line of nothing but spaces and tabs is blank. Everything else is kept as it is; line ends
    within a paragraph may be LF, CRLF or CR. A PARAGRAPH_END is never cut in two, and there are no
    others.
    name: how errors call the text. Raises CorpusError for a blank line that fills the memory.
    """
    inside, held = False, ""  # held: what may be blank, depending on what follows
    for block in blocks:
        text = held + block
        if not inside:
            text = _without_blank_lines(text)
        body = text.rstrip(" \t\r\n")
        inside = inside or body != ""
        if inside:  # spaces and tabs after the last letter are still of its line
            body = text[: len(text) - len(text[len(body) :].lstrip(" \t"))]
        held = text[len(body) :]
        if body:
            pattern = _BLANK_LINES if "\r" in body else _FEEDS_ONLY
            yield pattern.sub(PARAGRAPH_END, body)
        if inside and _BLANK_LINES.match(held):
            inside, held = False, _without_blank_lines(held)
            yield PARAGRAPH_END
        if len(held) > LONGEST_BLANK:
            raise CorpusError(
                f"{name}: more than {LONGEST_BLANK:,} spaces and tabs in a row; is this a text?"
            )
    if inside:
        yield PARAGRAPH_END


def _without_blank_lines(text: str) -> str:
    found = _LEADING.match(text)
    assert found is not None
    return text[found.end() :]
