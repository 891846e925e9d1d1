"""From bytes to text: decode files block by block, then normalize the text as configured."""

import codecs
import functools
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.errors import CorpusError, UndecodableError, counted
from charrnn.text.config import CorpusConfig
from charrnn.text.encodings import (
    display_name,
    encoding_from_bom,
    is_utf8,
    likely_encoding,
    mostly_valid,
)
from charrnn.text.vocabulary import code_points

BLOCK_BYTES = 1 << 20
SNIFF_BYTES = 1 << 16  # bytes that decide whether a file is text
_GUESS_BYTES = 1 << 13
# A text may be cut before one of these characters: nothing composes with the character before
# them, and the lower case of a capital sigma, which depends on the letters around it, does not
# depend on anything beyond them (as it does beyond ' . : ^ and `). After a sigma, cut only before
# white space, which ends a word.
_SAFE_CUT = re.compile(
    r"[\x00-\x26\x28-\x2d\x2f-\x39\x3b-\x5d\x5f\x61-\x7f"  # ASCII
    r"\u3041-\u3096\u30a1-\u30fa"  # kana
    r"\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\U00020000-\U0002f7ff]"  # ideographs, hangul
)
_WORD_END = re.compile(r"[ \t\n\r\f\v]")
_LONGEST_UNCUT = 1 << 24  # characters without a place to cut, which are kept in memory
_MOST_MARKS = 1_000  # in a row; Python sorts them in quadratic time, and 30 are more than enough
_MARKS_END = 0x1F000  # code points from here on are no combining marks
_SIGMA = "\N{GREEK CAPITAL LETTER SIGMA}"

Notice = Callable[[str], None]
"""Called with a message that the user should see."""


def decode(
    stream: "io.BufferedReader[Any]",
    name: str,
    config: CorpusConfig,
    *,
    notice: Notice = lambda _: None,
) -> Iterator[str]:
    """Decode a file; yield its text in blocks of arbitrary length.

    name: the file's name in messages. notice: called with each message for the user.
    A byte order mark decides the encoding and is dropped. Raises UndecodableError, which names the
    offending byte.
    """
    bom_encoding = encoding_from_bom(stream.peek(4)[:4])
    if bom_encoding and codecs.lookup(config.encoding).name not in (bom_encoding, bom_encoding[:6]):
        notice(f"{name}: read as {bom_encoding.upper()} because of its byte order mark")
    blocks = _decoded(stream, name, config, bom_encoding)
    blocks = _warn_about_nuls(blocks, name, notice)
    if config.errors == "replace":
        blocks = _report_replaced(blocks, name, notice)
    return _without_bom(blocks)


def reason_not_text(head: bytes, config: CorpusConfig) -> str | None:
    """Return why a file should not be read as text, given its first bytes, or None if it should."""
    encoding = encoding_from_bom(head) or config.encoding
    try:
        text = codecs.getincrementaldecoder(encoding)(config.errors).decode(head)
    except UnicodeError as error:
        if isinstance(error, UnicodeDecodeError) and _mostly_valid(head, error.start, encoding):
            return None  # a damaged text; reading it reports the error
        guess = None if 0 in head else likely_encoding(head[:_GUESS_BYTES])
        return f"not {display_name(encoding)}, looks like {guess}" if guess else "not text"
    return "not text" if "\0" in text else None


def transform(blocks: Iterable[str], config: CorpusConfig, name: str = "the text") -> Iterator[str]:
    """Normalize line ends, Unicode form and case. How the text is cut into blocks has no effect.

    name: how errors call the text. Raises CorpusError for what takes too much time or memory: very
    many combining marks in a row, or very many letters without a space.
    """
    form = None if config.normalize == "none" else config.normalize.upper()

    def normalized(text: str) -> str:
        if form is not None:
            _check_marks(text, name)
            text = unicodedata.normalize(form, text)  # type: ignore[arg-type]
        return text.lower() if config.lowercase else text

    if not config.keep_newlines:
        blocks = with_line_feeds(blocks)
    if form is not None or config.lowercase:
        blocks = map(normalized, _recut(blocks, name))
    return (text for text in blocks if text)


def with_line_feeds(blocks: Iterable[str]) -> Iterator[str]:
    """Convert CRLF and lone CR to LF."""
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    for text in blocks:
        yield newlines.decode(text)
    yield newlines.decode("", final=True)


def transformed(text: str, config: CorpusConfig, name: str = "the text") -> str:
    """Normalize a whole text, such as a prompt, in the same way as `transform` does a corpus."""
    return "".join(transform([text], config, name))


def _decoded(
    stream: "io.BufferedReader[Any]", name: str, config: CorpusConfig, bom_encoding: str | None
) -> Iterator[str]:
    encoding = bom_encoding or config.encoding
    decoder = codecs.getincrementaldecoder(encoding)(config.errors)
    consumed = 0
    before = data = b""
    while True:
        before, data = data, stream.read(BLOCK_BYTES)
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeError as error:
            # Python 3.13 and later raise UnicodeDecodeError for this, too.
            if not isinstance(error, UnicodeDecodeError) or "BOM" in error.reason:
                raise UndecodableError(
                    f"{name}: has no byte order mark; name the byte order: "
                    f"`encoding={encoding}-le` or `encoding={encoding}-be`"
                ) from error
            # The decoder was given the bytes it had kept from `before`, followed by `data`.
            at = len(before) + len(data) - len(error.object) + error.start
            raise _undecodable(
                name,
                encoding,
                before + data,
                at,
                start=consumed - len(before),
                has_bom=bom_encoding is not None,
                at_end=not data,
            ) from error
        yield text
        if not data:
            return
        consumed += len(data)


