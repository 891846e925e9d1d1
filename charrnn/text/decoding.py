"""From bytes to text: decoded block by block, and transformed as the settings say."""

import codecs
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from charrnn.errors import UndecodableError
from charrnn.text.config import CorpusConfig

BLOCK_BYTES = 1 << 20
SNIFF_BYTES = 1 << 16
_GUESS_BYTES = 1 << 13
_MARKS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What is looked for where a text is not in the encoding it should be. Between others that are
# rarely met, no short text can decide.
_LIKELY = (
    "cp1252", "gb18030", "big5", "cp932", "euc_jp", "euc_kr", "cp1251", "koi8_r", "cp1250",
    "cp1253", "cp1254", "cp1255", "cp1256", "iso2022_jp", "utf_16_le", "utf_16_be",
)  # fmt: skip
# Letters besides a to z, by language and code page, the most common code page first. Where the
# library finds one of these code pages, they decide which: it takes Portuguese for Romanian.
_LATIN = {
    "cp1252": (
        "àâæçéèêëîïôœùûüÿ", "äöüß", "áéíñóúü", "áâãàçéêíóôõú", "àèéìíîòóùú", "åäöéà", "æøåéö",
        "éëïóöüáè", "áæéíóöðþúý", "äåö", "äõöüšž", "àçèéíïóòúü",
    ),
    "cp1250": (
        "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "ąćęłńóśźż", "áéíóöőúüű", "čćđšž", "ăâîşţ",
    ),
    "cp1254": ("çğıöşüâîûi̇",),
}  # fmt: skip
# A text may be cut before one of these: nothing composes with what stands before them, and the
# search for a letter around a capital sigma, whose lower case depends on it, does not pass them
# (as it does ' . : ^ and `). A text with a sigma is cut before white space, which ends a word.
_BORDER = re.compile(
    r"[\x00-\x26\x28-\x2d\x2f-\x39\x3b-\x5d\x5f\x61-\x7f"  # ASCII
    r"\u3041-\u3096\u30a1-\u30fa"  # kana
    r"\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\U00020000-\U0002f7ff]"  # ideographs, hangul
)
_WORD_BORDER = re.compile(r"[ \t\n\r\f\v]")
_SIGMA = "\N{GREEK CAPITAL LETTER SIGMA}"

Notice = Callable[[str], None]


def decode(
    stream: "io.BufferedReader[Any]",
    name: str,
    config: CorpusConfig,
    *,
    notice: Notice = lambda _: None,
) -> Iterator[str]:
    """Decode a file, block by block; which blocks is of no meaning.

    name: what messages call it. notice: called with what the user should know.
    A byte order mark is heeded and dropped. Raises UndecodableError that names the byte.
    """
    marked = encoding_by_mark(stream.peek(4)[:4])
    if marked and codecs.lookup(config.encoding).name not in (marked, marked[:6]):
        notice(f"{name}: read as {marked.upper()}, which its byte order mark says")
    blocks = _decoded(stream, name, config, marked)
    blocks = _doubted(blocks, name, notice)
    if config.errors == "replace":
        blocks = _counted(blocks, name, notice)
    return _without_mark(blocks)


def encoding_by_mark(head: bytes) -> str | None:
    """Return the encoding that a byte order mark stands for."""
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)


def why_no_text(head: bytes, config: CorpusConfig) -> str | None:
    """Say why a file is not read as text, judged by its first bytes; None where it is."""
    encoding = encoding_by_mark(head) or config.encoding
    try:
        text = codecs.getincrementaldecoder(encoding)(config.errors).decode(head)
    except UnicodeError as error:
        if isinstance(error, UnicodeDecodeError) and _mostly_right(head, error.start, encoding):
            return None  # and is told when it is read
        guess = None if 0 in head else likely_encoding(head[:_GUESS_BYTES])
        return f"not {_shown(encoding)}, but {guess} by its look" if guess else "not text"
    return "not text" if "\0" in text else None


