"""Characters or bytes to ids and back."""

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

# What stands in for a character that a model without an unknown symbol does not know.
REPLACEMENTS = ("\N{REPLACEMENT CHARACTER}", "?", " ")
MAX_SYMBOLS = 500_001
SHOWN_RAREST = 20


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """Return the Unicode code points of a text, (N,)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def smallest_dtype(size: int) -> npt.DTypeLike:
    """Return the smallest unsigned integer type that holds the ids of `size` symbols."""
    return np.min_scalar_type(max(size - 1, 0))


@dataclass(frozen=True)
class Vocabulary:
    """The symbols a model knows; a symbol's id is its index.

    unit "char": symbols are single characters, and "" for the unknown symbol where there is one.
    unit "byte": the 256 bytes of UTF-8; symbols are then the characters U+0000 to U+00FF, which
    stand for the bytes of those values.
    """

    unit: Literal["char", "byte"]
    symbols: tuple[str, ...]
    _ids: npt.NDArray[np.int32] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        codes = np.array([ord(s) for s in self.symbols if s], dtype=np.int64)
        # One slot past the last code point catches all higher ones.
        table = np.full(int(codes.max(initial=-1)) + 2, -1, dtype=np.int32)
        table[codes] = [i for i, s in enumerate(self.symbols) if s]
        object.__setattr__(self, "_ids", table)

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def unknown(self) -> int | None:
        """The id of the unknown symbol, or None where there is none."""
        return self.symbols.index("") if "" in self.symbols else None

    def lookup(self, text: str) -> npt.NDArray[np.int32]:
        """Map each character (byte) to its id, (N,), and to -1 where it has none."""
        codes = (
            np.frombuffer(text.encode(), dtype=np.uint8)
            if self.unit == "byte"
            else code_points(text)
        )
        return self._ids[np.minimum(codes, np.uint32(len(self._ids) - 1))]

    def encode(self, text: str, unknown: Unknown = "error") -> npt.NDArray[np.int32]:
        """Map a text to ids, (N,).

        unknown: what becomes of characters that have no id. "error" raises UnknownCharacterError,
        "skip" leaves them out, "replace" takes the unknown symbol, else the first of REPLACEMENTS
        that the model knows, else raises UnknownCharacterError.
        """
        if self.unit == "byte" and unknown != "error":  # lone surrogates alone have no bytes
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
        stand_in = self._stand_in()
        if unknown == "error" or stand_in is None:
            position = int(missing[0])
            raise UnknownCharacterError(text[position], position, replaceable=stand_in is not None)
        ids[missing] = stand_in
        return ids

    def decoder(self) -> Callable[[int], str]:
        """Return a function that turns one id after the other into text.

        For bytes it returns "" until a character is complete; what is not UTF-8 becomes U+FFFD.
        """
        if self.unit == "char":
            return self.symbols.__getitem__
        utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        return lambda id_: utf8.decode(bytes((id_,)))

    def decode(self, ids: Iterable[int]) -> str:
        """Turn ids into text, as `decoder` does, an unfinished last character included."""
        if self.unit == "byte":
            return bytes(ids).decode(errors="replace")
        return "".join(self.symbols[i] for i in ids)

    def count_characters(self, ids: Ids) -> int:
        """Count the characters that ids stand for: for bytes, those that begin one."""
        if self.unit == "char":
            return len(ids)
        return int(np.count_nonzero((ids & 0xC0) != 0x80))

    def count_bytes(self, ids: Ids) -> int:
        """Count the bytes of UTF-8 that ids stand for; an unknown symbol counts as one."""
        if self.unit == "byte":
            return len(ids)
        widths = np.array([max(len(s.encode()), 1) for s in self.symbols], dtype=np.int64)
        return int(np.bincount(ids, minlength=len(self)) @ widths)

    def extended(self, characters: Iterable[str]) -> "Vocabulary":
        """Return a vocabulary with further symbols behind the old ones, whose ids stay."""
        known = set(self.symbols)
        return replace(self, symbols=self.symbols + tuple(c for c in characters if c not in known))

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes: the symbols as one text, and where the unknown one is."""
        return {"unit": self.unit, "symbols": "".join(self.symbols), "unknown": self.unknown}

    @staticmethod
    def from_json(data: Any) -> "Vocabulary":
        """Read what `to_json` returned; raises CheckpointError for anything else."""
        match data:
            case {
                "unit": "char" | "byte" as unit, "symbols": str(text), "unknown": int() | None as at
            }:  # fmt: skip
                symbols = tuple(text)
            case _:
                raise CheckpointError("the vocabulary lacks its unit or its symbols")
        if at is not None:
            if not 0 <= at <= len(symbols):
                raise CheckpointError("the vocabulary's unknown symbol is not in it")
            symbols = (*symbols[:at], "", *symbols[at:])
        if not 0 < len(symbols) <= MAX_SYMBOLS or len(set(symbols)) != len(symbols):
            raise CheckpointError("the vocabulary is empty, too large or holds a symbol twice")
        if any("\ud800" <= symbol <= "\udfff" for symbol in symbols):
            raise CheckpointError("the vocabulary holds half of a surrogate pair")
        if unit == "byte" and symbols != BYTES.symbols:
            raise CheckpointError("the vocabulary is not that of the 256 bytes")
        return Vocabulary(unit, symbols)

    def _stand_in(self) -> int | None:
        if self.unknown is not None:
            return self.unknown
        return next((self.symbols.index(c) for c in REPLACEMENTS if c in self.symbols), None)


