"""Settings for reading a corpus. Does not import numpy, so that help pages appear at once."""

import codecs
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import Literal

from charrnn.errors import SettingsError, shortened
from charrnn.settings import check, setting
from charrnn.text.paragraphs import PARAGRAPH_END

CORPORA_DIR = "corpora"  # the folder for downloaded corpora

# How to recognize the folder of a run. It is never part of a corpus, since it changes while the
# run reads the corpus.
RUN_LOG_FILE = "log.jsonl"
RUN_STEP_PREFIX = "step-"

_MAX_VOCAB = 20_000
_VAL_FRACTION = 0.1
_LONGEST = 1_000  # characters of a name or a separator
_LONGEST_PATTERN = 256  # a long one takes long to compare with each name
_LONGEST_PATH = 4_096  # as Linux limits it


@dataclass(frozen=True)
class CorpusConfig:
    """How to read a corpus, cut it into documents, encode it and split it."""

    unit: Literal["char", "byte"] = setting(
        "char",
        help="What the model reads at each step: a character, or a byte of UTF-8. A byte model "
        "accepts any text and any prompt.",
        panel="Text",
    )
    min_count: int = setting(
        1,
        ge=1,
        help="Replace characters that occur fewer times than this with a single unknown symbol, "
        "which the model never generates.",
    )
    max_vocab: int = setting(
        _MAX_VOCAB,
        ge=1,
        le=500_000,
        help="Fail if the text contains more distinct characters than this.",
    )
    encoding: str = setting(
        "utf-8",
        max_length=_LONGEST,
        help="Encoding of the files: any name that Python knows, such as gb18030, or cp1252 "
        "for Windows in Western Europe. A byte order mark in a file overrides it.",
    )
    errors: Literal["strict", "replace", "ignore"] = setting(
        "strict",
        help="What to do with bytes that cannot be decoded: strict fails, replace reads U+FFFD "
        "instead, ignore skips them.",
    )
    normalize: Literal["none", "nfc", "nfkc"] = setting(
        "none", help="Unicode normalization form for the text and for prompts."
    )
    lowercase: bool = setting(False, help="Convert the text and prompts to lower case.")
    keep_newlines: bool = setting(
        False, help="Keep CRLF and lone CR instead of converting them to LF."
    )
    glob: str | None = setting(
        None,
        max_length=_LONGEST_PATTERN,
        help="Which files to read from folders and archives, such as '*.md'.",
        shown="all text files",
    )
    separator: str = setting(
        "",
        max_length=_LONGEST,
        help=r"Text to add after each document; \n, \t and \\ stand for a line feed, a tab and a "
        "backslash. The model learns it, and sampling stops at it.",
        panel="Documents and validation",
    )
    lines: bool = setting(
        False,
        help="Treat each line as a document (names, titles); skip empty lines. Sampling stops at "
        "the end of a line.",
    )
    paragraphs: bool = setting(
        False,
        help="Treat what stands between blank lines as a document (poems). Sampling stops at a "
        "blank line.",
    )
    column: str | None = setting(
        None,
        max_length=_LONGEST,
        help="Read CSV or TSV files: each row is a document, the text in this column.",
    )
    field: str | None = setting(
        None,
        max_length=_LONGEST,
        help="Read JSON Lines files: each line is a document, the text in this field.",
    )
    val_fraction: float = setting(
        _VAL_FRACTION,
        ge=0,
        lt=1,
        help="Fraction of the corpus to hold out for validation, taken from its end; 0 for none.",
    )
    split_documents: bool = setting(
        False, help="Hold out randomly chosen whole documents instead of the end of the corpus."
    )
    val_text: str | None = setting(
        None,
        max_length=_LONGEST_PATH,
        help="A file to validate on, instead of a part of the corpus. Its characters are added "
        "to the vocabulary.",
    )
    max_corpus_bytes: int = setting(
        16 * 2**30,
        ge=1,
        help="Fail if the text is larger than this after decompression.",
        shown="16 GiB",
        panel="Text",
    )

    def __post_init__(self) -> None:
        check(self)
        _check_strings(self)
        _check_contradictions(self)
        _check_encoding(self.encoding)
        _check_glob(self.glob)

    @property
    def document_end(self) -> str:
        """The text after each document, where sampling stops; "" if there is none."""
        if self.paragraphs:
            return PARAGRAPH_END
        rows = self.lines or self.column is not None or self.field is not None
        return "\n" if rows and not self.separator else self.separator

    def inherited(self) -> "CorpusConfig":
        """Return the settings to keep when fine-tuning a model that was trained with these."""
        return CorpusConfig(
            unit=self.unit,
            normalize=self.normalize,
            lowercase=self.lowercase,
            keep_newlines=self.keep_newlines,
        )


def _check_strings(config: CorpusConfig) -> None:
    for field in fields(config):
        value = getattr(config, field.name)
        if not isinstance(value, str) or field.name == "val_text":  # a path may be any bytes
            continue
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise SettingsError(
                f"`{field.name}={shortened(value)}`: contains bytes that are not text"
            )


def _check_contradictions(config: CorpusConfig) -> None:
    given = {
        "lines": config.lines,
        "paragraphs": config.paragraphs,
        "column": config.column,
        "field": config.field,
    }
    ways = [f"`{name}`" for name, value in given.items() if value not in (None, False)]
    if len(ways) > 1:
        raise SettingsError(f"{ways[0]} and {ways[1]} both define the documents; choose one")
    is_byte = config.unit == "byte"
    has_val_text = config.val_text is not None
    contradictions = {
        "`lines` and `separator`: a line feed already ends each line; choose one": (
            config.lines and config.separator != ""
        ),
        "`paragraphs` and `separator`: a blank line already ends each paragraph; choose one": (
            config.paragraphs and config.separator != ""
        ),
        "`unit=byte` and `min_count`: byte models keep every byte; choose one": (
            is_byte and config.min_count > 1
        ),
        "`unit=byte` and `max_vocab`: byte models have 256 symbols; choose one": (
            is_byte and config.max_vocab != _MAX_VOCAB
        ),
        "`val_text` and `val_fraction`: both choose the validation text; use one": (
            has_val_text and config.val_fraction != _VAL_FRACTION
        ),
        "`split_documents` and `val_text`: both choose the validation text; use one": (
            has_val_text and config.split_documents
        ),
        "`split_documents` needs a `val_fraction` above 0": (
            config.split_documents and config.val_fraction == 0
        ),
    }
    for message, is_given in contradictions.items():
        if is_given:
            raise SettingsError(message)


def _check_glob(pattern: str | None) -> None:
    try:
        PurePosixPath("name").match("*" if pattern is None else pattern)
    except ValueError as error:
        raise SettingsError(
            f"`glob={shortened(repr(pattern))}`: {error}; use a pattern such as '*.md'"
        ) from error


def _check_encoding(name: str) -> None:
    try:
        # Punycode is for host names; decoding takes quadratic time.
        b"a".decode("idna" if codecs.lookup(name).name == "punycode" else name, "ignore")
    except (
        LookupError,
        ValueError,
    ) as error:  # unknown, not a text encoding, or a NUL
        raise SettingsError(
            f"`encoding={shortened(name)}`: not a text encoding that Python knows; use one such as "
            "utf-8, utf-16, gb18030, big5, shift_jis or cp1252"
        ) from error