def transform(blocks: Iterable[str], config: CorpusConfig) -> Iterator[str]:
    """Normalise line ends and form and case of a text, however it is cut into blocks."""
    form = None if config.normalize == "none" else config.normalize.upper()

    def finished(text: str) -> str:
        if form is not None:
            text = unicodedata.normalize(form, text)  # type: ignore[arg-type]
        return text.lower() if config.lowercase else text

    if not config.keep_newlines:
        blocks = with_line_feeds(blocks)
    if form is not None or config.lowercase:
        blocks = map(finished, _cut_at_borders(blocks))
    return (text for text in blocks if text)


def with_line_feeds(blocks: Iterable[str]) -> Iterator[str]:
    """Turn CRLF and lone CR into LF."""
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    for text in blocks:
        yield newlines.decode(text)
    yield newlines.decode("", final=True)


def transformed(text: str, config: CorpusConfig) -> str:
    """Normalise a whole text, a prompt say, as `transform` does a corpus."""
    return "".join(transform([text], config))


def _decoded(
    stream: "io.BufferedReader[Any]", name: str, config: CorpusConfig, marked: str | None
) -> Iterator[str]:
    encoding = marked or config.encoding
    decoder = codecs.getincrementaldecoder(encoding)(config.errors)
    consumed = 0
    before = data = b""
    while True:
        before, data = data, stream.read(BLOCK_BYTES)
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeError as error:
            raise _undecodable(
                name, encoding, error, consumed, before, data, marked=marked is not None
            ) from error
        yield text
        if not data:
            return
        consumed += len(data)


def _doubted(blocks: Iterator[str], name: str, notice: Notice) -> Iterator[str]:
    for text in blocks:
        doubtful = text.count("\0") > len(text) // 4
        if doubtful:
            notice(
                f"{name}: much of it is NUL characters; if it is UTF-16, name `encoding` utf-16-le "
                "or utf-16-be"
            )
        yield text
        if doubtful:
            break
    yield from blocks


def _counted(blocks: Iterator[str], name: str, notice: Notice) -> Iterator[str]:
    found = 0
    for text in blocks:
        found += text.count("\ufffd")
        yield text
    if found:
        notice(f"{name}: {found:,} times U+FFFD stands for what could not be decoded")


def _without_mark(blocks: Iterator[str]) -> Iterator[str]:
    for text in blocks:
        if text:
            yield text.removeprefix("\ufeff")
            break
    yield from blocks


def _cut_at_borders(blocks: Iterable[str]) -> Iterator[str]:
    """Cut a text anew, where what stands on one side has no bearing on the other."""
    held: list[str] = []
    for text in blocks:
        sigma = _SIGMA in text or any(_SIGMA in part for part in held)
        cut = _last(_WORD_BORDER if sigma else _BORDER, text)
        if cut is None:
            held.append(text)
            continue
        yield "".join((*held, text[:cut]))
        held = [text[cut:]]
    yield "".join(held)


def _last(pattern: re.Pattern[str], text: str) -> int | None:
    return next((i for i in range(len(text) - 1, -1, -1) if pattern.match(text[i])), None)