BYTES = Vocabulary("byte", tuple(map(chr, range(256))))


def build_vocabulary(counts: npt.NDArray[np.int64], min_count: int = 1) -> Vocabulary:
    """Make the vocabulary of a text, in code-point order.

    counts: how often each code point occurs, (0x110000,). Those that occur less than min_count
    times are folded into an unknown symbol, id 0, which exists only where there are such.
    """
    kept, folded = kept_characters(counts, min_count)
    return Vocabulary("char", (("",) if folded else ()) + kept)


def kept_characters(counts: npt.NDArray[np.int64], min_count: int) -> tuple[tuple[str, ...], bool]:
    """Return the characters that occur at least min_count times, and whether others occur."""
    kept = np.flatnonzero(counts >= max(min_count, 1))
    folded = bool(np.any((counts > 0) & (counts < min_count)))
    return tuple(chr(code) for code in kept), folded


def folded_notices(counts: npt.NDArray[np.int64], min_count: int) -> list[str]:
    """Say how many characters are folded into the unknown symbol, and how much of the text."""
    rare = counts[(counts > 0) & (counts < min_count)]
    if not len(rare):
        return []
    return [
        f"folded {counted(len(rare), 'character')} that occur less than {min_count} times, "
        f"{rare.sum() / counts.sum():.3%} of the text, into one unknown symbol"
    ]


def vocabulary_of(
    counts: npt.NDArray[np.int64], config: CorpusConfig, base: Vocabulary | None = None
) -> Vocabulary:
    """Make the vocabulary of a text as the settings say.

    counts: how often each code point occurs, (0x110000,). base: one to keep, with what is new to it
    behind. Raises CorpusError for more symbols than config.max_vocab.
    """
    if config.unit == "byte":
        return BYTES
    if base is None:
        vocabulary = build_vocabulary(counts, config.min_count)
    else:
        kept, folded = kept_characters(counts, config.min_count)
        known = set(base.symbols)
        # A rare character that the base knows keeps its id; only new rare ones need the symbol.
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
        f"{len(vocabulary):,} different characters are more than `max_vocab={config.max_vocab:,}`; "
        f"the rarest: {shown}\n  If they are no text, name the right `encoding`; else fold rare "
        "ones with `min_count` 5, or train on bytes with `unit=byte`"
    )
