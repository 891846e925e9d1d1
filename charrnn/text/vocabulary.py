"""Convert characters or bytes to ids and back."""

import codecs
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from charrnn.errors import (
    CheckpointError,
    CorpusError,
    UnknownCharacterError,
    counted,
    shown_character,
)
from charrnn.text.config import CorpusConfig

Ids = npt.NDArray[np.integer[Any]]
Unknown = Literal["error", "skip", "replace"]

# Replacements for unknown characters if the model has no unknown symbol, in this order.
REPLACEMENTS = ("\N{REPLACEMENT CHARACTER}", "?", " ")
MAX_SYMBOLS = 500_001
SHOWN_RAREST = 20
SHOWN_UNKNOWN = 20


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """Return the Unicode code points of a text, (N,)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def smallest_dtype(size: int) -> npt.DTypeLike:
    """Return the smallest unsigned integer type that holds the ids of `size` symbols."""
    return np.min_scalar_type(max(size - 1, 0))


@dataclass(frozen=True)
class Vocabulary:
    """The symbols that a model knows; the id of a symbol is its index.

    unit "char": the symbols are single characters, and "" is the unknown symbol, if there is one.
    unit "byte": the symbols are bytes of UTF-8, written as the characters U+0000 to U+00FF.
    """

    unit: Literal["char", "byte"]
    symbols: tuple[str, ...]
    _ids: npt.NDArray[np.int32] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        codes = np.array([ord(s) for s in self.symbols if s], dtype=np.int64)
        # The slot after the last code point is for all higher ones.
        table = np.full(int(codes.max(initial=-1)) + 2, -1, dtype=np.int32)
        table[codes] = [i for i, s in enumerate(self.symbols) if s]
        object.__setattr__(self, "_ids", table)

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def unknown(self) -> int | None:
        """The id of the unknown symbol, or None if there is none."""
        return self.symbols.index("") if "" in self.symbols else None

    def lookup(self, text: str) -> npt.NDArray[np.int32]:
        """Return the id of each character (byte), (N,), or -1 if it has none."""
        codes = (
            np.frombuffer(text.encode(), dtype=np.uint8)
            if self.unit == "byte"
            else code_points(text)
        )
        return self._ids[np.minimum(codes, np.uint32(len(self._ids) - 1))]

    def encode(self, text: str, unknown: Unknown = "error") -> npt.NDArray[np.int32]:
        """Return the ids of a text, (N,).

        unknown: what to do with characters that have no id. "error" raises UnknownCharacterError;
        "skip" leaves them out; "replace" uses the unknown symbol, or the first of REPLACEMENTS that
        is in the vocabulary, or raises UnknownCharacterError if there is neither.
        """
        if self.unit == "byte" and unknown != "error":  # only lone surrogates have no bytes
            text = text.encode(errors="ignore" if unknown == "skip" else "replace").decode()
        try:
            ids = self.lookup(text)
        except UnicodeEncodeError as error:
            raise UnknownCharacterError(text[error.start], error.start) from error
        missing = np.flatnonzero(ids < 0)
        if len(missing) == 0:
            return ids
        if unknown == "skip":
            return ids[ids >= 0]
        replacement = self._replacement()
        if unknown == "error" or replacement is None:
            position = int(missing[0])
            raise UnknownCharacterError(
                text[position], position, replaceable=replacement is not None
            )
        ids[missing] = replacement
        return ids

    def decoder(self) -> Callable[[int], str]:
        """Return a function that turns ids into text, one after the other.

        For bytes, it returns "" until a character is complete; invalid UTF-8 becomes U+FFFD.
        """
        if self.unit == "char":
            return self.symbols.__getitem__
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda id_: utf8.decode(bytes((id_,)))

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text like `decoder`; an incomplete last character becomes U+FFFD."""
        if self.unit == "byte":
            return bytes(ids).decode(errors="replace")
        return "".join(self.symbols[i] for i in ids)

    def shown(self, ids: Ids) -> str:
        """Turn many ids into text at once; the unknown symbol, and invalid UTF-8, become U+FFFD."""
        if self.unit == "byte":
            return ids.astype(np.uint8).tobytes().decode(errors="replace")
        codes = np.array([ord(symbol or "\ufffd") for symbol in self.symbols], dtype="<u4")
        return codes[ids].tobytes().decode("utf-32-le")

    def count_characters(self, ids: Ids) -> int:
        """Count the characters in ids. For bytes, count those that begin a character."""
        if self.unit == "char":
            return len(ids)
        return int(np.count_nonzero((ids & 0xC0) != 0x80))

    def count_bytes(self, ids: Ids) -> int:
        """Count the bytes of UTF-8 in ids; an unknown symbol counts as one byte."""
        if self.unit == "byte":
            return len(ids)
        widths = np.array([max(len(s.encode()), 1) for s in self.symbols], dtype=np.int64)
        return int(np.bincount(ids, minlength=len(self)) @ widths)

    def extended(self, characters: Iterable[str]) -> "Vocabulary":
        """Return a vocabulary with symbols appended; the old ones keep their ids."""
        known = set(self.symbols)
        return replace(self, symbols=self.symbols + tuple(c for c in characters if c not in known))

    def to_json(self) -> dict[str, Any]:
        """Return the symbols as one string, with the id of the unknown symbol, for `from_json`."""
        return {"unit": self.unit, "symbols": "".join(self.symbols), "unknown": self.unknown}

    @staticmethod
    def from_json(data: Any) -> "Vocabulary":
        """Read what `to_json` returned. Raises CheckpointError for anything else."""
        match data:
            case {
                "unit": "char" | "byte" as unit, "symbols": str(text), "unknown": int() | None as at
            }:  # fmt: skip
                symbols = tuple(text)
            case _:
                raise CheckpointError("the vocabulary has no unit or no symbols")
        if at is not None:
            if not 0 <= at <= len(symbols):
                raise CheckpointError("the vocabulary does not contain its unknown symbol")
            symbols = (*symbols[:at], "", *symbols[at:])
        if not 0 < len(symbols) <= MAX_SYMBOLS or len(set(symbols)) != len(symbols):
            raise CheckpointError("the vocabulary is empty, too large, or contains a symbol twice")
        if any("\ud800" <= symbol <= "\udfff" for symbol in symbols):
            raise CheckpointError("the vocabulary contains half of a surrogate pair")
        if unit == "byte" and symbols != BYTES.symbols:
            raise CheckpointError("the vocabulary does not consist of the 256 bytes")
        return Vocabulary(unit, symbols)

    def _replacement(self) -> int | None:
        if self.unknown is not None:
            return self.unknown
        return next((self.symbols.index(c) for c in REPLACEMENTS if c in self.symbols), None)


