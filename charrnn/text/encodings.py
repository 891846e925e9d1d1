"""Which encoding a file is in: byte order marks, and guesses for error messages.

A guess is only ever suggested; charrnn never reads a text in an encoding that it guessed.
"""

import codecs
from contextlib import suppress

_BOMS = (  # UTF-32 first: its little-endian mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# The encodings to guess from. With rarer ones among them, a short text could not decide.
_LIKELY = (
    "cp1252", "gb18030", "big5", "cp932", "euc_jp", "euc_kr", "cp1251", "koi8_r", "cp1250",
    "cp1253", "cp1254", "cp1255", "cp1256", "iso2022_jp", "utf_16_le", "utf_16_be",
)  # fmt: skip
# Letters besides a to z, by code page and language, the most common code page first. If
# charset-normalizer finds one of these code pages, these letters decide which one it is: on its
# own, it takes Portuguese for Romanian.
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


def encoding_from_bom(head: bytes) -> str | None:
    """Return the encoding that a byte order mark stands for, or None if there is no mark."""
    return next((encoding for mark, encoding in _BOMS if head.startswith(mark)), None)


def display_name(encoding: str) -> str:
    """Return the name of an encoding for messages."""
    return "UTF-8" if is_utf8(encoding) else encoding


def is_utf8(encoding: str) -> bool:
    """Return whether a name is one of Python's names for UTF-8."""
    return codecs.lookup(encoding).name == "utf-8"


def mostly_valid(around: bytes, encoding: str) -> bool:
    """Return whether the bytes around an error are UTF-8 apart from that error.

    They are if at least five non-ASCII characters decode for each sequence that does not. In other
    encodings this says nothing, since almost any bytes decode.
    """
    if not is_utf8(encoding):
        return False
    text = around.decode(encoding, "replace")
    invalid = text.count("\ufffd")
    return sum(not character.isascii() for character in text) >= 5 * invalid


def likely_encoding(sample: bytes) -> str | None:
    """Guess the encoding of a text for a message; None if no guess is likely to be right."""
    with suppress(UnicodeDecodeError):
        if codecs.getincrementaldecoder("utf-8")().decode(sample) and not sample.isascii():
            return "utf-8"
    import logging

    from charset_normalizer import from_bytes

    logging.getLogger("charset_normalizer").addHandler(logging.NullHandler())
    wide = sample.count(0) > len(sample) // 50 and encoding_from_bom(sample) is None
    candidates = [name for name in _LIKELY if name.startswith("utf") == wide]
    matches = list(from_bytes(sample, cp_isolation=candidates))
    if not matches or matches[0].encoding in ("ascii", "utf_8"):
        return None
    # Of the equally good ones, and those that give the same text, choose the most common.
    best = matches[0]
    equal = [m for m in matches if (m.chaos, m.coherence) == (best.chaos, best.coherence)]
    names = {name for match in equal for name in match.could_be_from_charset}
    if names & _LATIN.keys():
        return max(_LATIN, key=lambda name: _share_of_letters(sample, name))
    return min(names, key=candidates.index).replace("_", "-")


def _share_of_letters(sample: bytes, code_page: str) -> float:
    """Return the share of non-ASCII characters that are letters of one language of a code page."""
    text = sample.decode(code_page, "replace").lower()
    found = [c for c in text if not c.isascii() and (c.isalpha() or c == "\ufffd")]
    shares = [sum(c in letters for c in found) for letters in _LATIN[code_page]]
    return max(shares) / max(len(found), 1)