def _undecodable(
    name: str,
    encoding: str,
    error: UnicodeError,
    consumed: int,
    before: bytes,
    data: bytes,
    *,
    marked: bool,
) -> UndecodableError:
    """Say what is wrong, and what may help.

    consumed: bytes of the file before `data`, in which the error is, or in what the decoder had
    kept of the block `before` that. marked: whether the encoding is that of a byte order mark.
    """
    if not isinstance(error, UnicodeDecodeError):  # utf-16 and utf-32 without a byte order mark
        return UndecodableError(
            f"{name}: no byte order mark at its beginning; name the order: "
            f"`encoding={encoding}-le` or `encoding={encoding}-be`"
        )
    # The decoder was given what it had kept from before, and then `data`.
    offset = consumed + len(data) - len(error.object) + error.start
    context = before + data
    at = offset - (consumed - len(before))
    raw = context[at : at + 4]
    sequence = " ".join(f"{byte:02X}" for byte in raw)
    problem = f"{name}: not {_shown(encoding)} at byte {offset:,} ({sequence})"
    if re.match(rb"\xed[\xa0-\xbf][\x80-\xbf]", raw) and _shown(encoding) == "UTF-8":
        return UndecodableError(
            f"{problem}, but half of a surrogate pair, which is no character; the program that "
            "wrote it should be mended, or: `errors=replace`",
            {"errors": "replace"},
        )
    cut = not data and _shown(encoding) == "UTF-8"
    if marked or cut or _mostly_right(context, at, encoding):
        return UndecodableError(
            f"{problem}, though right elsewhere: damaged or cut short; what cannot be read becomes "
            "U+FFFD with `errors=replace`",
            {"errors": "replace"},
        )
    line = context.rfind(b"\n", max(at - SNIFF_BYTES // 2, 0), at) + 1
    sample = context[line : line + SNIFF_BYTES]
    guess = likely_encoding(sample)
    if guess is None:
        message = f"{problem}; it may not be text. If it is, name its encoding with `encoding`"
        return UndecodableError(message)
    if guess.startswith("utf-16"):  # two bytes each, counted from the file's beginning
        at -= offset % 2
        line = at
    parts = context[line:at], context[at : at + 40]
    left, right = (part.decode(guess, "ignore") for part in parts)
    read = (left[-10:] + right[:12]).strip()
    return UndecodableError(
        f"{problem}; it looks like {guess}, in which it reads {read!r}: `encoding={guess}`",
        {"encoding": guess},
    )


def _mostly_right(context: bytes, at: int, encoding: str) -> bool:
    """Whether most of what is not ASCII around an error is right in UTF-8 nevertheless."""
    if _shown(encoding) != "UTF-8":  # in others, almost anything is right
        return False
    around = context[max(at - SNIFF_BYTES, 0) : at + SNIFF_BYTES]
    text = around.decode(encoding, "replace")
    wrong = text.count("\ufffd")
    return sum(not character.isascii() for character in text) >= 5 * wrong


def likely_encoding(sample: bytes) -> str | None:
    """Guess the encoding of a text, for a message; None where nothing is likely."""
    with suppress(UnicodeDecodeError):
        if codecs.getincrementaldecoder("utf-8")().decode(sample) and not sample.isascii():
            return "utf-8"
    import logging

    from charset_normalizer import from_bytes

    logging.getLogger("charset_normalizer").addHandler(logging.NullHandler())
    if sample.count(0) > len(sample) // 50 and encoding_by_mark(sample) is None:
        candidates = [name for name in _LIKELY if name.startswith("utf")]
    else:
        candidates = [name for name in _LIKELY if not name.startswith("utf")]
    matches = list(from_bytes(sample, cp_isolation=candidates))
    if not matches or matches[0].encoding in ("ascii", "utf_8"):
        return None
    # Of those that are as good, or give the same text, it is the most common one.
    best = matches[0]
    equal = [m for m in matches if (m.chaos, m.coherence) == (best.chaos, best.coherence)]
    names = {name for match in equal for name in match.could_be_from_charset}
    if names & _LATIN.keys():
        return max(_LATIN, key=lambda name: _share_of_letters(sample, name))
    return min(names, key=candidates.index).replace("_", "-")


def _share_of_letters(sample: bytes, code_page: str) -> float:
    """Return how much of what is not ASCII are letters of one language of a code page."""
    text = sample.decode(code_page, "replace").lower()
    found = [c for c in text if not c.isascii() and (c.isalpha() or c == "\ufffd")]
    shares = [sum(c in letters for c in found) for letters in _LATIN[code_page]]
    return max(shares) / max(len(found), 1)


def _shown(encoding: str) -> str:
    return "UTF-8" if codecs.lookup(encoding).name == "utf-8" else encoding