BYTES = Vocabulary("byte", tuple(map(chr, range(256))))


def build_vocabulary(counts: npt.NDArray[np.int64], min_count: int = 1) -> Vocabulary:
    """Make the vocabulary of a text, the most frequent characters first.

    An adaptive softmax relies on this order; characters that are equally frequent are in the order
    of their code points.
    counts: how often each code point occurs, (0x110000,).
    Characters that occur fewer than min_count times are folded into an unknown symbol, id 0; it
    exists only if there are any.
    """
    kept, folded = kept_characters(counts, min_count)
    return Vocabulary("char", (("",) if folded else ()) + kept)


def kept_characters(counts: npt.NDArray[np.int64], min_count: int) -> tuple[tuple[str, ...], bool]:
    """Return the characters that occur at least min_count times, and whether there are others.

    The most frequent come first, see build_vocabulary.
    """
    kept = np.flatnonzero(counts >= max(min_count, 1))
    kept = kept[np.argsort(-counts[kept], kind="stable")]
    folded = bool(np.any((counts > 0) & (counts < min_count)))
    return tuple(chr(code) for code in kept), folded


def folded_notices(counts: npt.NDArray[np.int64], min_count: int) -> list[str]:
    """Report how many characters the unknown symbol replaces, and their share of the text."""
    rare = counts[(counts > 0) & (counts < min_count)]
    if not len(rare):
        return []
    return [
        f"folded {counted(len(rare), 'character')} with fewer than {min_count} occurrences into "
        f"one unknown symbol ({rare.sum() / counts.sum():.3%} of the text)"
    ]


def unknown_notices(vocabulary: Vocabulary, text: str, unknown: Unknown) -> list[str]:
    """Report how many characters of a text `encode` skips or replaces, and the most frequent."""
    if unknown == "error" or vocabulary.unit == "byte":
        return []
    codes = code_points(text)[vocabulary.lookup(text) < 0]
    found, counts = np.unique(codes, return_counts=True)
    if not len(found):
        return []
    most = found[np.argsort(-counts, kind="stable")][:SHOWN_UNKNOWN]
    shown = " ".join(shown_character(chr(code)) for code in most)
    others = f" and {len(found) - len(most):,} others" if len(found) > len(most) else ""
    return [
        f"{'skipped' if unknown == 'skip' else 'replaced'} {len(codes):,} of {len(text):,} "
        f"characters because the model does not know them: {shown}{others}"
    ]


def vocabulary_of(
    counts: npt.NDArray[np.int64], config: CorpusConfig, base: Vocabulary | None = None
) -> Vocabulary:
    """Make the vocabulary of a text according to the settings.

    counts: how often each code point occurs, (0x110000,).
    base: a vocabulary to keep; new characters are appended to it.
    Raises CorpusError if there are more symbols than config.max_vocab.
    """
    if config.unit == "byte":
        return BYTES
    if base is None:
        vocabulary = build_vocabulary(counts, config.min_count)
    else:
        kept, folded = kept_characters(counts, config.min_count)
        known = set(base.symbols)
        # Rare characters in the base keep their ids; only new ones need the unknown symbol.
        rare = np.flatnonzero((counts > 0) & (counts < config.min_count))
        folded = folded and any(chr(code) not in known for code in rare)
        vocabulary = base.extended(kept + (("",) if folded else ()))
    if len(vocabulary) > config.max_vocab:
        raise CorpusError(_too_many(vocabulary, counts, config))
    return vocabulary


def _too_many(vocabulary: Vocabulary, counts: npt.NDArray[np.int64], config: CorpusConfig) -> str:
    found = np.flatnonzero(counts >= config.min_count)
    rarest = found[np.argsort(counts[found], kind="stable")][:SHOWN_RAREST]
    shown = " ".join(shown_character(chr(code)) for code in rarest)
    return (
        f"{len(vocabulary):,} distinct characters are more than `max_vocab={config.max_vocab}`; "
        f"the rarest: {shown}\n  If they look wrong, set the right `encoding`; otherwise fold rare "
        "ones with `min_count=5`, or train on bytes with `unit=byte`"
    )
