"""Settings of the text a model learns. Holds no numpy, so that help pages answer at once."""

from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import Literal

from charrnn.errors import SettingsError
from charrnn.settings import check, setting

CORPORA_DIR = "corpora"  # where fetched corpora are


_MAX_VOCAB = 20_000
_VAL_FRACTION = 0.1


@dataclass(frozen=True)
class CorpusConfig:
    """How a corpus is read, cut into documents, turned into ids and split."""

    unit: Literal["char", "byte"] = setting(
        "char",
        help="What one step of the model is: a character, or a byte of UTF-8 "
        "(any text can be modelled, any prompt accepted).",
    )
    min_count: int = setting(
        1,
        ge=1,
        help="Fold characters that occur fewer times into one unknown symbol, "
        "which is never generated.",
    )
    max_vocab: int = setting(
        _MAX_VOCAB,
        ge=1,
        le=500_000,
        help="Stop where the text has more different characters than this.",
    )
    encoding: str = setting(
        "utf-8",
        help="How the files are encoded: any name that Python knows, for instance gb18030 or "
        "latin-1. UTF-16 and UTF-32 are known by their byte order mark.",
    )
    errors: Literal["strict", "replace", "ignore"] = setting(
        "strict",
        help="What becomes of bytes that cannot be decoded: strict stops, replace reads U+FFFD, "
        "ignore leaves them out.",
    )
    normalize: Literal["none", "nfc", "nfkc"] = setting(
        "none", help="Unicode normalization form of the text and of prompts."
    )
    lowercase: bool = setting(False, help="Turn the text, and prompts, into lower case.")
    keep_newlines: bool = setting(
        False, help="Keep CRLF and lone CR instead of turning them into LF."
    )
    glob: str | None = setting(
        None,
        help="Which files of folders and archives to read, for instance '*.md'; default: all that "
        "decode as text.",
    )
    separator: str = setting(
        "",
        help=r"Text to put after each document and to learn; \n, \t and \\ are understood. "
        "Sampling ends there.",
    )
    lines: bool = setting(
        False,
        help="Each line is a document (names, titles); empty ones are left out. Sampling ends at "
        "the end of a line.",
    )
    column: str | None = setting(
        None, help="Each row of csv or tsv files is a document: the text of this column."
    )
    field: str | None = setting(
        None, help="Each line of JSON-lines files is a document: the text of this field."
    )
    val_fraction: float = setting(
        _VAL_FRACTION,
        ge=0,
        lt=1,
        help="Share of the corpus, cut from its end, held out for validation; 0 for none.",
    )
    split_documents: bool = setting(
        False, help="Hold out whole documents, chosen at random, instead of the end of the corpus."
    )
    val_text: str | None = setting(
        None,
        help="A file to validate on, in place of a part of the corpus; its characters "
        "join the vocabulary.",
    )
    max_corpus_bytes: int = setting(
        16 * 2**30,
        ge=1,
        help="Stop where the text, decompressed, is larger than this.",
        shown="16 GiB",
    )

    def __post_init__(self) -> None:
        check(self)
        for field in fields(self):
            value = getattr(self, field.name)
            text = value if isinstance(value, str) and field.name != "val_text" else ""
            if any("\ud800" <= character <= "\udfff" for character in text):
                raise SettingsError(f"`{field.name}={value!r}`: holds bytes that are no text")
        given = {"lines": self.lines, "column": self.column, "field": self.field}
        ways = [f"`{name}`" for name, value in given.items() if value not in (None, False)]
        if len(ways) > 1:
            raise SettingsError(f"{ways[0]} and {ways[1]} both say what a document is; choose one")
        if self.lines and self.separator:
            raise SettingsError("`lines` and `separator`: a line ends with a line end; choose one")
        if self.unit == "byte" and self.min_count > 1:
            raise SettingsError("`unit=byte` and `min_count`: all bytes are kept; choose one")
        if self.unit == "byte" and self.max_vocab != _MAX_VOCAB:
            raise SettingsError("`unit=byte` and `max_vocab`: there are 256 bytes; choose one")
        if self.val_text is not None and self.val_fraction != _VAL_FRACTION:
            raise SettingsError("`val_text` and `val_fraction`: choose one to validate on")
        if self.split_documents and self.val_text is not None:
            raise SettingsError("`split_documents` and `val_text`: choose one to validate on")
        if self.split_documents and self.val_fraction == 0:
            raise SettingsError("`split_documents` needs a `val_fraction` above 0")
        _check_encoding(self.encoding)
        _check_glob(self.glob)

    @property
    def document_end(self) -> str:
        """What follows each document, and ends a sample; "" where nothing does."""
        rows = self.lines or self.column is not None or self.field is not None
        return "\n" if rows and not self.separator else self.separator

    def inherited(self) -> "CorpusConfig":
        """Return what a run takes over that starts from a model of this one: how text is read."""
        return CorpusConfig(
            unit=self.unit,
            normalize=self.normalize,
            lowercase=self.lowercase,
            keep_newlines=self.keep_newlines,
        )


def _check_glob(pattern: str | None) -> None:
    try:
        PurePosixPath("name").match("*" if pattern is None else pattern)
    except ValueError as error:
        raise SettingsError(f"`glob={pattern!r}`: {error}; for instance '*.md'") from error


def _check_encoding(name: str) -> None:
    try:
        b"a".decode(name, "ignore")
    except (LookupError, ValueError) as error:  # unknown or not of text; a NUL within
        raise SettingsError(
            f"`encoding={name}`: not a text encoding of Python's; for instance utf-8, utf-16, "
            "gb18030, big5, shift_jis, cp1252"
        ) from error