def _warn_about_nuls(blocks: Iterator[str], name: str, notice: Notice) -> Iterator[str]:
    for text in blocks:
        suspicious = text.count("\0") > len(text) // 4
        if suspicious:
            notice(
                f"{name}: contains many NUL characters; if it is UTF-16, pass "
                "`encoding=utf-16-le` or `encoding=utf-16-be`"
            )
        yield text
        if suspicious:
            break
    yield from blocks


def _report_replaced(blocks: Iterator[str], name: str, notice: Notice) -> Iterator[str]:
    replaced = 0
    for text in blocks:
        replaced += text.count("\ufffd")
        yield text
    if replaced:
        notice(f"{name}: {counted(replaced, 'undecodable sequence')} read as U+FFFD")


def _without_bom(blocks: Iterator[str]) -> Iterator[str]:
    for text in blocks:
        if text:
            yield text.removeprefix("\ufeff")
            break
    yield from blocks


def _recut(blocks: Iterable[str], name: str) -> Iterator[str]:
    """Cut a text where neither side affects how the other one is normalized."""
    held: list[str] = []
    size, sigma = 0, False
    for text in blocks:
        sigma = sigma or _SIGMA in text
        cut = _last(_WORD_END if sigma else _SAFE_CUT, text)
        if cut is None:
            held.append(text)
            size += len(text)
            if size > _LONGEST_UNCUT:
                raise CorpusError(
                    f"{name}: more than {_LONGEST_UNCUT:,} letters without a space cannot be "
                    "normalized; set `normalize=none` and no `lowercase`"
                )
            continue
        yield "".join((*held, text[:cut]))
        held = [text[cut:]]
        size, sigma = len(held[0]), _SIGMA in held[0]
    yield "".join(held)


def _check_marks(text: str, name: str) -> None:
    """Raise CorpusError if more combining marks follow each other than can be sorted quickly."""
    if text.isascii() or len(text) <= _MOST_MARKS:
        return
    marks = _marks().take(code_points(text), mode="clip")
    if np.count_nonzero(marks) <= _MOST_MARKS:
        return
    others = np.concatenate([[-1], np.flatnonzero(~marks), [len(text)]])
    if np.diff(others).max() - 1 > _MOST_MARKS:
        raise CorpusError(
            f"{name}: more than {_MOST_MARKS:,} combining marks in a row cannot be normalized; set "
            "`normalize=none`"
        )


@functools.cache
def _marks() -> npt.NDArray[np.bool_]:
    """Return which code points are combining marks."""
    found = (unicodedata.combining(chr(code)) > 0 for code in range(_MARKS_END + 1))
    return np.fromiter(found, bool, _MARKS_END + 1)


def _last(pattern: re.Pattern[str], text: str) -> int | None:
    return next((i for i in range(len(text) - 1, -1, -1) if pattern.match(text[i])), None)


def _undecodable(
    name: str, encoding: str, context: bytes, at: int, *, start: int, has_bom: bool, at_end: bool
) -> UndecodableError:
    """Describe an error and suggest a remedy.

    context: the last bytes that were read, from offset `start` of the file. at: the index of the
    error in them. at_end: whether the file ends with these bytes.
    """
    offset = start + at
    invalid = context[at : at + 4]
    problem = (
        f"{name}: not {display_name(encoding)} at byte {offset:,} "
        f"({' '.join(f'{byte:02X}' for byte in invalid)})"
    )
    if re.match(rb"\xed[\xa0-\xbf][\x80-\xbf]", invalid) and is_utf8(encoding):
        return UndecodableError(
            f"{problem} but half of a surrogate pair, which is not a character; fix the program "
            "that wrote it, or pass `errors=replace`",
            {"errors": "replace"},
        )
    truncated = at_end and is_utf8(encoding)
    if has_bom or truncated or _mostly_valid(context, at, encoding):
        return UndecodableError(
            f"{problem} but valid elsewhere, so it is damaged or truncated; to read the damaged "
            "parts as U+FFFD, pass `errors=replace`",
            {"errors": "replace"},
        )
    line = context.rfind(b"\n", max(at - SNIFF_BYTES // 2, 0), at) + 1
    guess = likely_encoding(context[line : line + SNIFF_BYTES])
    if guess is None:
        return UndecodableError(f"{problem}; if it is text, name its encoding with `encoding`")
    if guess.startswith("utf-16"):  # two bytes per unit, counted from the start of the file
        at -= offset % 2
        line = at
    before, after = (part.decode(guess, "ignore") for part in (context[line:at], context[at:][:40]))
    excerpt = (before[-10:] + after[:12]).strip()
    return UndecodableError(
        f"{problem}; it looks like {guess}, which reads {excerpt!r} there; pass `encoding={guess}`",
        {"encoding": guess},
    )


def _mostly_valid(context: bytes, at: int, encoding: str) -> bool:
    return mostly_valid(context[max(at - SNIFF_BYTES, 0) : at + SNIFF_BYTES], encoding)
